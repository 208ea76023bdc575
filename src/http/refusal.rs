//! Refusals: how errors of the other rooms become problems, and problems become answers.
//!
//! What it promises: every refusal has a code of `api::problem`; what only the log may know (panics, internal texts)
//! never gets into one. What it must not do: invent outcomes; a refusal that leaves the outcome open says so.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::answer::{self, AnswerFacts};
use super::cluster_view::{BarrierFailure, MembershipFailure};
use crate::api::problem::{LeaderHint, PROBLEM_MEDIA_TYPE};
use crate::api::reasons::RefusalReasonCount;
use crate::api::{Problem, ProblemCode};
use crate::domain::{RefusalCount, Rejection, Revision};
use crate::leader::{HeartbeatError, LeaderAddress, SubmitError};

/// When a client should try again, where nobody knows better.
const RETRY_AFTER_MS: u64 = 200;

/// Marks an answer behind which nothing was decided because this node does not lead: it may be asked again elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Undecided;

/// A refused request.
#[derive(Debug)]
pub struct Refusal {
    problem: Box<Problem>,
    revision: Option<Revision>,
    replayed: bool,
    undecided: bool,
}

impl Refusal {
    /// A refusal with `code`; `detail` says what happened here.
    pub(super) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Problem::new(code, detail).into()
    }

    /// Bad input in `field`.
    pub(super) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        let (field, problem) = (field.into(), problem.into());
        Problem::new(ProblemCode::InvalidRequest, format!("{field}: {problem}")).with_field(field).into()
    }

    /// Nobody is known to lead.
    pub(super) fn no_leader(detail: impl Into<String>) -> Self {
        Problem::new(ProblemCode::NoLeader, detail).with_retry_after_ms(RETRY_AFTER_MS).into()
    }

    /// This refusal as one behind which nothing was decided because this node does not lead.
    #[must_use]
    pub(super) fn undecided(mut self) -> Self {
        self.undecided = true;
        self
    }

    /// This refusal of a request that waited: a wait that a change of the leader ended is over.
    #[must_use]
    pub(super) fn after_wait(mut self) -> Self {
        self.undecided &= self.problem.code != ProblemCode::LeadershipLost;
        self
    }

    /// The refusal that the state gave at `revision`.
    pub(super) fn by_state(rejection: &Rejection, revision: Revision, replayed: bool) -> Self {
        Self { revision: Some(revision), replayed, ..Self::from(rejection) }
    }

    /// The code.
    #[cfg(any(test, fuzzing))]
    pub(super) fn code(&self) -> ProblemCode {
        self.problem.code
    }

    /// The field that is wrong.
    #[cfg(any(test, fuzzing))]
    pub(super) fn field(&self) -> Option<&str> {
        self.problem.field.as_deref()
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), revision: None, replayed: false, undecided: false }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.problem).expect("a problem is plain data");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        if let Some(milliseconds) = self.problem.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1000)));
        }
        answer::add_facts(headers, &AnswerFacts { revision: self.revision, replayed: self.replayed });
        if self.undecided {
            response.extensions_mut().insert(Undecided);
        }
        response
    }
}

/// The leader as problems name it.
pub(super) fn leader_hint(leader: &LeaderAddress) -> LeaderHint {
    LeaderHint { node_id: leader.node_id, api_addr: leader.api_addr.clone() }
}

