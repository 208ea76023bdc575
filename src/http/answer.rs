//! Answers: a body and the facts that every answer carries in its headers.
//!
//! What it promises: `slotkeeper-revision` is the revision that the body reflects, read under the same lock as the body
//! or taken from the outcome of the write. What it must not do: know any resource.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::headers;
use crate::domain::Revision;

pub(super) const REVISION: HeaderName = HeaderName::from_static(headers::REVISION);
pub(super) const LEADER: HeaderName = HeaderName::from_static(headers::LEADER);
pub(super) const NODE: HeaderName = HeaderName::from_static(headers::NODE);
pub(super) const REPLAYED: HeaderName = HeaderName::from_static(headers::REPLAYED);

/// What an answer says about itself beside its body.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AnswerFacts {
    /// The revision that the body reflects.
    pub(super) revision: Option<Revision>,
    /// Whether this is the first answer to an idempotency key given again.
    pub(super) replayed: bool,
}

/// Writes the facts into headers.
pub(super) fn add_facts(headers: &mut HeaderMap, facts: &AnswerFacts) {
    if let Some(revision) = facts.revision {
        headers.insert(REVISION, HeaderValue::from(revision.0));
    }
    if facts.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
}

/// A JSON answer.
#[derive(Debug)]
pub struct Answer<T> {
    status: StatusCode,
    facts: AnswerFacts,
    body: T,
}

impl<T> Answer<T> {
    /// A read of the state at `revision`.
    pub(super) fn read(revision: Revision, body: T) -> Self {
        Self {
            status: StatusCode::OK,
            facts: AnswerFacts { revision: Some(revision), replayed: false },
            body,
        }
    }

    /// The outcome of a write.
    pub(super) fn written(revision: Revision, replayed: bool, body: T) -> Self {
        Self { status: StatusCode::OK, facts: AnswerFacts { revision: Some(revision), replayed }, body }
    }

    /// An answer about this node rather than about the state.
    pub(super) fn local(status: StatusCode, body: T) -> Self {
        Self { status, facts: AnswerFacts::default(), body }
    }

    /// What is answered.
    pub(super) fn body(&self) -> &T {
        &self.body
    }

    /// This answer with 201 if something was created.
    #[must_use]
    pub(super) fn created(mut self, created: bool) -> Self {
        if created {
            self.status = StatusCode::CREATED;
        }
        self
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body).expect("an answer is plain data");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        add_facts(headers, &self.facts);
        response
    }
}
