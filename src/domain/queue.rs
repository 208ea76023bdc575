//! A queue: who pays, and the hard ceiling.
//!
//! What it promises: `used` equals the sum over the allocations of the queue's jobs, and no grant takes it above
//! `maximum`. What it must not do: decide who goes first; that is the scheduler's part.

use serde::{Deserialize, Serialize};

use super::ids::Revision;
use super::resources::{ResourceLimit, Usage};

/// Whether a queue takes new grants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueuePhase {
    /// It does.
    #[default]
    Running,
    /// It does not; what is granted stays.
    Stopped,
}

/// One queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// The hard ceiling.
    pub maximum: ResourceLimit,
    /// Whether it takes new grants.
    pub phase: QueuePhase,
    /// What its jobs hold.
    pub used: Usage,
    /// How many jobs are in it and not finished.
    pub jobs: u64,
    /// The revision of the last change of its configuration.
    pub changed_in: Revision,
}
