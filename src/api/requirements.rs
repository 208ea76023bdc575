//! Declared requirements: what a job wants for as long as the declaration stands.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::allocations::Preference;
use super::constraints::{Constraint, ConstraintMembers};
use super::objects::object_only;
use super::reasons::RefusalReasonCount;
use super::resources::Profile;
use crate::domain::ids::{JobId, JobMasterId, RequirementName, RequirementVersion, StrategyName};

/// One line of what a job wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "workers", "profile": {"cpu_cores": 1}, "min": 2, "desired": 4}))]
pub struct Requirement {
    /// The line's name, unique in the declaration.
    #[schema(value_type = String)]
    pub name: RequirementName,
    /// What each slot must have; missing or null is the default slot of the TaskManager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Below this many the line gets all of them at once or none; at most `desired`.
    #[serde(default)]
    pub min: u32,
    /// As many as it can use.
    #[schema(maximum = 100_000)]
    pub desired: u32,
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
}

object_only! { Requirement }

/// A declaration: all lines at once, under a version that only grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"version": 1, "requirements": [{"name": "workers", "min": 2, "desired": 4}]}))]
pub struct PutRequirements {
    /// Higher than that of the last declaration; the same version with the same lines is answered alike.
    #[schema(value_type = u64)]
    pub version: RequirementVersion,
    /// All lines, at most 256; empty clears.
    pub requirements: Vec<Requirement>,
    /// The job leader that declares. Another one than the job's is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub job_master_id: Option<JobMasterId>,
}

/// A requirement line and what serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequirementStatus {
    /// Which line.
    #[schema(value_type = String)]
    pub name: RequirementName,
    /// What each slot must have; null is the default slot of the TaskManager.
    pub profile: Option<Profile>,
    /// The least that is useful.
    pub min: u32,
    /// As many as it can use.
    pub desired: u32,
    /// Slots that it has.
    pub granted: u32,
    /// Slots that it lacks.
    pub pending: u32,
    /// Why it lacks them, as of now; empty if it lacks none, and in the answer to a declaration, which is given before
    /// anything is placed for it.
    pub reasons: Vec<RefusalReasonCount>,
    /// All of these must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ConstraintMembers>)]
    pub constraints: Vec<Constraint>,
}

/// What a job wants and what it has of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Requirements {
    /// Which job.
    #[schema(value_type = String)]
    pub job_id: JobId,
    /// The version that stands; 0 before the first declaration.
    #[schema(value_type = u64)]
    pub version: RequirementVersion,
    /// Its lines, by name.
    pub requirements: Vec<RequirementStatus>,
}
