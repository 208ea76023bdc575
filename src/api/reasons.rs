//! Why TaskManagers do not serve a request, counted.
//!
//! The names of the reasons are the domain's; here they are texts, so that an older client reads a newer server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How many TaskManagers refuse for one reason. The counts of one answer add up to the TaskManagers looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({"reason": "no_free_slot", "task_managers": 3}))]
pub struct RefusalReasonCount {
    /// Why: `no_free_slot`, `not_enough_free`, `too_small`, `constraint`, `spread`, `not_accepting`, `lost`,
    /// `queue_maximum`, `queue_stopped`, `not_enough_in_all`, `recent_start_failures`.
    pub reason: String,
    /// How many TaskManagers.
    pub task_managers: u32,
}
