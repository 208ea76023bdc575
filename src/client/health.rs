//! The health of one server, asked of that server and of no other.

use super::attempt::Verdict;
use super::call::Client;
use super::error::{ClientError, Failure};
use super::request::{Method, Request, Target};

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The server's address.
    pub server: String,
    /// Whether it serves requests now.
    pub ready: bool,
    /// What it said: the body of its answer.
    pub detail: String,
}

impl Client {
    /// Whether the server that calls start at (with one server: that one) is ready. Asks once.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`] if it does not answer.
    pub async fn readiness(&self) -> Result<Readiness, ClientError> {
        let request = Request::new(Method::Get, Target::new(&["readyz"])?);
        let (server, verdict) = self.single_attempt(&request).await;
        match verdict {
            Verdict::Answered { body, .. } => {
                let detail = String::from_utf8_lossy(&body).trim().to_owned();
                Ok(Readiness { server, ready: true, detail })
            }
            Verdict::Refused { problem, .. } => {
                Ok(Readiness { server, ready: false, detail: problem.detail.clone() })
            }
            Verdict::Again(trouble) => match trouble.failure {
                Failure::Problem { problem, .. } => {
                    Ok(Readiness { server, ready: false, detail: problem.detail.clone() })
                }
                Failure::Foreign { problem, .. } => Ok(Readiness { server, ready: false, detail: problem }),
                last => Err(ClientError::Unavailable { tries: 1, last }),
            },
            Verdict::Unreadable(failure) => Err(ClientError::Unreadable(failure)),
            Verdict::Elsewhere { address } => {
                Err(ClientError::Unreadable(Failure::Redirection { server, location: address }))
            }
        }
    }
}
