//! TaskManagers: registering, heartbeats, confirming, looking at them, taking them out of service.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::allocations::Allocation;
use super::objects::{object_only, unique_map};
use super::resources::Profile;
use super::units::{DurationText, Timestamp};
use crate::domain::ids::{
    AllocationId, Epoch, Generation, Name, Revision, TaskManagerId, TaskManagerSession,
};

/// The longest `wait` of a long poll, in milliseconds.
pub const LONG_POLL_WAIT_MS_MAX: u64 = 60_000;

/// A TaskManager registers, or registers again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "task_manager_id": "tm-1", "session_id": "3f2a9c", "address": "10.0.0.1:6122", "slots": 4,
    "total_profile": {"cpu_cores": 4, "task_heap_memory": "4GiB"}, "labels": {"zone": "a"}
}))]
pub struct RegisterTaskManager {
    /// Which: 1 to 128 of `A-Z a-z 0-9 . _ -`, and not `.` or `..`.
    #[schema(value_type = String)]
    pub task_manager_id: TaskManagerId,
    /// Which process of it, chosen anew at each start.
    #[schema(value_type = String)]
    pub session_id: TaskManagerSession,
    /// Where jobs reach it, at most 512 bytes.
    pub address: String,
    /// How many slots. Alone: so many equal slots. With `total_profile`: how many default slots share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1024)]
    pub slots: Option<u32>,
    /// All there is; slots are cut from it as they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_profile: Option<Profile>,
    /// What a default slot has; missing is an equal share of `total_profile`, or nothing said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_profile: Option<Profile>,
    /// What it is like, for constraints and preferences.
    #[serde(default, deserialize_with = "unique_map", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: BTreeMap<Name, String>,
}

/// The answer to a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskManagerRegistered {
    /// Which.
    #[schema(value_type = String)]
    pub task_manager_id: TaskManagerId,
    /// The number of this registration; all later calls carry it.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// How often to send a heartbeat.
    pub heartbeat_interval_ms: u64,
    /// How long silence is forgiven.
    pub heartbeat_timeout_ms: u64,
    /// The newest version that `allocations` holds as a whole; the first heartbeat or look may bring more.
    #[schema(value_type = u64)]
    pub generation: Generation,
    /// What it should hold.
    pub allocations: Vec<Allocation>,
}

/// A TaskManager is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"epoch": 7, "generation": 12, "held": []}))]
pub struct Heartbeat {
    /// The registration.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// The version of the allocations that it has seen last.
    #[schema(value_type = u64)]
    pub generation: Generation,
    /// Everything that occupies its slots, if it says so; at most 10,000. What it has confirmed and leaves out of two
    /// heartbeats in a row is released; one without this list says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<uuid::Uuid>>)]
    pub held: Option<Vec<AllocationId>>,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatAnswer {
    /// The version of the allocations.
    #[schema(value_type = u64)]
    pub generation: Generation,
    /// How long, counted from sending the heartbeat, the TaskManager may go on without another answer.
    pub deadline_ms: u64,
    /// What it should hold; missing if the generation is the one that it named and it holds no more than it should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocations: Option<Vec<Allocation>>,
}

/// What a TaskManager should hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AssignedAllocations {
    /// The registration.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// The version of `allocations`.
    #[schema(value_type = u64)]
    pub generation: Generation,
    /// What it should hold.
    pub allocations: Vec<Allocation>,
}

/// Why a TaskManager does not run, or no longer runs, what it should.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// It could not start it: ends with reason `start_failed`.
    #[default]
    StartFailed,
    /// Its own deadline passed, so it stopped it: ends with reason `task_manager_fenced`.
    LeaseExpired,
    /// It is leaving: ends with reason `task_manager_left`.
    Leaving,
}

impl FailureCause {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A slot whose work does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[serde(deny_unknown_fields)]
pub struct FailedAllocation {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub allocation_id: AllocationId,
    /// Why, in words; cut after 256 bytes.
    pub reason: String,
    /// Why, as a kind.
    #[serde(default, skip_serializing_if = "FailureCause::is_default")]
    pub cause: FailureCause,
}

object_only! { FailedAllocation }

/// A TaskManager says what it has started and what it does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The registration.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// What runs. With `failed` at most 10,000.
    #[serde(default)]
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub allocation_ids: Vec<AllocationId>,
    /// What does not; it is released, and placed elsewhere if it served a declared requirement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedAllocation>,
}

/// The answer to a [`Confirm`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confirmed {
    /// Now active, also those that were before.
    pub active: u32,
    /// Ended because they do not run.
    pub failed: u32,
    /// Not held by the TaskManager.
    pub unknown: u32,
    /// The revision of the confirmation.
    #[schema(value_type = u64)]
    pub revision: Revision,
}

/// Whether a TaskManager takes new slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskManagerState {
    /// Takes new slots.
    Active,
    /// Takes no new slots; what it has stays.
    Cordoned,
    /// Takes no new slots; what it has ends by itself, or at the deadline.
    Draining,
    /// Was draining and holds nothing any more.
    Drained,
    /// Its lease ran out; it holds nothing and must register again.
    Lost,
}

impl TaskManagerState {
    /// All states, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Active, Self::Cordoned, Self::Draining, Self::Drained, Self::Lost];

    /// The state in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Drained => "drained",
            Self::Lost => "lost",
        }
    }
}

/// One TaskManager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskManager {
    /// Which.
    #[schema(value_type = String)]
    pub task_manager_id: TaskManagerId,
    /// The process that registered.
    #[schema(value_type = String)]
    pub session_id: TaskManagerSession,
    /// The number of its registration.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// The version of its allocations.
    #[schema(value_type = u64)]
    pub generation: Generation,
    /// Where jobs reach it.
    pub address: String,
    /// Whether it takes new slots.
    pub state: TaskManagerState,
    /// When a drain releases the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub drain_deadline: Option<Timestamp>,
    /// Since when it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub lost_since: Option<Timestamp>,
    /// Slots; where they are cut from a total, how many default slots are held or still fit.
    pub slots_total: u64,
    /// Of those, free; 0 where it is lost.
    pub slots_free: u64,
    /// All there is.
    pub total_profile: Profile,
    /// What of it is free.
    pub free_profile: Profile,
    /// What a default slot has.
    pub slot_profile: Profile,
    /// What it is like.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: BTreeMap<Name, String>,
    /// What it should hold.
    pub allocations: Vec<Allocation>,
    /// How long ago it was heard; missing where it is lost or the answering node does not lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat_ago_ms: Option<u64>,
    /// When it registered.
    #[schema(value_type = String, format = DateTime)]
    pub registered_at: Timestamp,
}

/// Takes a TaskManager out of service gently.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"deadline": "10m"}))]
pub struct Drain {
    /// After how long the rest is released; missing waits for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub deadline: Option<DurationText>,
}

/// A change of a TaskManager is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskManagerChanged {
    /// Which.
    #[schema(value_type = String)]
    pub task_manager_id: TaskManagerId,
    /// The revision of the change.
    #[schema(value_type = u64)]
    pub revision: Revision,
}
