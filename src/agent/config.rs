//! What an agent is told about itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::api::task_managers::RegisterTaskManager;
use crate::client::Client;
use crate::clock::Clock;

/// The configuration of one agent.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// What it registers: id, address, slots, profiles, labels, and the session id of this process
    /// (see [`new_session_id`]).
    pub registration: RegisterTaskManager,
    /// Where the current view is served; nowhere if missing.
    pub socket: Option<PathBuf>,
    /// How long the pause before a failed stop is tried again is.
    pub stop_retry_pause: Duration,
    /// How long a leaving agent waits for its work to stop before it deregisters all the same.
    pub leave_deadline: Duration,
}

impl AgentConfig {
    /// The default times with this registration, without a socket.
    pub fn new(registration: RegisterTaskManager) -> Self {
        Self {
            registration,
            socket: None,
            stop_retry_pause: Duration::from_secs(1),
            leave_deadline: Duration::from_secs(30),
        }
    }
}

/// A session id from 128 random bits: chosen once per process, so that the cluster can tell a restart from a repetition.
pub fn new_session_id(random: impl Fn() -> u64) -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// What an agent does not have of its own.
#[derive(Clone)]
pub struct Surroundings {
    /// The way to the cluster.
    pub client: Client,
    /// The clock that leases are measured with.
    pub clock: Arc<dyn Clock>,
    /// 64 random bits at each call, for jitter.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}
