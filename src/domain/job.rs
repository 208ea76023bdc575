//! The record of one job and of what it declares.
//!
//! What it promises: `requirements` is absolute (the last declaration as a whole) and versioned; `allocations` are all
//! that the job holds; a finished job holds nothing. What it must not do: track the job leader's heartbeats, which are
//! in the leader's memory.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::constraint::PlacementRules;
use super::ids::{
    AllocationId, Epoch, JobMasterId, LogicalTime, QueueName, RequirementName, RequirementVersion, Revision,
};
use super::resources::{ResourceProfile, Usage};

/// Whether a job may hold slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobPhase {
    /// It may.
    Running,
    /// It ended and holds nothing.
    Finished {
        /// When.
        at: LogicalTime,
        /// Why.
        reason: JobEnd,
    },
}

/// Why a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobEnd {
    /// It was deleted.
    Deleted,
    /// Its leader's lease ran out.
    LeaseExpired,
}

/// One line of what a job wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The line's name, unique in the declaration.
    pub name: RequirementName,
    /// What each slot must have; `None` is the default slot of the TaskManager.
    pub profile: Option<ResourceProfile>,
    /// Below this many the line gets all of them at once or none.
    pub min: u32,
    /// As many as it can use; at least `min`.
    pub desired: u32,
    /// Where.
    pub rules: PlacementRules,
}

/// A requirement line and what serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequirementState {
    /// What is wanted.
    pub requirement: Requirement,
    /// What serves it.
    pub granted: BTreeSet<AllocationId>,
    /// Since when the line stands with slots missing; orders lines of equal priority.
    pub pending_since: LogicalTime,
    /// The revision that goes with `pending_since`; breaks ties.
    pub pending_in: Revision,
}

impl RequirementState {
    /// Slots that are still missing.
    pub fn pending(&self) -> u32 {
        let granted = u32::try_from(self.granted.len()).unwrap_or(u32::MAX);
        self.requirement.desired.saturating_sub(granted)
    }
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Who pays.
    pub queue: QueueName,
    /// Higher goes first.
    pub priority: i32,
    /// The job leader that may speak for it, if it names one.
    pub job_master_id: Option<JobMasterId>,
    /// How long it lives without a heartbeat; `None` is for ever.
    pub lease_ms: Option<u64>,
    /// This declaration of the job; a verdict on an older one is refused.
    pub epoch: Epoch,
    /// Whether it may hold slots.
    pub phase: JobPhase,
    /// Version of `requirements`. Only grows, also when the job is put again after it ended.
    pub requirements_version: RequirementVersion,
    /// What it declares, by name.
    pub requirements: BTreeMap<RequirementName, RequirementState>,
    /// All that it holds, declared or imperative.
    pub allocations: BTreeSet<AllocationId>,
    /// The sum over `allocations`.
    pub usage: Usage,
    /// When it was first put.
    pub created_at: LogicalTime,
}

impl Job {
    /// Whether it may hold slots.
    pub fn is_running(&self) -> bool {
        self.phase == JobPhase::Running
    }

    /// The job without its lists, as answers show it.
    pub fn summary(&self) -> JobSummary {
        JobSummary {
            queue: self.queue.clone(),
            priority: self.priority,
            job_master_id: self.job_master_id.clone(),
            lease_ms: self.lease_ms,
            epoch: self.epoch,
            phase: self.phase,
            requirements_version: self.requirements_version,
            usage: self.usage.clone(),
            pending: self.requirements.values().map(|line| u64::from(line.pending())).sum(),
            created_at: self.created_at,
        }
    }
}

/// A job without its lists: what answers show, and what the idempotency table can afford to remember.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// See [`Job::queue`].
    pub queue: QueueName,
    /// See [`Job::priority`].
    pub priority: i32,
    /// See [`Job::job_master_id`].
    pub job_master_id: Option<JobMasterId>,
    /// See [`Job::lease_ms`].
    pub lease_ms: Option<u64>,
    /// See [`Job::epoch`].
    pub epoch: Epoch,
    /// See [`Job::phase`].
    pub phase: JobPhase,
    /// See [`Job::requirements_version`].
    pub requirements_version: RequirementVersion,
    /// See [`Job::usage`].
    pub usage: Usage,
    /// Slots that its declaration still lacks.
    pub pending: u64,
    /// See [`Job::created_at`].
    pub created_at: LogicalTime,
}
