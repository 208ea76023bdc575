//! The lane on which the leader's own duties reach the round loop.
//!
//! What it promises: it is apart from the clients' queue, so that a flood of requests never delays a verdict; whoever
//! submits waits for the answer without a deadline, because the round loop answers everything when a session ends.
//! What it must not do: carry clients' requests.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::intent::{Intent, Submission, SubmitError};
use super::queue::{Answer, Queued, RETRY_AFTER_MS, Work, asker};
use crate::clock::Clock;
use crate::domain::Command;

/// Commands that may be under way on the lane.
pub(super) const DUTIES_MAX: usize = 1024;

/// Where duties submit their commands.
#[derive(Debug, Clone)]
pub(super) struct Duties {
    pub(super) lane: mpsc::Sender<Work>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Duties {
    /// Hands `command` to the round loop and waits for what comes of it.
    pub(super) async fn submit(&self, command: Command) -> Answer {
        let (asker, pending) = asker();
        let submission = Submission::unkeyed(Intent::Command(command));
        let queued = Queued { submission, asker, arrived: self.clock.now() };
        match self.lane.try_send(Work::Submit(queued)) {
            Ok(()) => pending.answered().await,
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(SubmitError::Overloaded { retry_after_ms: RETRY_AFTER_MS })
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SubmitError::Stopped),
        }
    }
}
