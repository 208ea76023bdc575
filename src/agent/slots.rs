//! The decision core of the agent: which work to start and to stop, and what to report.
//!
//! Promises: within one registration an older generation is refused, and a slot refuses every fencing token that is not
//! above the highest it has seen; a slot is clean (its stop has completed) before other work starts in it; work that was
//! given up (failed, stopped at the deadline, or because the TaskManager leaves) is never started again and is reported until the cluster withdraws it.
//! Must not: do I/O, read a clock or wait; it turns what happened into [`Effect`]s. Tested in `slots/tests.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::work::{StopReason, Work};
use crate::api::task_managers::FailureCause;

#[cfg(test)]
mod tests;

/// What the agent must do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start this work; its slot is clean.
    Start(Arc<Work>),
    /// Stop this work; a start that is still under way is broken off first.
    Stop(Arc<Work>, StopReason),
    /// The last stop failed: stop it again after a pause.
    StopAgain(Arc<Work>, StopReason),
}

/// What came of a list of allocations that the cluster told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// It is what should be held now; do this.
    Taken(Vec<Effect>),
    /// It is of an older generation, or of another registration than the current one.
    Refused,
}

/// What the cluster has yet to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// These run.
    pub started: BTreeSet<Uuid>,
    /// These do not, with the reason.
    pub failed: BTreeMap<Uuid, GivenUp>,
}

/// Why work that the cluster wants does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// As a kind.
    pub cause: FailureCause,
    /// In words.
    pub reason: String,
}

impl GivenUp {
    fn new(cause: FailureCause, reason: impl Into<String>) -> Self {
        Self { cause, reason: reason.into() }
    }
}

impl Report {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.started.is_empty() && self.failed.is_empty()
    }
}

/// Where the work of a slot is.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Nothing runs; the slot is clean.
    Idle,
    /// The start is under way.
    Starting(Arc<Work>),
    /// It runs.
    Running(Arc<Work>),
    /// The stop is under way. `failed` once a stop has failed: the slot is not clean and takes nothing new.
    Stopping {
        /// What is being stopped.
        work: Arc<Work>,
        /// Why.
        reason: StopReason,
        /// Whether a stop of it has failed.
        failed: bool,
    },
}

impl Phase {
    /// What occupies the slot.
    pub fn work(&self) -> Option<&Arc<Work>> {
        match self {
            Self::Idle => None,
            Self::Starting(work) | Self::Running(work) | Self::Stopping { work, .. } => Some(work),
        }
    }
}

#[derive(Debug, Clone)]
struct Slot {
    phase: Phase,
    highest_token: Option<u64>,
}

/// A registration: the epoch and the newest generation taken within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// The registration's number.
    pub epoch: u64,
    /// The generation of the desired work.
    pub generation: u64,
}

/// All slots of the agent.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    registration: Option<Registration>,
    desired: BTreeMap<Uuid, Arc<Work>>,
    slots: BTreeMap<u32, Slot>,
    /// Desired work that will not be started (again), with the reason that the cluster is told.
    given_up: BTreeMap<Uuid, GivenUp>,
    /// What the cluster has taken of the reports under this registration.
    acknowledged: Report,
    /// Whether work may start: there is a lease, and the TaskManager does not leave.
    admits: bool,
    leaving: bool,
}

impl Slots {
    /// A registration was answered with what this TaskManager should hold under it. The answer is the word of the
    /// replicated state, so it is taken whatever its generation is.
    pub fn registered(&mut self, registration: Registration, allocations: Vec<Work>) -> Vec<Effect> {
        self.acknowledged = Report::default();
        self.registration = Some(registration);
        self.take(allocations)
    }

    /// The cluster does not know the registration any more. What runs goes on until the next registration says otherwise.
    pub fn disowned(&mut self, epoch: u64) {
        if self.registration.is_some_and(|current| current.epoch == epoch) {
            self.registration = None;
        }
    }

    /// A heartbeat or a long poll of registration `told.epoch` was answered with a list of allocations.
    pub fn told(&mut self, told: Registration, allocations: Vec<Work>) -> Told {
        match &mut self.registration {
            Some(current) if current.epoch == told.epoch && current.generation <= told.generation => {
                current.generation = told.generation;
                Told::Taken(self.take(allocations))
            }
            _ => Told::Refused,
        }
    }

