//! How a submission travels from its caller to the round loop and its answer back.
//!
//! What it promises: a submission is either claimed by the loop, and then it may happen, or abandoned by its caller, and
//! then it never does; never both. A claimed submission that the loop lets go of ends as `OutcomeUnknown`, so that no
//! path can forget to say so. What it must not do: look at what is submitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::intent::{AllocationRequest, Submission, SubmitError};
use crate::domain::{Outcome, Rejection};
use crate::scheduler::Plan;

/// What a caller gets.
pub(super) type Answer = Result<Outcome, SubmitError>;

/// What a caller of a dry run gets; a refusal of the planner is an answer too.
pub(super) type PlanAnswer = Result<Result<Plan, Rejection>, SubmitError>;

const OPEN: u8 = 0;
const CLAIMED: u8 = 1;
const ABANDONED: u8 = 2;

/// Decides between the loop that takes a submission into a round and the caller that gives up.
#[derive(Debug, Clone, Default)]
struct Claim(Arc<AtomicU8>);

impl Claim {
    fn settle(&self, to: u8) -> bool {
        match self.0.compare_exchange(OPEN, to, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(found) => found == to,
        }
    }

    /// What it means that the loop let go of a submission without an answer.
    fn without_answer(&self) -> SubmitError {
        match self.0.load(Ordering::Acquire) {
            CLAIMED => SubmitError::OutcomeUnknown,
            _ => SubmitError::LeadershipLost,
        }
    }
}

/// The loop's end: who waits for an answer.
#[derive(Debug)]
pub(super) struct Asker {
    claim: Claim,
    answer: oneshot::Sender<Answer>,
}

impl Asker {
    /// Takes the submission for a round; `false` if its caller has gone.
    pub(super) fn claim(&self) -> bool {
        !self.answer.is_closed() && self.claim.settle(CLAIMED)
    }

    /// Whether nobody waits any more.
    pub(super) fn has_gone(&self) -> bool {
        self.answer.is_closed() || self.claim.0.load(Ordering::Acquire) == ABANDONED
    }

    /// Answers; a caller that has gone misses it.
    pub(super) fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

/// The caller's end.
#[derive(Debug)]
pub(super) struct Pending {
    claim: Claim,
    answer: oneshot::Receiver<Answer>,
}

impl Pending {
    /// Waits for the answer, for at most `patience`.
    pub(super) async fn wait(mut self, patience: Duration) -> Answer {
        if let Ok(answer) = tokio::time::timeout(patience, &mut self.answer).await {
            return answer.unwrap_or_else(|_| Err(self.claim.without_answer()));
        }
        if self.claim.settle(ABANDONED) {
            return Err(SubmitError::Overloaded { retry_after_ms: RETRY_AFTER_MS });
        }
        Err(SubmitError::OutcomeUnknown)
    }

    /// Waits for the answer for as long as it takes.
    pub(super) async fn answered(self) -> Answer {
        let Self { claim, answer } = self;
        answer.await.unwrap_or_else(|_| Err(claim.without_answer()))
    }
}

/// When to try again after a refusal at a full queue.
pub(super) const RETRY_AFTER_MS: u64 = 500;

/// The two ends of one answer.
pub(super) fn asker() -> (Asker, Pending) {
    let claim = Claim::default();
    let (sender, receiver) = oneshot::channel();
    (Asker { claim: claim.clone(), answer: sender }, Pending { claim, answer: receiver })
}

/// A submission in the queue.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) submission: Submission,
    pub(super) asker: Asker,
    pub(super) arrived: Instant,
}

/// A question for the planner, in the queue.
#[derive(Debug)]
pub(super) struct PlanQuestion {
    pub(super) request: AllocationRequest,
    pub(super) answer: oneshot::Sender<PlanAnswer>,
}

/// What the round loop is given to do.
#[derive(Debug)]
pub(super) enum Work {
    Submit(Queued),
    Plan(PlanQuestion),
}

impl Work {
    /// Answers that it is not done.
    pub(super) fn refuse(self, error: SubmitError) {
        match self {
            Self::Submit(queued) => queued.asker.answer(Err(error)),
            Self::Plan(question) => {
                let _ = question.answer.send(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_caller_that_gave_up_is_never_served() {
        let (asker, pending) = asker();
        let answer = pending.wait(Duration::from_millis(5)).await;
        assert!(matches!(answer, Err(SubmitError::Overloaded { .. })));
        assert!(!asker.claim());
    }

    #[tokio::test]
    async fn a_claimed_submission_ends_as_unknown_when_no_answer_comes() {
        let (asker, pending) = asker();
        assert!(asker.claim());
        assert_eq!(pending.wait(Duration::from_millis(5)).await, Err(SubmitError::OutcomeUnknown));
    }

    #[tokio::test]
    async fn what_the_loop_drops_is_unknown_only_if_it_was_claimed() {
        let (claimed, pending) = asker();
        assert!(claimed.claim());
        drop(claimed);
        assert_eq!(pending.answered().await, Err(SubmitError::OutcomeUnknown));
        let (open, pending) = asker();
        drop(open);
        assert_eq!(pending.answered().await, Err(SubmitError::LeadershipLost));
    }

    #[tokio::test]
    async fn a_caller_that_went_away_is_not_served() {
        let (asker, pending) = asker();
        drop(pending);
        assert!(asker.has_gone());
        assert!(!asker.claim());
    }
}
