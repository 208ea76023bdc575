//! Problems: what a refused request is told (RFC 9457), and the table of all codes.
//!
//! What it promises: a code never changes its meaning or its status, codes are only added; each has a page in
//! `docs/errors/` that says what happened, why, and what to do. What it must not do: carry internal context, which
//! belongs in the log. `tests/openapi.rs` compares table, pages and OpenAPI document.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::reasons::RefusalReasonCount;

/// The media type of a [`Problem`].
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";
/// Where the pages of the codes are served: this, then the code.
pub const PROBLEM_PAGE_PREFIX: &str = "/errors/";

/// Declares the codes: name, text, HTTP status, whether trying again can help, title.
macro_rules! problem_codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $status:literal, $retryable:literal, $title:literal;)*) => {
        /// Every code that the API answers with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
            /// A code of a newer server; never sent by this one.
            #[serde(other)]
            Unknown,
        }

        impl ProblemCode {
            /// Every code that this server sends, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code in answers.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown => "unknown",
                }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                    Self::Unknown => 500,
                }
            }

            /// Whether the very same request can succeed later; writes with the same idempotency key.
            pub fn retryable(self) -> bool {
                match self {
                    $(Self::$variant => $retryable,)*
                    Self::Unknown => false,
                }
            }

            /// One line for people.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)*
                    Self::Unknown => "The server answered with a code that this program does not know",
                }
            }
        }
    };
}

problem_codes! {
    /// The request can not be read or breaks a bound.
    InvalidRequest = "invalid_request", 400, false, "The request is not valid";
    /// A browser sent a write on behalf of another site.
    CrossSiteRequest = "cross_site_request", 403, false, "The request comes from another web site";
    /// No such path.
    NotFound = "not_found", 404, false, "There is nothing at this path";
    /// No such TaskManager, or it is lost.
    UnknownTaskManager = "unknown_task_manager", 404, false, "The TaskManager is not registered";
    /// No such job, or it is finished.
    UnknownJob = "unknown_job", 404, false, "The job is not running";
    /// No such allocation.
    UnknownAllocation = "unknown_allocation", 404, false, "The allocation never existed";
    /// No such queue.
    UnknownQueue = "unknown_queue", 404, false, "The queue does not exist";
    /// No such member.
    UnknownMember = "unknown_member", 404, false, "The node is not a member of the cluster";
    /// The path exists, but not with this method.
    MethodNotAllowed = "method_not_allowed", 405, false, "The path does not take this method";
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout", 408, true, "The request did not arrive in time";
    /// Late message of an older registration.
    StaleEpoch = "stale_epoch", 409, false, "The registration has been replaced";
    /// Late message of an older declaration.
    StaleVersion = "stale_version", 409, false, "A newer declaration stands";
    /// One version, two declarations.
    VersionReused = "version_reused", 409, false, "The version stands with other lines";
    /// Late message of an older job leader.
    StaleJobMaster = "stale_job_master", 409, false, "Another job master speaks for the job";
    /// A job with slots can not change its queue.
    JobHoldsSlots = "job_holds_slots", 409, false, "The job holds slots";
    /// Not enough slots now.
    InsufficientResources = "insufficient_resources", 409, false, "There are not enough slots";
    /// A queue with jobs can not go.
    QueueInUse = "queue_in_use", 409, false, "The queue still has jobs";
    /// A ceiling below what is held.
    QueueAboveMaximum = "queue_above_maximum", 409, false, "The queue holds more than this maximum";
    /// The default queue stays.
    QueueProtected = "queue_protected", 409, false, "The queue can not be deleted";
    /// A bound of the state is reached.
    LimitReached = "limit_reached", 409, false, "A limit of the cluster is reached";
    /// A change of membership that would be unsafe or is in the way of another.
    MembershipConflict = "membership_conflict", 409, true, "The membership can not change like this now";
    /// More bytes than the limit.
    BodyTooLarge = "body_too_large", 413, false, "The request is too large";
    /// One key, two requests.
    IdempotencyKeyReused = "idempotency_key_reused", 422, false, "The idempotency key was used for another request";
    /// The queue of requests is full.
    Overloaded = "overloaded", 429, true, "The server has too much to do";
    /// No room for another key.
    IdempotencyTableFull = "idempotency_table_full", 429, true, "No more idempotency keys can be remembered now";
    /// A bug: the server failed.
    InternalError = "internal_error", 500, false, "The server failed";
    /// Nobody leads, or the leader has no quorum.
    NoLeader = "no_leader", 503, true, "The cluster has no leader";
    /// The leader changed before anything was decided.
    LeadershipLost = "leadership_lost", 503, true, "The leader changed before this was decided";
    /// The leader has no room for new entries of the log.
    DiskFull = "disk_full", 503, true, "The disk of the leader is full";
    /// The node shuts down.
    ShuttingDown = "shutting_down", 503, true, "This node is shutting down";
    /// The leader changed after the request was written; it may or may not take effect.
    OutcomeUnknown = "outcome_unknown", 504, true, "It is not known whether this was done";
    /// The replica did not reach the revision in time.
    RevisionTimeout = "revision_timeout", 504, true, "This replica has not reached the revision";
}