    fn take(&mut self, allocations: Vec<Work>) -> Vec<Effect> {
        self.desired = allocations.into_iter().map(|work| (work.allocation_id, Arc::new(work))).collect();
        let desired = &self.desired;
        self.given_up.retain(|id, _| desired.contains_key(id));
        self.acknowledged.started.retain(|id| desired.contains_key(id));
        self.acknowledged.failed.retain(|id, _| desired.contains_key(id));
        self.reconcile()
    }

    /// The lease holds (again): work may start.
    pub fn admit(&mut self) -> Vec<Effect> {
        self.admits = !self.leaving;
        self.reconcile()
    }

    /// The start of a piece of work came to an end.
    pub fn start_finished(&mut self, id: Uuid, result: Result<(), String>) -> Vec<Effect> {
        let Some(slot) = self.slots.values_mut().find(|slot| is_starting(&slot.phase, id)) else {
            // It was broken off meanwhile; the stop that follows has the say.
            return Vec::new();
        };
        let Phase::Starting(work) = slot.phase.clone() else { unreachable!("it was found by this phase") };
        match result {
            Ok(()) => {
                slot.phase = Phase::Running(work);
                self.reconcile()
            }
            Err(reason) => {
                let stopped = StopReason::StartFailed;
                slot.phase = Phase::Stopping { work: Arc::clone(&work), reason: stopped, failed: false };
                self.given_up.insert(id, GivenUp::new(FailureCause::StartFailed, reason));
                vec![Effect::Stop(work, stopped)]
            }
        }
    }

    /// The stop of a piece of work came to an end.
    pub fn stop_finished(&mut self, id: Uuid, result: Result<(), String>) -> Vec<Effect> {
        let slot = self.slots.values_mut().find(|slot| is_stopping(&slot.phase, id));
        let Some(slot) = slot else { return Vec::new() };
        match (&mut slot.phase, result) {
            (phase, Ok(())) => {
                *phase = Phase::Idle;
                self.reconcile()
            }
            (Phase::Stopping { work, reason, failed }, Err(_)) => {
                *failed = true;
                let mut effects = vec![Effect::StopAgain(Arc::clone(work), *reason)];
                effects.extend(self.reconcile());
                effects
            }
            _ => unreachable!("it was found by this phase"),
        }
    }

    /// The deadline passed: everything stops, nothing of it starts again under these allocations, and nothing else
    /// starts until the lease holds again.
    pub fn fence(&mut self) -> Vec<Effect> {
        self.admits = false;
        for id in self.held() {
            if self.desired.contains_key(&id) {
                let reason = "stopped by the TaskManager: its lease ran out";
                self.given_up.insert(id, GivenUp::new(FailureCause::LeaseExpired, reason));
            }
        }
        self.stop_all(StopReason::LeaseExpired)
    }

    /// The TaskManager ends: everything stops and nothing starts any more. What is stopped, and what is still granted, is
    /// given back piece by piece.
    pub fn leave(&mut self) -> Vec<Effect> {
        self.admits = false;
        self.leaving = true;
        let mut effects = self.stop_all(StopReason::Leaving);
        effects.extend(self.reconcile());
        effects
    }

    fn stop_all(&mut self, reason: StopReason) -> Vec<Effect> {
        self.slots.values_mut().filter_map(|slot| stop(slot, reason)).collect()
    }

    /// What the cluster has yet to be told, under the current registration.
    pub fn report(&self) -> Report {
        if self.registration.is_none() {
            return Report::default();
        }
        let running = self.slots.values().filter_map(|slot| match &slot.phase {
            Phase::Running(work) => Some(work),
            _ => None,
        });
        let started = running
            .filter_map(|work| self.desired.get(&work.allocation_id))
            .filter(|work| !work.confirmed && !self.acknowledged.started.contains(&work.allocation_id))
            .map(|work| work.allocation_id);
        let failed = self.given_up.iter().filter(|(id, _)| !self.acknowledged.failed.contains_key(id));
        Report { started: started.collect(), failed: failed.map(|(id, why)| (*id, why.clone())).collect() }
    }

    /// The cluster has taken a report made under registration `epoch`.
    pub fn reported(&mut self, epoch: u64, report: Report) {
        if self.registration.is_some_and(|current| current.epoch == epoch) {
            self.acknowledged.started.extend(report.started);
            self.acknowledged.failed.extend(report.failed);
        }
    }

    /// The current registration.
    pub fn registration(&self) -> Option<Registration> {
        self.registration
    }