/// Counted reasons as answers show them.
pub(super) fn reasons(counts: &[RefusalCount]) -> Vec<RefusalReasonCount> {
    let shown = |count: &RefusalCount| RefusalReasonCount {
        reason: count.reason.code().to_owned(),
        task_managers: count.task_managers,
    };
    counts.iter().map(shown).collect()
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::NotLeader { leader } => {
                let problem = Problem::new(ProblemCode::NoLeader, detail).with_retry_after_ms(RETRY_AFTER_MS);
                Self::from(problem.with_leader(Some(leader_hint(&leader)))).undecided()
            }
            SubmitError::NoLeader { retry_after_ms } => {
                let problem = Problem::new(ProblemCode::NoLeader, detail).with_retry_after_ms(retry_after_ms);
                Self::from(problem).undecided()
            }
            SubmitError::Overloaded { retry_after_ms } => {
                Problem::new(ProblemCode::Overloaded, detail).with_retry_after_ms(retry_after_ms).into()
            }
            SubmitError::DiskFull { retry_after_ms } => {
                Problem::new(ProblemCode::DiskFull, detail).with_retry_after_ms(retry_after_ms).into()
            }
            SubmitError::LeadershipLost => {
                let problem =
                    Problem::new(ProblemCode::LeadershipLost, detail).with_retry_after_ms(RETRY_AFTER_MS);
                Self::from(problem).undecided()
            }
            SubmitError::OutcomeUnknown => outcome_unknown(),
            SubmitError::Stopped => shutting_down(),
        }
    }
}

impl From<HeartbeatError> for Refusal {
    fn from(error: HeartbeatError) -> Self {
        match error {
            HeartbeatError::Refused(rejection) => Self::from(&rejection),
            HeartbeatError::Unavailable(error) => error.into(),
        }
    }
}

impl From<BarrierFailure> for Refusal {
    fn from(error: BarrierFailure) -> Self {
        match error {
            BarrierFailure::NotLeader | BarrierFailure::NoQuorum => {
                Self::no_leader(error.to_string()).undecided()
            }
            BarrierFailure::Stopped => shutting_down(),
        }
    }
}

impl From<MembershipFailure> for Refusal {
    fn from(error: MembershipFailure) -> Self {
        let detail = error.to_string();
        match error {
            MembershipFailure::NotLeader { leader } => {
                let problem = Problem::new(ProblemCode::NoLeader, detail).with_retry_after_ms(RETRY_AFTER_MS);
                Self::from(problem.with_leader(leader.as_ref().map(leader_hint))).undecided()
            }
            MembershipFailure::UnknownMember(_) => Self::new(ProblemCode::UnknownMember, detail),
            MembershipFailure::Conflict(_) => Self::new(ProblemCode::MembershipConflict, detail),
            MembershipFailure::Unknown(_) => Self::new(ProblemCode::OutcomeUnknown, detail),
            MembershipFailure::Stopped => shutting_down(),
        }
    }
}

/// The node stops; another one may be asked at once.
pub(super) fn shutting_down() -> Refusal {
    Problem::new(ProblemCode::ShuttingDown, "this node is shutting down")
        .with_retry_after_ms(RETRY_AFTER_MS)
        .into()
}

/// A write was sent and no answer came.
pub(super) fn outcome_unknown() -> Refusal {
    let detail = "the request was sent on and no answer came; ask again with the same idempotency key";
    Problem::new(ProblemCode::OutcomeUnknown, detail).with_retry_after_ms(RETRY_AFTER_MS).into()
}

impl From<&Rejection> for Refusal {
    fn from(rejection: &Rejection) -> Self {
        let problem = Problem::new(code(rejection), rejection.to_string());
        match rejection {
            Rejection::InsufficientResources { reasons: counts } => {
                problem.with_reasons(reasons(counts)).into()
            }
            Rejection::InvalidCommand { field, .. } => problem.with_field(field.clone()).into(),
            Rejection::InvalidSetting(error) => problem.with_field(error.setting.clone()).into(),
            Rejection::IdempotencyTableFull => problem.with_retry_after_ms(10_000).into(),
            Rejection::StaleSession | Rejection::StaleDecision(_) => {
                problem.with_retry_after_ms(RETRY_AFTER_MS).into()
            }
            _ => problem.into(),
        }
    }
}

