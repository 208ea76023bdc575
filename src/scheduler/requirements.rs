//! Serves what jobs have declared, line after line.
//!
//! What it promises: lines of higher priority go first; among equals first every line that lacks its minimum gets it at
//! once or nothing, the longest waiting first, then all grow towards what they desire, in the same order. A walk stops
//! at its budget and goes on there in the next round, so that lines that can not be served never starve the others and
//! one round never takes long. What it must not do: apply; the caller applies each answer before it asks for the next,
//! so each line is planned against what the lines before it left. Tested in `tests/scheduler`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

use crate::domain::{
    AllocationMode, Fulfil, JobId, PendingLine, RefusalCount, RequirementName, RequirementState,
    ResourceProfile, SessionNumber, State,
};

use super::avoidance::Avoidance;
use super::need::Need;
use super::planner::plan;
use super::registry::Registry;
use super::request::Plan;
use super::trial::Trial;

/// What one round may spend on declared requirements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkBudget {
    /// Slots granted. A line that lacks its minimum may exceed it, or large minimums would wait for ever.
    pub slots: u32,
    /// Lines looked at.
    pub lines: u32,
}

/// A walk over all pending lines, round after round.
#[derive(Debug, Clone, Default)]
pub struct RequirementWalk {
    phase: Phase,
    /// The priority that is being served; `None` before the first line.
    priority: Option<Reverse<i32>>,
    /// The last line before that priority.
    before: Option<PendingLine>,
    /// The last line that was looked at in this phase.
    last: Option<PendingLine>,
    is_finished: bool,
    /// Whether lines that this walk has passed may be served meanwhile.
    has_changed: bool,
    slots_left: u32,
    lines_left: u32,
    hopeless: Hopeless,
}

/// What is given to the lines of one priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// Their minimum.
    #[default]
    Minimum,
    /// What they desire.
    Growth,
}

impl RequirementWalk {
    /// Begins a round: goes on where the last one stopped, or from the top if it reached the end.
    pub fn begin_round(&mut self, budget: WalkBudget) {
        if self.is_finished {
            self.begin_at_top();
        }
        self.slots_left = budget.slots;
        self.lines_left = budget.lines;
    }

    /// Says that lines may be served that could not be before: room has grown, a queue or a declaration has changed. A
    /// walk that is under way then goes round once more before it is finished.
    pub fn note_change(&mut self) {
        self.has_changed = true;
    }

    /// Whether the walk has looked at every line since it began at the top and since the last change. While it has not,
    /// the next round goes on.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// The next line that can be served, with where; `None` at the end of the budget or of the lines. Apply it to
    /// `state` before asking again.
    pub fn next(&mut self, state: &State, registry: &Registry, avoidance: &Avoidance) -> Option<Fulfil> {
        let by = Judgement { registry, avoidance };
        self.hopeless.keep_up(state);
        if state.indexes().capacity().open().is_empty() {
            // Nothing can be served before something changes, and then the walk begins at the top.
            self.is_finished = true;
        }
        while !self.is_finished && self.slots_left > 0 && self.lines_left > 0 {
            let Some(line) = self.step(state) else { continue };
            self.lines_left -= 1;
            if let Some(fulfil) = self.serve(state, by, &line) {
                let given = u32::try_from(fulfil.placements.len()).unwrap_or(u32::MAX);
                self.slots_left = self.slots_left.saturating_sub(given);
                return Some(fulfil);
            }
        }
        None
    }

    /// The next line of this priority and phase; `None` when it turned to the next phase or priority, or finished.
    fn step(&mut self, state: &State) -> Option<PendingLine> {
        let after = self.last.as_ref().or(self.before.as_ref());
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let next = state.indexes().pending().range((start, Bound::Unbounded)).next();
        let priority = next.map(|line| line.priority);
        if self.priority.is_none() {
            self.priority = priority;
        }
        match (next, self.phase) {
            (Some(line), _) if self.priority == Some(line.priority) => {
                self.last = Some(line.clone());
                return Some(line.clone());
            }
            (_, Phase::Minimum) if self.priority.is_some() => {
                self.phase = Phase::Growth;
                self.last = None;
            }
            (Some(_), _) => {
                self.phase = Phase::Minimum;
                self.priority = priority;
                self.before = self.last.take().or_else(|| self.before.take());
            }
            (None, _) if self.has_changed => self.begin_at_top(),
            (None, _) => self.is_finished = true,
        }
        None
    }

