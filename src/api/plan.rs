//! What would be decided now, without doing it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::allocations::{AllocationMode, AllocationRequest, Preference};
use super::constraints::{Constraint, ConstraintMembers};
use super::reasons::RefusalReasonCount;
use super::resources::Profile;
use super::units::DurationText;
use crate::domain::ids::{JobId, JobMasterId, Revision, StrategyName, TaskManagerId};

/// An allocation request and the job that would make it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"job_id": "wordcount", "slots": 2, "profile": {"cpu_cores": 1}}))]
pub struct PlanRequest {
    /// Which job would ask.
    #[schema(value_type = String)]
    pub job_id: JobId,
    /// How many slots, at least 1.
    #[schema(minimum = 1, maximum = 10_000)]
    pub slots: u32,
    /// What each must have; missing or null is the default slot of the TaskManager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Whether less will do.
    #[serde(default)]
    pub mode: AllocationMode,
    /// Taken and not used: a plan never waits.
    #[serde(default)]
    #[schema(value_type = String, default = "0s")]
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
    /// The job leader that would ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub job_master_id: Option<JobMasterId>,
}

impl PlanRequest {
    /// The job and the request that it would make.
    #[must_use]
    pub fn into_request(self) -> (JobId, AllocationRequest) {
        let request = AllocationRequest {
            slots: self.slots,
            profile: self.profile,
            mode: self.mode,
            wait: self.wait,
            constraints: self.constraints,
            prefer: self.prefer,
            strategy: self.strategy,
            job_master_id: self.job_master_id,
        };
        (self.job_id, request)
    }
}

/// What the leader would decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlanDecision {
    /// All slots would be granted.
    Granted,
    /// Some slots would be granted (best effort).
    Partial,
    /// No slot would be granted.
    Refused,
}

/// Where one slot would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedSlot {
    /// On which TaskManager.
    #[schema(value_type = String)]
    pub task_manager_id: TaskManagerId,
    /// What the slot would have.
    pub profile: Profile,
}

/// The plan and its explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// What would be decided.
    pub decision: PlanDecision,
    /// Where the slots would go.
    pub placements: Vec<PlannedSlot>,
    /// How many would be missing.
    pub missing: u32,
    /// Why, counted over the TaskManagers that were looked at.
    pub reasons: Vec<RefusalReasonCount>,
    /// The strategy that decided.
    #[schema(value_type = String)]
    pub strategy: StrategyName,
    /// The revision that was looked at.
    #[schema(value_type = u64)]
    pub revision: Revision,
}