/// The code of a rejection.
fn code(rejection: &Rejection) -> ProblemCode {
    match rejection {
        Rejection::StaleSession | Rejection::StaleDecision(_) => ProblemCode::LeadershipLost,
        Rejection::IdempotencyKeyReused => ProblemCode::IdempotencyKeyReused,
        Rejection::IdempotencyTableFull => ProblemCode::IdempotencyTableFull,
        Rejection::UnknownTaskManager(_) => ProblemCode::UnknownTaskManager,
        Rejection::StaleEpoch { .. } => ProblemCode::StaleEpoch,
        Rejection::UnknownJob(_) => ProblemCode::UnknownJob,
        Rejection::StaleJobMaster(_) => ProblemCode::StaleJobMaster,
        Rejection::JobHoldsSlots(_) => ProblemCode::JobHoldsSlots,
        Rejection::UnknownQueue(_) => ProblemCode::UnknownQueue,
        Rejection::QueueInUse(_) => ProblemCode::QueueInUse,
        Rejection::QueueAboveMaximum(_) => ProblemCode::QueueAboveMaximum,
        Rejection::QueueProtected(_) => ProblemCode::QueueProtected,
        Rejection::InsufficientResources { .. } => ProblemCode::InsufficientResources,
        Rejection::StaleVersion { .. } => ProblemCode::StaleVersion,
        Rejection::VersionReused(_) => ProblemCode::VersionReused,
        Rejection::UnknownAllocation(_) => ProblemCode::UnknownAllocation,
        Rejection::LimitReached { .. } => ProblemCode::LimitReached,
        Rejection::InvalidSetting(_) | Rejection::InvalidCommand { .. } => ProblemCode::InvalidRequest,
        Rejection::WrongCluster => ProblemCode::InternalError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(refusal: impl Into<Refusal>) -> (u16, ProblemCode, bool, bool) {
        let refusal: Refusal = refusal.into();
        let code = refusal.code();
        let response = refusal.into_response();
        let waits = response.headers().contains_key(header::RETRY_AFTER);
        (response.status().as_u16(), code, waits, response.extensions().get::<Undecided>().is_some())
    }

    #[test]
    fn what_the_leader_can_not_do_now_says_when_to_try_again_and_whether_elsewhere() {
        let leader = LeaderAddress { node_id: 2, api_addr: "127.0.0.1:7400".to_owned() };
        for (error, expected) in [
            (SubmitError::NotLeader { leader }, (503, ProblemCode::NoLeader, true, true)),
            (SubmitError::NoLeader { retry_after_ms: 1 }, (503, ProblemCode::NoLeader, true, true)),
            (SubmitError::Overloaded { retry_after_ms: 1 }, (429, ProblemCode::Overloaded, true, false)),
            (SubmitError::DiskFull { retry_after_ms: 1 }, (503, ProblemCode::DiskFull, true, false)),
            (SubmitError::LeadershipLost, (503, ProblemCode::LeadershipLost, true, true)),
            (SubmitError::OutcomeUnknown, (504, ProblemCode::OutcomeUnknown, true, false)),
            (SubmitError::Stopped, (503, ProblemCode::ShuttingDown, true, false)),
        ] {
            assert_eq!(answered(error.clone()), expected, "{error:?}");
        }
    }

    #[test]
    fn a_wait_that_a_change_of_the_leader_ended_is_not_begun_again() {
        let waited = Refusal::from(SubmitError::LeadershipLost).after_wait();
        assert!(!answered(waited).3);
        let refused_at_once = Refusal::from(SubmitError::NoLeader { retry_after_ms: 1 }).after_wait();
        assert!(answered(refused_at_once).3);
    }

    #[test]
    fn a_refusal_of_the_state_is_never_a_fault_of_the_server() {
        let limit = Rejection::LimitReached { what: "queues".to_owned(), limit: 1_000 };
        assert_eq!(answered(&limit), (409, ProblemCode::LimitReached, false, false));
        assert_eq!(answered(&Rejection::StaleSession), (503, ProblemCode::LeadershipLost, true, false));
    }
}
