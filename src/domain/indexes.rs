//! What is derived from the state so that questions cost O(log n).
//!
//! What it promises: kept with every change on every replica, so that a new leader decides at once; equal to a rebuild
//! at any time (an invariant). What it must not do: hold anything that the rest of the state does not determine.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::allocation::{AllocationPhase, EndedAllocation};
use super::capacity::Capacity;
use super::ids::{AllocationId, JobId, LogicalTime, RequirementName, Revision, TaskManagerId};
use super::job::{Job, JobPhase, RequirementState};
use super::shared_map::SharedMap;
use super::state::State;
use super::task_manager::{Condition, TaskManager};

/// A requirement line with slots missing. Its order is the order in which lines are served: higher priority first,
/// then the longer wait.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PendingLine {
    /// The job's priority.
    pub priority: Reverse<i32>,
    /// Since when slots are missing.
    pub pending_since: LogicalTime,
    /// The revision that goes with it.
    pub pending_in: Revision,
    /// Whose line.
    pub job: JobId,
    /// Which line.
    pub requirement: RequirementName,
}

impl PendingLine {
    /// The entry of a line of a job.
    pub fn of(id: &JobId, job: &Job, line: &RequirementState) -> Self {
        Self {
            priority: Reverse(job.priority),
            pending_since: line.pending_since,
            pending_in: line.pending_in,
            job: id.clone(),
            requirement: line.requirement.name.clone(),
        }
    }
}

/// Everything that is derived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes {
    pub(super) capacity: Capacity,
    pub(super) pending: BTreeSet<PendingLine>,
    pub(super) unconfirmed: SharedMap<AllocationId, ()>,
    pub(super) drains: BTreeSet<(LogicalTime, TaskManagerId)>,
    pub(super) lost: BTreeSet<(LogicalTime, TaskManagerId)>,
    pub(super) finished: BTreeSet<(LogicalTime, JobId)>,
    pub(super) ended_by_id: SharedMap<AllocationId, Arc<EndedAllocation>>,
}

impl Indexes {
    /// The TaskManagers that take new slots, by what they have free.
    pub fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// All requirement lines with slots missing, in the order in which they are to be served.
    pub fn pending(&self) -> &BTreeSet<PendingLine> {
        &self.pending
    }

    /// Grants that their TaskManagers have not confirmed, oldest first.
    pub fn unconfirmed(&self) -> &SharedMap<AllocationId, ()> {
        &self.unconfirmed
    }

    /// Derives everything from `state`.
    pub fn rebuilt(state: &State) -> Self {
        let mut indexes = Self::default();
        for (id, task_manager) in &state.task_managers {
            indexes.add_task_manager(id, task_manager);
        }
        for (id, job) in &state.jobs {
            indexes.add_job(id, job);
        }
        let pending =
            state.allocations.iter().filter(|(_, allocation)| allocation.phase == AllocationPhase::Pending);
        indexes.unconfirmed = pending.map(|(id, _)| (*id, ())).collect();
        indexes.ended_by_id = state.ended.iter().map(|ended| (ended.id, ended.clone())).collect();
        indexes
    }

    /// The earliest time at which `Command::ExpireDue` has work.
    pub(super) fn due_at(&self, state: &State) -> Option<LogicalTime> {
        let retention_ms = state.settings.tombstone_retention_ms;
        let drain = self.drains.first().map(|(deadline, _)| *deadline);
        let lost = self.lost.first().map(|(since, _)| since.after(retention_ms));
        let finished = self.finished.first().map(|(at, _)| at.after(retention_ms));
        let confirm = self.oldest_unconfirmed(state).map(|(_, due)| due);
        [drain, lost, finished, confirm].into_iter().flatten().min()
    }

    /// The oldest grant that is not confirmed, and when its time is up, if the settings limit that.
    pub(super) fn oldest_unconfirmed(&self, state: &State) -> Option<(AllocationId, LogicalTime)> {
        let timeout_ms = state.settings.confirm_timeout_ms?;
        let (id, ()) = self.unconfirmed.first_key_value()?;
        let allocation = state.allocations.get(id)?;
        Some((*id, allocation.granted_at.after(timeout_ms)))
    }

    /// Lists a TaskManager that was not listed.
    pub(super) fn add_task_manager(&mut self, id: &TaskManagerId, task_manager: &TaskManager) {
        self.capacity.insert(id, task_manager);
        self.add_dates(id, task_manager);
    }

    /// Undoes [`Self::add_task_manager`] for a TaskManager that has not changed since.
    pub(super) fn remove_task_manager(&mut self, id: &TaskManagerId, task_manager: &TaskManager) {
        self.capacity.remove(id);
        self.remove_dates(id, task_manager);
    }

    /// Lists a TaskManager that was listed as `before` as it is now.
    pub(super) fn replace_task_manager(
        &mut self,
        id: &TaskManagerId,
        before: &TaskManager,
        after: &TaskManager,
    ) {
        self.remove_dates(id, before);
        self.capacity.update(id, after);
        self.add_dates(id, after);
    }

    fn add_dates(&mut self, id: &TaskManagerId, task_manager: &TaskManager) {
        match task_manager.condition {
            Condition::Draining { deadline: Some(deadline) } => {
                self.drains.insert((deadline, id.clone()));
            }
            Condition::Lost { since } => {
                self.lost.insert((since, id.clone()));
            }
            _ => {}
        }
    }

    fn remove_dates(&mut self, id: &TaskManagerId, task_manager: &TaskManager) {
        match task_manager.condition {
            Condition::Draining { deadline: Some(deadline) } => {
                self.drains.remove(&(deadline, id.clone()));
            }
            Condition::Lost { since } => {
                self.lost.remove(&(since, id.clone()));
            }
            _ => {}
        }
    }

    /// Lists a job as it is.
    pub(super) fn add_job(&mut self, id: &JobId, job: &Job) {
        if let JobPhase::Finished { at, .. } = job.phase {
            self.finished.insert((at, id.clone()));
        }
        let pending = job.requirements.values().filter(|line| line.pending() > 0);
        self.pending.extend(pending.map(|line| PendingLine::of(id, job, line)));
    }

    /// Undoes [`Self::add_job`] for a job that has not changed since.
    pub(super) fn remove_job(&mut self, id: &JobId, job: &Job) {
        if let JobPhase::Finished { at, .. } = job.phase {
            self.finished.remove(&(at, id.clone()));
        }
        for line in job.requirements.values().filter(|line| line.pending() > 0) {
            self.pending.remove(&PendingLine::of(id, job, line));
        }
    }
}
