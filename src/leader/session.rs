//! One leadership session: the stretch from the application of its `Begin` record to the first sign that it is over.
//!
//! What it promises: everything that only a leader does hangs on [`Session::end`], which is final: a session that ended
//! never goes on, also in the same term. What it must not do: outlive the round loop that opened it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::barriers::Barriers;
use super::keeper::LeaseKeeper;
use super::start_failures::StartFailures;
use super::state_clock::StateClock;
use crate::clock::Clock;
use crate::domain::SessionNumber;

/// The longest silence between two looks at the clock. Beyond it the process was stopped or starved, what happened
/// meanwhile is not known, and the session ends.
pub(super) const GAP_MAX: Duration = Duration::from_secs(2);

/// One leadership session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: SessionNumber,
    pub(super) term: u64,
    pub(super) clock: StateClock,
    pub(super) leases: LeaseKeeper,
    pub(super) barriers: Barriers,
    pub(super) start_failures: Mutex<StartFailures>,
    /// Cancelled when the session is over.
    pub(super) end: CancellationToken,
}

impl Session {
    /// Where work failed to start in this session.
    pub(super) fn start_failures(&self) -> MutexGuard<'_, StartFailures> {
        self.start_failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SessionEnd {
    #[error("another node leads, or this one in another term")]
    LeadershipLost,
    #[error("a later session has begun")]
    Superseded,
    #[error("a round was not taken into the log: {0}")]
    ProposalFailed(String),
    #[error("the leadership could not be confirmed")]
    BarrierFailed,
    #[error("the process stood still for {0:?}")]
    Gap(Duration),
    #[error("a duty of the leader ended the session")]
    Cancelled,
    #[error("this node is stopping")]
    Stopping,
    #[error("a fault")]
    Fault,
}

/// Notices when nobody looked at the clock for longer than [`GAP_MAX`].
#[derive(Debug)]
pub(super) struct Watchdog {
    clock: Arc<dyn Clock>,
    last: Mutex<Instant>,
}

impl Watchdog {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let last = Mutex::new(clock.now());
        Self { clock, last }
    }

    /// Looks at the clock.
    ///
    /// # Errors
    /// The time since the last look, if it is too long.
    pub(super) fn look(&self) -> Result<Instant, Duration> {
        let now = self.clock.now();
        let last = std::mem::replace(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner), now);
        let gap = now.saturating_duration_since(last);
        if gap > GAP_MAX { Err(gap) } else { Ok(now) }
    }
}
