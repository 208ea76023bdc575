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
use super::limits;
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

    /// The most slots that there can be at once.
    pub fn slots_max(&self) -> u32 {
        match self {
            Self::Static { slots, .. } => *slots,
            Self::Dynamic { .. } => limits::SLOTS_PER_TASK_MANAGER_MAX,
        }
    }

    /// All there is; `None` beyond 64 bits, which no registered offer is.
    pub fn total(&self) -> Option<ResourceProfile> {
        match self {
            Self::Static { slots, slot_profile } => slot_profile.checked_mul(u64::from(*slots)),
            Self::Dynamic { total, .. } => Some(total.clone()),
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
    /// What a lost TaskManager is when it registers again, so that an operator's cordon or drain survives the loss:
    /// `Cordoned` or `Drained`. `None` (always while it is not lost) is `Active`.
    pub returns_as: Option<Condition>,
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

impl TaskManager {
    /// Whether it takes new slots.
    pub fn is_accepting(&self) -> bool {
        self.condition == Condition::Active
    }

    /// Whether its lease ran out.
    pub fn is_lost(&self) -> bool {
        matches!(self.condition, Condition::Lost { .. })
    }

    /// The lowest slot index that is free at `from` or above, if the offer has one.
    pub fn lowest_free_index(&self, from: u32) -> Option<u32> {
        let is_dense = |last: u32| usize::try_from(last).is_ok_and(|last| last + 1 == self.slots.len());
        let dense_until =
            self.slots.last_key_value().filter(|(last, _)| is_dense(**last)).map(|(last, _)| last + 1);
        let mut candidate = from.max(dense_until.unwrap_or(0));
        for (taken, _) in self.slots.range(candidate..) {
            if *taken != candidate {
                break;
            }
            candidate += 1;
        }
        (candidate < self.offer.slots_max()).then_some(candidate)
    }
}
