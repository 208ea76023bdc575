//! Jobs: who holds slots, and for whom.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::resources::Used;
use super::units::{DurationText, Timestamp};
use crate::domain::ids::{Epoch, JobId, JobMasterId, QueueName, RequirementVersion, Revision};

/// The queue of a job that names none.
pub const DEFAULT_QUEUE: &str = "default";

/// Puts a job: creates it, or changes what is given here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"queue": "default", "priority": 10, "job_master_id": "jm-1", "lease": "30s"}))]
pub struct PutJob {
    /// Who pays; missing is `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub queue: Option<QueueName>,
    /// Higher goes first.
    pub priority: i32,
    /// The job leader that may speak for the job. Every put names it anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub job_master_id: Option<JobMasterId>,
    /// How long the job lives without a heartbeat; missing or null is for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub lease: Option<DurationText>,
}

/// A job leader is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"job_master_id": "jm-1"}))]
pub struct JobHeartbeat {
    /// Which job leader.
    #[schema(value_type = String)]
    pub job_master_id: JobMasterId,
}

/// The answer to a [`JobHeartbeat`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobHeartbeatAnswer {
    /// Which job.
    #[schema(value_type = String)]
    pub job_id: JobId,
    /// How long the job lives without another heartbeat; null is for ever.
    pub lease_ms: Option<u64>,
}

/// Whether a job may hold slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It may.
    Running,
    /// It ended and holds nothing.
    Finished,
}

/// Why a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobEndReason {
    /// It was deleted.
    Deleted,
    /// Its leader's lease ran out.
    LeaseExpired,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Which.
    #[schema(value_type = String)]
    pub job_id: JobId,
    /// Who pays.
    #[schema(value_type = String)]
    pub queue: QueueName,
    /// Higher goes first.
    pub priority: i32,
    /// Whether it may hold slots.
    pub state: JobState,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<JobEndReason>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// The job leader that may speak for it.
    #[schema(value_type = Option<String>)]
    pub job_master_id: Option<JobMasterId>,
    /// How long it lives without a heartbeat; null is for ever.
    pub lease_ms: Option<u64>,
    /// The number of this declaration of the job.
    #[schema(value_type = u64)]
    pub epoch: Epoch,
    /// The version of its requirements; 0 before the first declaration.
    #[schema(value_type = u64)]
    pub requirements_version: RequirementVersion,
    /// Slots that it holds.
    pub slots_allocated: u64,
    /// Slots that its requirements still lack.
    pub slots_pending: u64,
    /// What it holds.
    pub used: Used,
    /// When it was first put.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobDeleted {
    /// Which.
    #[schema(value_type = String)]
    pub job_id: JobId,
    /// The revision of its end.
    #[schema(value_type = u64)]
    pub revision: Revision,
}
