//! Declared requirements and the slots that serve them.
//!
//! What it promises: a declaration is absolute and versioned, a lower version never stands; slots that serve an
//! unchanged line are kept; what is no longer wanted ends at once, the newest first. What it must not do: place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Transaction;
use super::shape::{check_length, check_requirement, invalid};
use super::slots::wait_from;
use crate::domain::allocation::EndReason;
use crate::domain::command::{Fulfil, PutRequirements};
use crate::domain::event::Event;
use crate::domain::ids::{AllocationId, JobId, LogicalTime, RequirementName, Revision};
use crate::domain::job::{Job, Requirement, RequirementState};
use crate::domain::limits;
use crate::domain::outcome::{Rejection, Reply, RequirementStatus, StaleDecision};

impl Transaction<'_> {
    pub(super) fn put_requirements(&mut self, put: &PutRequirements) -> Result<Reply, Rejection> {
        check_lines(&put.requirements)?;
        let job = self.job_of(&put.job, put.job_master_id.as_ref())?;
        let current = job.requirements_version;
        if put.version < current {
            return Err(Rejection::StaleVersion { given: put.version, current });
        }
        if put.version == current {
            if !declares(job, &put.requirements) {
                return Err(Rejection::VersionReused(current));
            }
            return Ok(status(job));
        }
        self.end_unwanted(&put.job, &put.requirements);
        let (now, revision) = (self.state.now, self.revision);
        let record = self.state.jobs.get_mut(&put.job).expect("the job is running");
        self.state.indexes.remove_job(&put.job, record);
        let job = Arc::make_mut(record);
        let mut before = std::mem::take(&mut job.requirements);
        job.requirements =
            put.requirements.iter().map(|line| declared(line, &mut before, now, revision)).collect();
        job.requirements_version = put.version;
        self.state.indexes.add_job(&put.job, job);
        self.events.push(Event::RequirementsPut { job: put.job.clone(), version: put.version });
        Ok(status(job))
    }

    /// Ends the slots that the new lines do not want: of lines that went or changed all, of others what exceeds
    /// `desired`.
    fn end_unwanted(&mut self, id: &JobId, lines: &[Requirement]) {
        let job = self.state.jobs.get(id).expect("the job is running");
        let wanted: BTreeMap<_, _> = lines.iter().map(|line| (&line.name, line)).collect();
        let mut unwanted: Vec<AllocationId> = Vec::new();
        for (name, present) in &job.requirements {
            let kept = wanted.get(name).filter(|line| is_same_slot(&present.requirement, line));
            let kept = kept.map_or(0, |line| usize::try_from(line.desired).unwrap_or(usize::MAX));
            unwanted.extend(present.granted.iter().skip(kept));
        }
        unwanted.sort_unstable();
        self.end_allocations(unwanted.into_iter().rev(), &EndReason::RequirementLowered);
    }

    pub(super) fn fulfil(&mut self, fulfil: &Fulfil) -> Result<Reply, Rejection> {
        let job = self.job_of(&fulfil.job, None)?;
        if fulfil.version != job.requirements_version {
            return Err(Rejection::StaleVersion { given: fulfil.version, current: job.requirements_version });
        }
        let stale = Rejection::StaleDecision;
        let line = job.requirements.get(&fulfil.requirement).ok_or(stale(StaleDecision::TooMany))?;
        let placed = u32::try_from(fulfil.placements.len()).unwrap_or(u32::MAX);
        if placed > line.pending() {
            return Err(stale(StaleDecision::TooMany));
        }
        let granted = line.requirement.desired - line.pending() + placed;
        if granted < line.requirement.min {
            return Err(stale(StaleDecision::TooFew));
        }
        let profile = line.requirement.profile.as_ref();
        let planned = self.plan_slots(job, profile, &fulfil.placements).map_err(stale)?;
        Ok(Reply::Fulfilled { allocations: self.take_slots(&fulfil.job, Some(&fulfil.requirement), planned) })
    }
}

fn check_lines(lines: &[Requirement]) -> Result<(), Rejection> {
    check_length("requirements", lines.len(), limits::REQUIREMENTS_PER_JOB_MAX)?;
    let mut names = BTreeSet::new();
    for line in lines {
        if !names.insert(&line.name) {
            return Err(invalid("requirements.name", &format!("`{}` is there twice", line.name)));
        }
        check_requirement(line)?;
    }
    Ok(())
}

/// Whether the job's declaration is exactly `lines`, in any order.
fn declares(job: &Job, lines: &[Requirement]) -> bool {
    let is_present =
        |line: &Requirement| job.requirements.get(&line.name).is_some_and(|own| own.requirement == *line);
    job.requirements.len() == lines.len() && lines.iter().all(is_present)
}

/// Whether slots of the one line serve the other too. Preferences and strategy only rank, so they may differ.
fn is_same_slot(left: &Requirement, right: &Requirement) -> bool {
    left.profile == right.profile && left.rules.constraints == right.rules.constraints
}

/// A declared line with the slots and the age that it keeps.
fn declared(
    line: &Requirement,
    before: &mut BTreeMap<RequirementName, RequirementState>,
    now: LogicalTime,
    revision: Revision,
) -> (RequirementName, RequirementState) {
    let present = before.remove(&line.name).filter(|present| is_same_slot(&present.requirement, line));
    let waited = present.as_ref().is_some_and(|present| present.pending() > 0);
    let mut state = RequirementState {
        requirement: line.clone(),
        granted: BTreeSet::new(),
        pending_since: now,
        pending_in: revision,
    };
    if let Some(present) = present {
        state.granted = present.granted;
        state.pending_since = present.pending_since;
        state.pending_in = present.pending_in;
    }
    if !waited {
        wait_from(&mut state, now, revision);
    }
    (line.name.clone(), state)
}

fn status(job: &Job) -> Reply {
    let requirements = job.requirements.iter().map(|(name, line)| RequirementStatus {
        name: name.clone(),
        granted: u32::try_from(line.granted.len()).unwrap_or(u32::MAX),
        pending: line.pending(),
    });
    Reply::RequirementsPut { version: job.requirements_version, requirements: requirements.collect() }
}
