//! The cluster in a few numbers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::Revision;

/// TaskManagers by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskManagerCounts {
    /// All that are known, lost ones included.
    pub total: u64,
    /// Taking new slots.
    pub active: u64,
    /// Taking no new slots.
    pub cordoned: u64,
    /// On the way out.
    pub draining: u64,
    /// Empty after a drain.
    pub drained: u64,
    /// Given up.
    pub lost: u64,
}

/// Counts over the whole state at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// TaskManagers by state.
    pub task_managers: TaskManagerCounts,
    /// Slots of TaskManagers that are not lost.
    pub slots_total: u64,
    /// Of those, free.
    pub slots_free: u64,
    /// Of those, held by jobs.
    pub slots_allocated: u64,
    /// Running jobs.
    pub jobs: u64,
    /// Finished jobs that are still listed.
    pub jobs_finished: u64,
    /// Requirement lines that lack slots.
    pub pending_requirements: u64,
    /// Slots that requirement lines lack.
    pub pending_slots: u64,
    /// Queues.
    pub queues: u64,
    /// The revision that was counted.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// What the leader wants a person to know; empty with `consistency=stale` on another node.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
}

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alarm {
    /// What it is: `mass_loss`.
    pub code: String,
    /// What is the matter and what ends it, for people.
    pub detail: String,
}
