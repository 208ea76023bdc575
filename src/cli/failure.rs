//! Why a verb did not do its part: message, causes, a hint that names what to do next, and the exit status.
//!
//! Promises: every error of the client becomes exactly one exit status. Must not: print (the printer does).

use std::error::Error as _;

use super::exit::Exit;
use crate::api::{Problem, ProblemCode};
use crate::client::{ClientError, Failure as TryFailure};

/// A verb that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
    /// From the nearest cause to the farthest.
    pub(super) causes: Vec<String>,
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// A command line that can not be meant.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    #[must_use]
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let causes = error.source().map(ToString::to_string).into_iter().collect();
        match &error {
            ClientError::Refused(problem) => refused(problem),
            ClientError::Unavailable { last, .. } => Self {
                exit: Exit::Unavailable,
                message: error.to_string(),
                causes,
                hint: Some(unavailable_hint(last).to_owned()),
            },
            ClientError::OutcomeUnknown { key, .. } => Self {
                exit: Exit::Unavailable,
                message: error.to_string(),
                causes,
                hint: Some(format!(
                    "the same command with `--idempotency-key {key}` finds out, or does it now"
                )),
            },
            ClientError::Unreadable(_) => Self {
                exit: Exit::Unavailable,
                message: error.to_string(),
                causes,
                hint: Some("`--servers` must name the API addresses of a Slotkeeper cluster".to_owned()),
            },
            ClientError::Unsendable(_) => Self::usage(error.to_string()),
        }
    }
}

fn unavailable_hint(last: &TryFailure) -> &'static str {
    match last {
        TryFailure::Problem { problem, .. } if problem.code == ProblemCode::NoLeader => {
            "a leader needs a majority of the servers: are they running, and do they reach each other?"
        }
        TryFailure::Problem { .. } => "try again later, or give it more time with `--timeout`",
        _ => "name other servers with `--servers` or SLOTKEEPER_SERVERS",
    }
}

fn refused(problem: &Problem) -> Failure {
    // A server that failed has not refused: whether it did its part is not known.
    let exit = if problem.status >= 500 { Exit::Unavailable } else { Exit::Refused };
    let mut causes = Vec::new();
    if let Some(field) = &problem.field {
        causes.push(format!("in `{field}` of the request"));
    }
    for counted in problem.reasons.iter().flatten() {
        causes.push(format!("{}: {} TaskManagers", counted.reason, counted.task_managers));
    }
    let hint = match problem.code {
        ProblemCode::UnknownJob => {
            Some("`slotkeeper jobs put JOB` puts a job, `slotkeeper jobs list` shows them")
        }
        ProblemCode::UnknownTaskManager => Some("`slotkeeper task-managers list` shows the TaskManagers"),
        ProblemCode::UnknownQueue => Some("`slotkeeper queues list` shows the queues"),
        ProblemCode::UnknownMember => Some("`slotkeeper members list` shows the members"),
        ProblemCode::InsufficientResources => {
            Some("`--wait 30s` waits for slots, `--mode best-effort` takes what there is")
        }
        ProblemCode::IdempotencyKeyReused => Some("leave `--idempotency-key` out for a new request"),
        ProblemCode::StaleVersion | ProblemCode::VersionReused => {
            Some("without `--version` the next version is taken")
        }
        ProblemCode::JobHoldsSlots => Some("release its slots first"),
        _ => None,
    };
    Failure { exit, message: problem.to_string(), causes, hint: hint.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_failed_has_not_refused() {
        let failed = Problem::new(ProblemCode::InternalError, "a lock is poisoned");
        assert_eq!(Failure::from(ClientError::Refused(Box::new(failed))).exit, Exit::Unavailable);
        let refused = Problem::new(ProblemCode::UnknownJob, "no job `j` is running");
        let failure = Failure::from(ClientError::Refused(Box::new(refused)));
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (Exit::Refused, "no job `j` is running (unknown_job)")
        );
    }

    #[test]
    fn an_unknown_outcome_names_the_key_to_find_out_with() {
        let last = TryFailure::Timeout { server: "http://a:1".to_owned() };
        let failure = Failure::from(ClientError::OutcomeUnknown { key: "k1".to_owned(), tries: 2, last });
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.hint.unwrap().contains("--idempotency-key k1"));
        assert_eq!(failure.causes, ["`http://a:1` did not answer in time"]);
    }
}
