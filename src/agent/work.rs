//! The work of one slot, as the agent hands it around, and why it is stopped.
//!
//! Promises: a `Work` never changes; it carries all that a hook is told. Must not: know whether it runs (`slots` does).

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use crate::api::allocations::{Allocation, AllocationState};
use crate::api::resources::Profile;

/// One allocation that this TaskManager should run.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Which allocation.
    pub allocation_id: Uuid,
    /// Whose.
    pub job_id: String,
    /// In which slot.
    pub slot_index: u32,
    /// What the holder of the slot shows; a slot refuses every lower one.
    pub fencing_token: u64,
    /// What the slot has.
    pub profile: Profile,
    /// Whether the cluster has noted already that it runs.
    pub confirmed: bool,
    /// The allocation as the API shows it.
    pub document: Arc<serde_json::Value>,
}

impl From<&Allocation> for Work {
    fn from(allocation: &Allocation) -> Self {
        Self {
            allocation_id: allocation.allocation_id.0,
            job_id: allocation.job_id.to_string(),
            slot_index: allocation.slot_index,
            fencing_token: allocation.fencing_token.0,
            profile: allocation.profile.clone(),
            confirmed: allocation.state == AllocationState::Active,
            document: Arc::new(serde_json::to_value(allocation).expect("a shape of the API is always JSON")),
        }
    }
}

/// Why the work of a slot is stopped. The names are part of the contract with hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The cluster no longer wants it here.
    Withdrawn,
    /// The start hook failed; this clears away what it may have left.
    StartFailed,
    /// No heartbeat was answered in time, so the cluster may give the slot to somebody else.
    LeaseExpired,
    /// The TaskManager ends.
    Leaving,
}

impl StopReason {
    /// The name that hooks and logs show.
    pub fn code(self) -> &'static str {
        match self {
            Self::Withdrawn => "withdrawn",
            Self::StartFailed => "start_failed",
            Self::LeaseExpired => "lease_expired",
            Self::Leaving => "leaving",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
