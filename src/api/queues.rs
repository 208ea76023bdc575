//! Queues: who pays, and the hard ceiling.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::resources::{Ceiling, Used};
use crate::domain::ids::{QueueName, Revision};

/// Whether a queue takes new grants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QueueState {
    /// It does.
    #[default]
    Running,
    /// It does not; what is granted stays.
    Stopped,
}

/// Puts a queue: creates it, or replaces its configuration as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"maximum": {"slots": 100, "cpu_cores": 64}, "state": "running"}))]
pub struct PutQueue {
    /// The hard ceiling; missing is no ceiling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Ceiling>,
    /// Whether it takes new grants.
    pub state: QueueState,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Queue {
    /// Its name.
    #[schema(value_type = String)]
    pub name: QueueName,
    /// The hard ceiling.
    pub maximum: Ceiling,
    /// Whether it takes new grants.
    pub state: QueueState,
    /// What its jobs hold.
    pub used: Used,
    /// Slots that the requirements of its jobs still lack.
    pub pending: u64,
    /// Its running jobs.
    pub jobs: u64,
    /// The revision of the last change of its configuration.
    #[schema(value_type = u64)]
    pub changed_in_revision: Revision,
}

/// A queue is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueDeleted {
    /// Which.
    #[schema(value_type = String)]
    pub name: QueueName,
    /// The revision of the change.
    #[schema(value_type = u64)]
    pub revision: Revision,
}
