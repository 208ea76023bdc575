//! What the parts of the leader share: its seams, its options, and the session that is open.
//!
//! What it promises: clones of one `Arc`; the session is `Some` only while the round loop serves it. What it must not
//! do: hold anything that only the round loop decides by.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::watch;

use super::alarms::Alarms;
use super::fault::LeaderFault;
use super::intent::SubmitError;
use super::log::{Leadership, Log};
use super::session::Session;
use crate::clock::Clock;
use crate::replica::Replica;
use crate::scheduler::Registry;
use crate::telemetry::Metrics;

/// What the leader stands on.
#[derive(Clone)]
pub struct LeaderSeams {
    /// The gate to the log.
    pub log: Arc<dyn Log>,
    /// This node's applied state.
    pub replica: Replica,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How placements are chosen.
    pub strategies: Registry,
    /// Where it counts.
    pub metrics: Metrics,
}

/// Bounds and intervals of the leader, all local to this node.
#[derive(Debug, Clone)]
pub struct LeaderOptions {
    /// Submissions that may wait for a round; beyond it they are refused with `Overloaded`.
    pub queue_length: usize,
    /// Allocation requests that may wait for capacity; beyond it they are refused with `Overloaded`.
    pub waiting_length: usize,
    /// How long a submission may take, waits for capacity not counted.
    pub submission_deadline: Duration,
    /// Bytes of one sealed round. A single command that is larger goes alone.
    pub round_bytes_max: usize,
    /// Commands of one round.
    pub round_commands_max: usize,
    /// Rounds that may be proposed and not answered.
    pub rounds_in_flight_max: usize,
    /// How often an idle session proves that it still leads, and the loop looks at the clock.
    pub tick: Duration,
    /// How often leases are looked at.
    pub lease_check_interval: Duration,
    /// The least time between two read barriers; longer than zero.
    pub barrier_spacing: Duration,
    /// Commands and what they change, together, after which the leader takes its copy of the state anew, so that both share
    /// what is old; with a large state it is more, see `Speculation::is_stale`.
    pub copy_changes_max: u64,
}

impl Default for LeaderOptions {
    fn default() -> Self {
        Self {
            queue_length: 8_192,
            waiting_length: 8_192,
            submission_deadline: Duration::from_secs(10),
            round_bytes_max: 48 << 10,
            round_commands_max: crate::domain::limits::COMMANDS_PER_BATCH_MAX,
            rounds_in_flight_max: 2,
            tick: Duration::from_millis(500),
            lease_check_interval: Duration::from_millis(100),
            barrier_spacing: Duration::from_millis(10),
            copy_changes_max: 1 << 16,
        }
    }
}

/// When to try again while no leader is known.
const NO_LEADER_RETRY_AFTER_MS: u64 = 100;

/// What all parts share.
pub(super) struct Shared {
    pub(super) seams: LeaderSeams,
    pub(super) options: LeaderOptions,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) session: watch::Sender<Option<Arc<Session>>>,
    pub(super) alarms: Alarms,
    /// Whether clients' writes are refused because the disk is full.
    pub(super) is_disk_full: AtomicBool,
    pub(super) fault: watch::Sender<Option<LeaderFault>>,
}

impl Shared {
    /// What to tell a caller of a node that serves no session.
    pub(super) fn not_serving(&self) -> SubmitError {
        let leadership = self.leadership.borrow();
        match &leadership.leader {
            Some(leader) if leadership.term.is_none() => SubmitError::NotLeader { leader: leader.clone() },
            _ => SubmitError::NoLeader { retry_after_ms: NO_LEADER_RETRY_AFTER_MS },
        }
    }

    /// The session that is open.
    pub(super) fn session(&self) -> Result<Arc<Session>, SubmitError> {
        self.session.borrow().clone().ok_or_else(|| self.not_serving())
    }
}
