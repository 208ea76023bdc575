//! What can come of a call besides its answer.
//!
//! Promises: the three cases that a caller must tell apart are three variants: the cluster said no (`Refused`), nothing
//! happened because nobody could be asked (`Unavailable`), and it may or may not have happened (`OutcomeUnknown`, with
//! the key under which the same call finds out). Must not: hide a problem that the cluster named.

use crate::api::{Problem, ProblemCode};

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The cluster refused the request; asking again the same way will not help.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// No server could serve the request in time. Nothing was done.
    #[error("no server could serve the request ({tries} tries)")]
    Unavailable {
        /// How many tries were made.
        tries: u32,
        /// The last problem that a server named, or else what came of the last try.
        #[source]
        last: Failure,
    },
    /// The time was over before an answer came, and a try may have been carried out.
    #[error("the outcome is not known ({tries} tries)")]
    OutcomeUnknown {
        /// The same request under this key gives the first answer, or is carried out for the first time.
        key: String,
        /// How many tries were made.
        tries: u32,
        /// The last problem that a server named, or else what came of the last try.
        #[source]
        last: Failure,
    },
    /// A server answered with something that is not the API.
    #[error("the answer can not be understood")]
    Unreadable(#[source] Failure),
    /// The request can not be put into HTTP; nothing was sent.
    #[error("the request can not be sent: {0}")]
    Unsendable(String),
}

impl ClientError {
    /// The code of the refusal, if it is one.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            _ => None,
        }
    }
}

/// What came of one try.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// No connection: the request was not sent.
    #[error("`{server}` can not be reached: {problem}")]
    Connect {
        /// The server's address.
        server: String,
        /// What the network said.
        problem: String,
    },
    /// No answer in time.
    #[error("`{server}` did not answer in time")]
    Timeout {
        /// The server's address.
        server: String,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection to `{server}` broke: {problem}")]
    Broken {
        /// The server's address.
        server: String,
        /// What the network said.
        problem: String,
    },
    /// The server said that it can not serve the request now.
    #[error("`{server}` answered: {problem}")]
    Problem {
        /// The server's address.
        server: String,
        /// What it said.
        problem: Box<Problem>,
    },
    /// The answer is not one of the API.
    #[error("`{server}` gave an answer of status {status} that is not of the API: {problem}")]
    Foreign {
        /// The server's address.
        server: String,
        /// Its status.
        status: u16,
        /// What is wrong with it.
        problem: String,
    },
    /// The server pointed to an address that the client does not follow.
    #[error("`{server}` pointed to `{location}`, which is not followed")]
    Redirection {
        /// The server's address.
        server: String,
        /// Where it pointed.
        location: String,
    },
}

impl ClientError {
    /// What stands behind it, in one line for a log; empty if it says all itself.
    pub fn cause(&self) -> String {
        std::error::Error::source(self).map(ToString::to_string).unwrap_or_default()
    }
}

impl Failure {
    /// The code of the problem that the server named, if it named one.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Problem { problem, .. } => Some(problem.code),
            _ => None,
        }
    }
}
