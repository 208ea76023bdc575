//! One grant of one slot to one job, alive or ended.
//!
//! What it promises: an allocation never changes its job, slot, profile or token; it only gets confirmed and ends.
//! What it must not do: be deleted without an `EndedAllocation` that names the reason.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{AllocationId, FencingToken, JobId, LogicalTime, RequirementName, Revision, TaskManagerId};
use super::resources::ResourceProfile;

/// Whether the TaskManager has confirmed an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AllocationPhase {
    /// Granted, not yet confirmed.
    Pending,
    /// Confirmed: the work runs.
    Active,
}

/// A living allocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// Who holds it.
    pub job: JobId,
    /// Where.
    pub task_manager: TaskManagerId,
    /// Which slot there.
    pub slot_index: u32,
    /// What the slot has.
    pub profile: Arc<ResourceProfile>,
    /// What the holder shows.
    pub fencing_token: FencingToken,
    /// Whether it is confirmed.
    pub phase: AllocationPhase,
    /// The requirement line it serves; `None` for an imperative allocation.
    pub requirement: Option<RequirementName>,
    /// When it was granted.
    pub granted_at: LogicalTime,
    /// The revision of the grant.
    pub granted_in: Revision,
}

/// Why an allocation ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// The job released it.
    Released,
    /// The job ended.
    JobFinished,
    /// The job's declaration no longer wants it.
    RequirementLowered,
    /// The TaskManager's lease ran out.
    TaskManagerLost,
    /// The TaskManager deregistered.
    TaskManagerLeft,
    /// The TaskManager's process registered anew.
    TaskManagerRestarted,
    /// The drain's deadline passed.
    DrainDeadline,
    /// The TaskManager could not start it, with its reason.
    StartFailed(Arc<str>),
    /// The TaskManager did not confirm it in time.
    ConfirmTimeout,
    /// The TaskManager stopped it by itself, because its own deadline had passed.
    TaskManagerFenced,
    /// The TaskManager had confirmed it, but does not hold it any more.
    NotHeld,
}

/// Why a TaskManager does not run, or no longer runs, what it should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureCause {
    /// It could not start it.
    StartFailed,
    /// Its own deadline passed, so it stopped it.
    LeaseExpired,
    /// It is leaving.
    Leaving,
}

impl FailureCause {
    /// The reason with which the allocation ends; `detail` is what the TaskManager says of it.
    pub fn end_reason(self, detail: Arc<str>) -> EndReason {
        match self {
            Self::StartFailed => EndReason::StartFailed(detail),
            Self::LeaseExpired => EndReason::TaskManagerFenced,
            Self::Leaving => EndReason::TaskManagerLeft,
        }
    }
}

/// An allocation that a TaskManager does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedWork {
    /// Which.
    pub allocation: AllocationId,
    /// Why.
    pub cause: FailureCause,
    /// What the TaskManager says of it.
    pub detail: Arc<str>,
}

impl EndReason {
    /// Whether the place is to blame, so that the next grant is better made elsewhere for a while.
    pub fn speaks_against_the_place(&self) -> bool {
        matches!(self, Self::StartFailed(_) | Self::ConfirmTimeout | Self::NotHeld | Self::TaskManagerLeft)
    }

    /// The stable name of the reason in answers and events.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::JobFinished => "job_finished",
            Self::RequirementLowered => "requirement_lowered",
            Self::TaskManagerLost => "task_manager_lost",
            Self::TaskManagerLeft => "task_manager_left",
            Self::TaskManagerRestarted => "task_manager_restarted",
            Self::DrainDeadline => "drain_deadline",
            Self::StartFailed(_) => "start_failed",
            Self::ConfirmTimeout => "confirm_timeout",
            Self::TaskManagerFenced => "task_manager_fenced",
            Self::NotHeld => "not_held",
        }
    }
}

/// What is remembered of an allocation that ended; bounded by `limits::ENDED_ALLOCATIONS_MAX`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedAllocation {
    /// Which.
    pub id: AllocationId,
    /// Who held it.
    pub job: JobId,
    /// Where.
    pub task_manager: TaskManagerId,
    /// Which slot there.
    pub slot_index: u32,
    /// What the holder showed.
    pub fencing_token: FencingToken,
    /// Why it ended.
    pub reason: EndReason,
    /// When.
    pub ended_at: LogicalTime,
    /// In which revision.
    pub ended_in: Revision,
}
