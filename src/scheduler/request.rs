//! What is asked of the planner and what it answers.
//!
//! What it promises: plain values; an answer can be turned into a command as it is. What it must not do: plan.

use crate::domain::{
    AllocationMode, JobId, JobMasterId, Placement, PlacementRules, RefusalCount, ResourceProfile,
};

/// A request for slots, imperative: now, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocationRequest {
    /// For which job.
    pub job: JobId,
    /// The job leader that asks, if it said so. The planner does not look at it; `apply` checks it.
    pub job_master_id: Option<JobMasterId>,
    /// How many slots.
    pub slots: u32,
    /// What each must have; `None` is the default slot of the TaskManager.
    pub profile: Option<ResourceProfile>,
    /// Whether less will do.
    pub mode: AllocationMode,
    /// Where.
    pub rules: PlacementRules,
}

/// A decision that has not been made yet: what would be granted now, and why not more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// One per slot, in the order in which they were chosen. Under `AllOrNothing` all or none.
    pub placements: Vec<Placement>,
    /// Slots that were asked for and found no place.
    pub missing: u32,
    /// Why no TaskManager takes one more; empty if nothing is missing. The counts add up to `considered`.
    pub reasons: Vec<RefusalCount>,
    /// How many TaskManagers were looked at: all that are known, lost ones included.
    pub considered: u32,
}
