//! The record of one TaskManager.
//!
//! What it promises: what the TaskManager offers (`Offer`) never changes within one epoch; what is free is derived
//! from the offer and its allocations. What it must not do: know about liveness; heartbeats live in the leader's memory
//! and only the verdict (`Condition::Lost`) is here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::constraint::Labels;
use super::ids::{AllocationId, Epoch, Generation, LogicalTime, Revision, TaskManagerSession};
use super::resources::ResourceProfile;

/// What a TaskManager offers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Offer {
    /// So many equal slots. A request takes a whole slot; it fits if its profile fits within `slot_profile`.
    Static {
        /// How many.
        slots: u32,
        /// What each has; zero if the TaskManager does not say.
        slot_profile: ResourceProfile,
    },
    /// Slots are cut from `total` as requests ask for them (Flink's fine-grained resource management).
    Dynamic {
        /// All there is.
        total: ResourceProfile,
        /// What a request without a profile gets.
        slot_profile: ResourceProfile,
    },
}

impl Offer {
    /// The profile that a request without one gets here (Flink's UNKNOWN).
    pub fn slot_profile(&self) -> &ResourceProfile {
        match self {
            Self::Static { slot_profile, .. } | Self::Dynamic { slot_profile, .. } => slot_profile,
        }
    }
}

/// Whether a TaskManager takes new slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Takes new slots.
    Active,
    /// Takes no new slots; what it has stays.
    Cordoned,
    /// Takes no new slots; what it has ends by itself, or at the deadline.
    Draining {
        /// When the rest is released; `None` waits for ever.
        deadline: Option<LogicalTime>,
    },
    /// Was draining and holds nothing any more.
    Drained,
    /// Its lease ran out; it holds nothing and must register again.
    Lost {
        /// When that was decided.
        since: LogicalTime,
    },
}

/// One TaskManager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskManager {
    /// The process that registered.
    pub session: TaskManagerSession,
    /// This registration.
    pub epoch: Epoch,
    /// Where jobs reach it.
    pub address: Arc<str>,
    /// What it offers.
    pub offer: Offer,
    /// What it is like.
    pub labels: Labels,
    /// Whether it takes new slots.
    pub condition: Condition,
    /// Version of `slots`: the revision of the last change.
    pub generation: Generation,
    /// Who holds which slot index.
    pub slots: BTreeMap<u32, AllocationId>,
    /// What is free: the total less all allocations (dynamic), or the free slots' profiles (static).
    pub free: ResourceProfile,
    /// When it registered.
    pub registered_at: LogicalTime,
    /// The revision of its registration.
    pub registered_in: Revision,
}