    /// The allocations that occupy a slot and are wanted there, in the order of their slots.
    pub fn held(&self) -> Vec<Uuid> {
        let held = self.slots.values().filter_map(|slot| match &slot.phase {
            Phase::Starting(work) | Phase::Running(work) => Some(work.allocation_id),
            Phase::Idle | Phase::Stopping { .. } => None,
        });
        held.collect()
    }

    /// The allocations that occupy a slot, also while they are being stopped, in the order of their slots.
    pub fn occupying(&self) -> Vec<Uuid> {
        self.slots.values().filter_map(|slot| slot.phase.work()).map(|work| work.allocation_id).collect()
    }

    /// Whether nothing runs, starts or stops.
    pub fn is_clean(&self) -> bool {
        self.slots.values().all(|slot| slot.phase == Phase::Idle)
    }

    /// Every slot that was ever used, by its index, with its phase and the highest fencing token it has seen.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Phase, Option<u64>)> {
        self.slots.iter().map(|(index, slot)| (*index, &slot.phase, slot.highest_token))
    }

    /// Brings every slot one step closer to what is desired.
    fn reconcile(&mut self) -> Vec<Effect> {
        let mut wanted: BTreeMap<u32, Arc<Work>> = BTreeMap::new();
        for work in self.desired.values().filter(|work| !self.given_up.contains_key(&work.allocation_id)) {
            wanted.insert(work.slot_index, Arc::clone(work));
            let clean = Slot { phase: Phase::Idle, highest_token: None };
            self.slots.entry(work.slot_index).or_insert(clean);
        }
        let mut effects = Vec::new();
        for (index, slot) in &mut self.slots {
            match (slot, wanted.get(index)) {
                (Slot { phase: Phase::Idle, .. }, Some(work)) if self.leaving => {
                    let reason = "the TaskManager is leaving";
                    self.given_up.insert(work.allocation_id, GivenUp::new(FailureCause::Leaving, reason));
                }
                (slot, wanted) => match step(slot, wanted, self.admits) {
                    Step::Nothing => {}
                    Step::Do(effect) => effects.push(effect),
                    Step::GiveUp(id, reason) => {
                        self.given_up.insert(id, GivenUp::new(FailureCause::StartFailed, reason));
                    }
                },
            }
        }
        effects
    }
}

enum Step {
    Nothing,
    Do(Effect),
    GiveUp(Uuid, String),
}

fn step(slot: &mut Slot, wanted: Option<&Arc<Work>>, admits: bool) -> Step {
    match (&slot.phase, wanted) {
        (Phase::Idle, None) => Step::Nothing,
        (Phase::Idle, Some(_)) if !admits => Step::Nothing,
        (Phase::Idle, Some(work)) => match slot.highest_token {
            Some(highest) if work.fencing_token <= highest => Step::GiveUp(
                work.allocation_id,
                format!(
                    "fencing token {} is not above {highest}, which slot {} has seen",
                    work.fencing_token, work.slot_index
                ),
            ),
            _ => {
                slot.highest_token = Some(work.fencing_token);
                slot.phase = Phase::Starting(Arc::clone(work));
                Step::Do(Effect::Start(Arc::clone(work)))
            }
        },
        (Phase::Starting(current) | Phase::Running(current), Some(work))
            if current.allocation_id == work.allocation_id =>
        {
            Step::Nothing
        }
        (Phase::Starting(_) | Phase::Running(_), _) => {
            stop(slot, StopReason::Withdrawn).map_or(Step::Nothing, Step::Do)
        }
        (Phase::Stopping { failed: true, work: stuck, .. }, Some(work))
            if stuck.allocation_id != work.allocation_id =>
        {
            Step::GiveUp(
                work.allocation_id,
                format!(
                    "slot {} is not clean: `{}` could not be stopped",
                    work.slot_index, stuck.allocation_id
                ),
            )
        }
        (Phase::Stopping { .. }, _) => Step::Nothing,
    }
}

/// Begins to stop what starts or runs in `slot`.
fn stop(slot: &mut Slot, reason: StopReason) -> Option<Effect> {
    let (Phase::Starting(work) | Phase::Running(work)) = &slot.phase else { return None };
    let work = Arc::clone(work);
    slot.phase = Phase::Stopping { work: Arc::clone(&work), reason, failed: false };
    Some(Effect::Stop(work, reason))
}

fn is_starting(phase: &Phase, id: Uuid) -> bool {
    matches!(phase, Phase::Starting(work) if work.allocation_id == id)
}

fn is_stopping(phase: &Phase, id: Uuid) -> bool {
    matches!(phase, Phase::Stopping { work, .. } if work.allocation_id == id)
}