impl ProblemCode {
    /// The path of the page about this code.
    pub fn page(self) -> String {
        format!("{PROBLEM_PAGE_PREFIX}{}", self.as_str())
    }
}

impl PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        let codes = Self::ALL.iter().map(|code| code.as_str());
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("Every code that this server sends; a newer one may send others."))
            .enum_values(Some(codes))
            .into()
    }
}

impl ToSchema for ProblemCode {}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The node that leads, as far as the answering node knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaderHint {
    /// Its id.
    pub node_id: u64,
    /// Where its API is.
    #[schema(example = "127.0.0.1:7400")]
    pub api_addr: String,
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "type": "/errors/insufficient_resources", "title": "There are not enough slots", "status": 409,
    "detail": "4 slots were asked for", "code": "insufficient_resources", "retryable": false,
    "reasons": [{"reason": "no_free_slot", "task_managers": 3}]
}))]
pub struct Problem {
    /// URL path of the page about the code.
    #[serde(rename = "type")]
    pub page: String,
    /// One line for people, the same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here.
    pub detail: String,
    /// The stable code.
    pub code: ProblemCode,
    /// Whether the very same request can succeed later; writes with the same idempotency key.
    pub retryable: bool,
    /// How long to wait before trying again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Who leads, where it helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderHint>,
    /// The field of the request that is wrong, as a path such as `requirements[0].min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Why not, counted over the TaskManagers that were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<RefusalReasonCount>>,
}

impl Problem {
    /// A problem of `code`; `detail` says what happened here.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            page: code.page(),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            retryable: code.retryable(),
            retry_after_ms: None,
            leader: None,
            field: None,
            reasons: None,
        }
    }

    /// This problem with the field that is wrong.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// This problem with a time to wait.
    #[must_use]
    pub fn with_retry_after_ms(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }

    /// This problem with the leader, if it is known.
    #[must_use]
    pub fn with_leader(mut self, leader: Option<LeaderHint>) -> Self {
        self.leader = leader;
        self
    }

    /// This problem with counted reasons.
    #[must_use]
    pub fn with_reasons(mut self, reasons: Vec<RefusalReasonCount>) -> Self {
        self.reasons = Some(reasons);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_back_as_it_was_written() {
        let problem = Problem::new(ProblemCode::NoLeader, "no leader is known").with_retry_after_ms(200);
        let json = serde_json::to_string(&problem).unwrap();
        assert!(
            json.contains(r#""type":"/errors/no_leader""#) && json.contains(r#""code":"no_leader""#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
    }

    #[test]
    fn a_code_of_a_newer_server_does_not_stop_an_older_client() {
        let code: ProblemCode = serde_json::from_str("\"invented_tomorrow\"").unwrap();
        assert_eq!(code, ProblemCode::Unknown);
    }

    #[test]
    fn every_code_is_a_lower_snake_case_word_and_comes_once() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ProblemCode::ALL {
            assert!(code.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            assert!(seen.insert(code.as_str()), "{code} comes twice");
            assert!((400..600).contains(&code.status()));
        }
    }
}
