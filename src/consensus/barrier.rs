//! Proving leadership: one round to a quorum serves all who asked before it began.
//!
//! What it promises: who is told that the barrier passed reads everything that was acknowledged before it asked, as
//! long as it reads this node's replica; the round begins after the question; every question has a deadline. What it
//! must not do: use a lease, or the read index of an earlier round. Tested in `tests/consensus`.

use std::future::Future;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::errors::BarrierError;
use super::proposals::leader;
use super::types::{Raft, TypeConfig};

/// Questions that may wait for a round.
const WAITING_MAX: usize = 65_536;

type Result = std::result::Result<(), BarrierError>;
type Question = oneshot::Sender<Result>;

/// Where questions go in.
#[derive(Clone)]
pub(super) struct Barriers {
    waiting: mpsc::Sender<Question>,
    within: Duration,
}

impl Barriers {
    /// A queue, and the task that answers it.
    pub(super) fn new(raft: Raft, within: Duration) -> (Self, impl Future<Output = ()>) {
        let (waiting, questions) = mpsc::channel(WAITING_MAX);
        (Self { waiting, within }, answer_in_rounds(raft, questions, within))
    }

    /// Waits for a round that begins after this call.
    pub(super) async fn pass(&self) -> Result {
        let (question, answer) = oneshot::channel();
        self.waiting.try_send(question).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => BarrierError::NoQuorum,
            mpsc::error::TrySendError::Closed(_) => BarrierError::Stopped,
        })?;
        // The round before this one and this one may both use up their time.
        match timeout(self.within * 2, answer).await {
            Ok(answered) => answered.unwrap_or(Err(BarrierError::Stopped)),
            Err(_) => Err(BarrierError::NoQuorum),
        }
    }
}

async fn answer_in_rounds(raft: Raft, mut waiting: mpsc::Receiver<Question>, within: Duration) {
    let mut questions = Vec::new();
    while waiting.recv_many(&mut questions, WAITING_MAX).await > 0 {
        let passed = timeout(within, round(&raft)).await.unwrap_or(Err(BarrierError::NoQuorum));
        for question in questions.drain(..) {
            // Nobody waiting is not an error.
            let _ = question.send(passed.clone());
        }
    }
}

async fn round(raft: &Raft) -> Result {
    match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(error)) => Err(refusal(raft, error)),
        Err(RaftError::Fatal(_)) => Err(BarrierError::Stopped),
    }
}

fn refusal(raft: &Raft, error: LinearizableReadError<TypeConfig>) -> BarrierError {
    match error {
        LinearizableReadError::ForwardToLeader(forward) => {
            BarrierError::NotLeader { leader: leader(raft, &forward) }
        }
        LinearizableReadError::QuorumNotEnough(_) => BarrierError::NoQuorum,
    }
}
