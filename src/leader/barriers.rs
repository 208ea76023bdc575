//! Read barriers shared by all who wait.
//!
//! What it promises: a barrier that serves a caller begins after the caller asked; at most one is under way, and
//! everybody who asked meanwhile shares the next one. Under a flood of questions barriers keep a distance, so that ten
//! thousand heartbeats a second cost a hundred rounds to the peers; the first one after a pause begins at once. What it
//! must not do: cache: a barrier proves the past only.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::intent::SubmitError;
use super::log::{BarrierFailed, Log};
use super::queue::RETRY_AFTER_MS;

/// Callers that may wait for barriers at once.
const WAITING_MAX: usize = 65_536;

type Passage = oneshot::Sender<Result<(), BarrierFailed>>;

/// Where callers ask for a barrier.
#[derive(Debug, Clone)]
pub(super) struct Barriers {
    asks: mpsc::Sender<Passage>,
}

impl Barriers {
    /// Starts serving barriers of `log`, at least `spacing` apart, until `end`.
    pub(super) fn start(log: Arc<dyn Log>, spacing: Duration, end: CancellationToken) -> Self {
        let (asks, asked) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                () = serve(log, spacing, asked) => {}
            }
        });
        Self { asks }
    }

    /// Waits for a barrier that begins after this call.
    pub(super) async fn pass(&self) -> Result<(), SubmitError> {
        let (passage, passed) = oneshot::channel();
        match self.asks.try_send(passage) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Err(SubmitError::Overloaded { retry_after_ms: RETRY_AFTER_MS });
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(SubmitError::LeadershipLost),
        }
        match passed.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(SubmitError::LeadershipLost),
        }
    }
}

async fn serve(log: Arc<dyn Log>, spacing: Duration, mut asked: mpsc::Receiver<Passage>) {
    let mut distance = tokio::time::interval(spacing);
    distance.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while let Some(first) = asked.recv().await {
        distance.tick().await;
        let mut waiting = vec![first];
        while let Ok(next) = asked.try_recv() {
            waiting.push(next);
        }
        let result = log.read_barrier().await;
        for passage in waiting {
            let _ = passage.send(result.clone());
        }
    }
}