    fn begin_at_top(&mut self) {
        self.phase = Phase::Minimum;
        self.priority = None;
        self.before = None;
        self.last = None;
        self.is_finished = false;
        self.has_changed = false;
    }

    fn serve(&mut self, state: &State, by: Judgement<'_>, line: &PendingLine) -> Option<Fulfil> {
        let job = state.jobs().get(&line.job)?;
        let requirement = job.requirements.get(&line.requirement)?;
        let (phase, slots) = Self::lacks(requirement)?;
        if phase != self.phase {
            return None;
        }
        let (slots, least) = match phase {
            Phase::Minimum => (slots, slots),
            Phase::Growth => (slots.min(self.slots_left), 1),
        };
        let wanted = requirement.requirement.profile.as_ref();
        if self.hopeless.has(wanted, least) {
            return None;
        }
        let plan = plan_line(state, by, &line.job, requirement, slots)?;
        if plan.placements.is_empty() {
            self.hopeless.note(state, wanted, least);
            return None;
        }
        Some(Fulfil {
            job: line.job.clone(),
            version: job.requirements_version,
            requirement: line.requirement.clone(),
            placements: plan.placements,
        })
    }

    /// What a line is given next, and how much of it; `None` if it lacks nothing.
    fn lacks(line: &RequirementState) -> Option<(Phase, u32)> {
        let missing = line.pending();
        let granted = line.requirement.desired.saturating_sub(missing);
        let (phase, slots) = match line.requirement.min.saturating_sub(granted) {
            0 => (Phase::Growth, missing),
            below_minimum => (Phase::Minimum, below_minimum),
        };
        (slots > 0).then_some((phase, slots))
    }
}

/// Who chooses a place, and where nobody is placed.
#[derive(Clone, Copy)]
struct Judgement<'a> {
    registry: &'a Registry,
    avoidance: &'a Avoidance,
}

fn plan_line(
    state: &State,
    by: Judgement<'_>,
    job: &JobId,
    line: &RequirementState,
    slots: u32,
) -> Option<Plan> {
    let (phase, _) = RequirementWalk::lacks(line)?;
    let mode = match phase {
        Phase::Minimum => AllocationMode::AllOrNothing,
        Phase::Growth => AllocationMode::BestEffort,
    };
    let queue = state.queues().get(&state.jobs().get(job)?.queue)?;
    let rules = &line.requirement.rules;
    let strategy = by.registry.standing(rules.strategy.as_ref(), state.settings());
    let need = Need::new(line.requirement.profile.as_ref(), rules, state, line.granted.iter());
    Some(plan(Trial::new(state, need, queue, by.avoidance.of(job)), strategy, slots, mode, state))
}

/// Why a declared line gets no slot more now: what its next plan would say of its minimum, or of one slot more. Empty if
/// nothing is missing, or if there is room, so that the next round serves it.
pub fn explain_requirement(
    state: &State,
    registry: &Registry,
    avoidance: &Avoidance,
    job: &JobId,
    requirement: &RequirementName,
) -> Vec<RefusalCount> {
    let by = Judgement { registry, avoidance };
    let reasons = || {
        let line = state.jobs().get(job)?.requirements.get(requirement)?;
        let (phase, slots) = RequirementWalk::lacks(line)?;
        let slots = if phase == Phase::Minimum { slots } else { 1 };
        Some(plan_line(state, by, job, line, slots)?.reasons)
    };
    reasons().unwrap_or_default()
}

/// Profiles of which so many slots had no room at all, whatever the rules, and can not have before some room grows.
#[derive(Debug, Clone, Default)]
struct Hopeless {
    slots: BTreeMap<Option<ResourceProfile>, u32>,
    as_of: (SessionNumber, u64),
}

impl Hopeless {
    fn keep_up(&mut self, state: &State) {
        let as_of = (state.session(), state.indexes().capacity().growth());
        if self.as_of != as_of {
            self.slots.clear();
            self.as_of = as_of;
        }
    }

    fn has(&self, wanted: Option<&ResourceProfile>, slots: u32) -> bool {
        self.slots.get(&wanted.cloned()).is_some_and(|hopeless| *hopeless <= slots)
    }

    fn note(&mut self, state: &State, wanted: Option<&ResourceProfile>, slots: u32) {
        if state.indexes().capacity().slots_possible(wanted, slots) < slots {
            self.slots.insert(wanted.cloned(), slots);
        }
    }
}
