//! One request as the client repeats it: the same method, path, body and key at every try.
//!
//! Promises: path segments and query values are encoded, so that no name can reach another path. Must not: know
//! servers or time. Tested below.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::error::ClientError;

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Whether the request changes something and therefore carries an idempotency key.
    pub(super) fn writes(self) -> bool {
        self != Self::Get
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) body: Option<Bytes>,
    /// How long the server may take on purpose before it answers.
    pub(super) wait: Duration,
    /// Whether the answer is remembered under a key; false for reads and heartbeats.
    pub(super) keyed: bool,
}

impl Request {
    /// A request without a body.
    pub(super) fn new(method: Method, target: Target) -> Self {
        Self { method, target: target.text, body: None, wait: Duration::ZERO, keyed: method.writes() }
    }

    /// The same with a JSON body.
    pub(super) fn with_body(mut self, body: &impl Serialize) -> Result<Self, ClientError> {
        let bytes = serde_json::to_vec(body).map_err(|error| ClientError::Unsendable(error.to_string()))?;
        self.body = Some(Bytes::from(bytes));
        Ok(self)
    }

    /// The same, knowing that the server may wait so long before it answers.
    pub(super) fn waiting(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// The same without an idempotency key: a write that may be made twice.
    pub(super) fn unkeyed(mut self) -> Self {
        self.keyed = false;
        self
    }
}

/// A path and its query, built up piece by piece.
#[derive(Debug, Clone)]
pub(super) struct Target {
    text: String,
    has_query: bool,
}

impl Target {
    /// The path of these segments, each encoded.
    ///
    /// # Errors
    /// If a segment is empty or consists of dots only: it would name another path.
    pub(super) fn new(segments: &[&str]) -> Result<Self, ClientError> {
        let mut text = String::new();
        for segment in segments {
            if segment.is_empty() || *segment == "." || *segment == ".." {
                return Err(ClientError::Unsendable(format!("`{segment}` can not be part of a path")));
            }
            text.push('/');
            encode_onto(&mut text, segment);
        }
        Ok(Self { text, has_query: false })
    }

    /// Adds a query parameter.
    #[must_use]
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        encode_onto(&mut self.text, name);
        self.text.push('=');
        encode_onto(&mut self.text, value);
        self
    }

    /// Adds a query parameter if there is a value for it.
    #[must_use]
    pub(super) fn query_if(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }
}

fn encode_onto(text: &mut String, part: &str) {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to a text never fails");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_not_reach_another_path() {
        let target = Target::new(&["v1", "jobs", "a/b?c#d e"]).unwrap();
        assert_eq!(target.text, "/v1/jobs/a%2Fb%3Fc%23d%20e");
        for segment in ["", ".", ".."] {
            assert!(Target::new(&["v1", segment]).is_err(), "`{segment}`");
        }
    }

    #[test]
    fn query_values_are_encoded_and_joined() {
        let target = Target::new(&["v1", "jobs"]).unwrap().query("label", "a=b&c").query_if("queue", None);
        assert_eq!(target.query("limit", "5").text, "/v1/jobs?label=a%3Db%26c&limit=5");
    }
}
