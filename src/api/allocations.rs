//! Allocation requests, allocations, and what ranks and limits a placement.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::constraints::{Constraint, ConstraintMembers};
use super::objects::{object_only, unique_map};
use super::reasons::RefusalReasonCount;
use super::resources::Profile;
use super::units::{DurationText, Timestamp};
use crate::domain::ids::{
    AllocationId, FencingToken, JobId, JobMasterId, Name, RequirementName, Revision, StrategyName,
    TaskManagerId,
};

/// The longest `wait` of an allocation request, in milliseconds.
pub const ALLOCATION_WAIT_MS_MAX: u64 = 60_000;

/// Whether less than all will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllocationMode {
    /// All slots or none.
    #[default]
    AllOrNothing,
    /// As many as there are, also none.
    BestEffort,
}

/// What ranks TaskManagers; it never refuses one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"task_managers": ["tm-1"], "labels": {"zone": "a"}}))]
pub struct Preference {
    /// These TaskManagers first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub task_managers: Vec<TaskManagerId>,
    /// Then those with the most of these labels.
    #[serde(deserialize_with = "unique_map", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: BTreeMap<Name, String>,
}

object_only! { Preference }

/// A request for slots of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "slots": 2, "profile": {"cpu_cores": 1, "task_heap_memory": "1GiB"}, "mode": "all_or_nothing", "wait": "5s",
    "constraints": [{"label": "zone", "op": "in", "values": ["a", "b"]}, {"spread_by": "rack", "max_per": 1}],
    "prefer": {"labels": {"disk": "ssd"}}
}))]
pub struct AllocationRequest {
    /// How many slots, at least 1.
    #[schema(minimum = 1, maximum = 10_000)]
    pub slots: u32,
    /// What each must have; missing or null is the default slot of the TaskManager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Whether less will do.
    #[serde(default)]
    pub mode: AllocationMode,
    /// How long to wait for slots, at most `60s`.
    #[serde(default)]
    #[schema(value_type = String, default = "0s", example = "5s")]
    pub wait: DurationText,
    /// All of these must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ConstraintMembers>)]
    pub constraints: Vec<Constraint>,
    /// What ranks.
    #[serde(default)]
    pub prefer: Preference,
    /// The strategy; missing is the one of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub strategy: Option<StrategyName>,
    /// The job leader that asks. Another one than the job's is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub job_master_id: Option<JobMasterId>,
}

/// Whether the TaskManager has confirmed an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllocationState {
    /// Granted, not yet confirmed.
    Pending,
    /// Confirmed: the work runs.
    Active,
}

/// A slot that a job holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "allocation_id": "6f1c2d52-7d64-4f0e-0000-000000000001", "job_id": "wordcount", "task_manager_id": "tm-1",
    "address": "10.0.0.1:6122", "slot_index": 0, "profile": {"cpu_cores": 1}, "fencing_token": 1, "state": "active"
}))]
pub struct Allocation {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub allocation_id: AllocationId,
    /// Who holds it.
    #[schema(value_type = String)]
    pub job_id: JobId,
    /// Where.
    #[schema(value_type = String)]
    pub task_manager_id: TaskManagerId,
    /// Where jobs reach the TaskManager.
    pub address: String,
    /// Which slot there.
    pub slot_index: u32,
    /// What the slot has.
    pub profile: Profile,
    /// What the holder shows; a TaskManager refuses lower ones for the same slot.
    #[schema(value_type = u64)]
    pub fencing_token: FencingToken,
    /// Whether it is confirmed.
    pub state: AllocationState,
    /// The requirement line that it serves, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub requirement: Option<RequirementName>,
}

/// An allocation that ended, as long as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndedAllocation {
    /// Which.
    #[schema(value_type = uuid::Uuid)]
    pub allocation_id: AllocationId,
    /// Who held it.
    #[schema(value_type = String)]
    pub job_id: JobId,
    /// Where.
    #[schema(value_type = String)]
    pub task_manager_id: TaskManagerId,
    /// Which slot there.
    pub slot_index: u32,
    /// What the holder showed.
    #[schema(value_type = u64)]
    pub fencing_token: FencingToken,
    /// Always `ended`.
    pub state: Ended,
    /// Why, for example `released` or `task_manager_lost`.
    pub reason: String,
    /// What the TaskManager said, where it could not start the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_detail: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub ended_at: Timestamp,
    /// In which revision.
    #[schema(value_type = u64)]
    pub ended_in_revision: Revision,
}

/// The one state of an [`EndedAllocation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It is over.
    Ended,
}

/// One allocation, alive or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum AllocationDetails {
    /// It is held.
    Living(Allocation),
    /// It is over.
    Ended(EndedAllocation),
}

/// The answer to an [`AllocationRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AllocationsGranted {
    /// The slots.
    pub allocations: Vec<Allocation>,
    /// How many of those asked for are missing; 0 unless `best_effort`.
    pub missing: u32,
    /// Why they are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<RefusalReasonCount>,
    /// The revision of the grant.
    #[schema(value_type = u64)]
    pub revision: Revision,
}

/// A list of slots that a job gives back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Which, at most 10,000.
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub allocation_ids: Vec<AllocationId>,
}

/// The answer to a [`Release`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Released {
    /// These were held, or had been.
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub released: Vec<AllocationId>,
    /// These the job never held.
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub unknown: Vec<AllocationId>,
    /// The revision of the release.
    #[schema(value_type = u64)]
    pub revision: Revision,
}
