//! What comes back of a proposed round, and what its callers are told.
//!
//! What it promises: an outcome is told only from the applied result; the leader's copy and the replica must have come
//! to the same chain hash, or this node stops. What it must not do: decide anything anew.

use std::sync::Arc;
use std::time::Instant;

use super::fault::{ChainText, LeaderFault};
use super::intent::SubmitError;
use super::log::ProposalError;
use super::session::{Session, SessionEnd};
use super::shared::Shared;
use super::speculation::{Awaiting, Decided, Source};
use crate::domain::{Applied, Rejection};

/// What a proposal came to.
pub(super) type RoundResult = Result<Arc<Applied>, ProposalError>;

/// A round that is proposed and not answered.
#[derive(Debug)]
pub(super) struct ProposedRound {
    pub(super) decided: Decided,
    /// When its first submission was taken.
    pub(super) started: Instant,
}

/// Takes in the result of the oldest round and answers its callers.
///
/// # Errors
/// Why the session is over; later rounds rest on this one and are lost with it.
pub(super) fn settle(
    shared: &Shared,
    session: &Session,
    round: ProposedRound,
    result: RoundResult,
) -> Result<(), SessionEnd> {
    let ProposedRound { decided, started } = round;
    let applied = match result {
        Ok(applied) => applied,
        Err(error) => {
            let end = SessionEnd::ProposalFailed(error.to_string());
            refuse(shared, decided.awaiting, &error);
            return Err(end);
        }
    };
    if is_stale(&applied) {
        refuse_all(decided.awaiting, &SubmitError::LeadershipLost);
        return Err(SessionEnd::Superseded);
    }
    if (applied.revision, applied.chain) != (decided.revision, decided.chain) {
        let fault = LeaderFault::Divergence {
            decided: decided.revision,
            applied: applied.revision,
            expected: ChainText(decided.chain),
            found: ChainText(applied.chain),
        };
        shared.fault.send_replace(Some(fault));
        return Err(SessionEnd::Fault);
    }
    let now = shared.seams.clock.now();
    session.leases.follow(&decided.touched, now);
    shared
        .seams
        .metrics
        .rounds
        .duration_seconds
        .observe(now.saturating_duration_since(started).as_secs_f64());
    answer(decided.awaiting, &applied);
    Ok(())
}

/// Takes in the result of a round that became known when its session was over already. The copy that it was decided on
/// rested on a round that is lost, so only the applied result counts.
pub(super) fn settle_after_the_end(shared: &Shared, round: ProposedRound, result: RoundResult) {
    match result {
        Ok(applied) if is_stale(&applied) => {
            refuse_all(round.decided.awaiting, &SubmitError::LeadershipLost);
        }
        Ok(applied) => answer(round.decided.awaiting, &applied),
        Err(error) => refuse(shared, round.decided.awaiting, &error),
    }
}

fn answer(awaiting: Vec<Awaiting>, applied: &Applied) {
    for Awaiting { source, asker } in awaiting {
        match source {
            Source::Given(outcome) => asker.answer(Ok(outcome)),
            Source::Command(position) => match applied.outcomes.get(position) {
                Some(outcome) => asker.answer(Ok(outcome.clone())),
                // A round has one outcome per command; the chain hash has proved it.
                None => asker.answer(Err(SubmitError::OutcomeUnknown)),
            },
        }
    }
}

fn is_stale(applied: &Applied) -> bool {
    applied.outcomes.iter().any(|outcome| matches!(&*outcome.result, Err(Rejection::StaleSession)))
}

fn refuse(shared: &Shared, awaiting: Vec<Awaiting>, error: &ProposalError) {
    let told = match error {
        ProposalError::NotTaken(_) => SubmitError::LeadershipLost,
        ProposalError::Unknown(_) => {
            shared.seams.metrics.rounds.outcome_unknown.inc();
            SubmitError::OutcomeUnknown
        }
    };
    refuse_all(awaiting, &told);
}

fn refuse_all(awaiting: Vec<Awaiting>, error: &SubmitError) {
    for Awaiting { asker, .. } in awaiting {
        asker.answer(Err(error.clone()));
    }
}
