//! One client of the load: a lane to the leader that is opened anew when it breaks.
//!
//! Promises: a call is one request, never repeated; whatever is not a success has a code, the API's or `unreachable`,
//! `timeout`, `broken`, `unreadable`. Must not: measure.

use std::time::Duration;

use serde::Deserialize;

use super::leader::LeaderView;
use crate::client::{Failure, Lane, LaneRequest};

/// How long a connection may take to open.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The pause after a failure of the network, so that a dead leader is not asked in a tight loop.
const FAILURE_PAUSE: Duration = Duration::from_millis(5);

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Miss {
    pub(super) code: String,
    /// How long the next request should wait.
    pub(super) pause: Duration,
}

/// What is read of a problem.
#[derive(Debug, Deserialize)]
struct ProblemFacts {
    code: String,
    #[serde(default)]
    retry_after_ms: Option<u64>,
}

/// A client.
#[derive(Debug)]
pub(super) struct Caller {
    leader: LeaderView,
    lane: Option<Lane>,
    limit: Duration,
}

impl Caller {
    pub(super) fn new(leader: LeaderView, limit: Duration) -> Self {
        Self { leader, lane: None, limit }
    }

    /// Opens the connection, if that is not done.
    ///
    /// # Errors
    /// `unreachable`.
    pub(super) async fn connect(&mut self) -> Result<&mut Lane, Miss> {
        if self.leader.has_moved() {
            self.lane = None;
        }
        if self.lane.is_none() {
            let address = self.leader.address();
            match Lane::open(&address, CONNECT_LIMIT).await {
                Ok(lane) => self.lane = Some(lane),
                Err(failure) => return Err(self.failed(&failure)),
            }
        }
        Ok(self.lane.as_mut().expect("it was opened just now"))
    }

    /// Sends `request` once and gives the body of a successful answer.
    ///
    /// # Errors
    /// Whatever else came of it.
    pub(super) async fn call(&mut self, request: LaneRequest<'_>) -> Result<&[u8], Miss> {
        let limit = self.limit;
        match self.connect().await?.exchange(request, limit).await {
            Ok(200..=299) => Ok(self.lane.as_ref().map_or(&[], Lane::body)),
            Ok(status) => Err(self.refused(status)),
            Err(failure) => Err(self.failed(&failure)),
        }
    }

    fn failed(&mut self, failure: &Failure) -> Miss {
        self.lane = None;
        self.leader.look();
        let code = match failure {
            Failure::Connect { .. } => "unreachable",
            Failure::Timeout { .. } => "timeout",
            _ => "broken",
        };
        Miss { code: code.to_owned(), pause: FAILURE_PAUSE }
    }

    fn refused(&mut self, status: u16) -> Miss {
        if matches!(status, 307 | 503 | 504) {
            self.leader.look();
        }
        let body = self.lane.as_ref().map_or(&[][..], Lane::body);
        match serde_json::from_slice::<ProblemFacts>(body) {
            Ok(problem) => {
                let pause = problem.retry_after_ms.map_or(Duration::ZERO, Duration::from_millis);
                Miss { code: problem.code, pause }
            }
            Err(_) => Miss { code: "unreadable".to_owned(), pause: FAILURE_PAUSE },
        }
    }
}
