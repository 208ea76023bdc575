//! One try of a request at one server.
//!
//! Promises: every end of a try is one `Verdict`, and each verdict says whether the request may have been carried out.
//! Must not: decide about repeating; `call` does. The HTTP library is named here and nowhere else.
//! Tested in `client/tests/mod.rs` and below.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderName};

use super::error::Failure;
use super::request::{Method, Request};
use crate::api::{Problem, headers};

/// The largest answer that is read. Beyond it the try counts as broken.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What the headers of an answer tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) revision: Option<u64>,
    pub(super) leader: Option<u64>,
    pub(super) node: Option<u64>,
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Exchanged {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// How a try ended.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The answer.
    Answered { status: u16, body: Bytes, told: Told },
    /// A refusal that another try would not change.
    Refused { problem: Box<Problem>, told: Told },
    /// Something that another try may change.
    Again(Trouble),
    /// Ask this address.
    Elsewhere { address: String },
    /// Not an answer of the API.
    Unreadable(Failure),
}

/// Why another try may help.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) failure: Failure,
    /// How long the server asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// Whether the request may have been carried out.
    pub(super) may_be_done: bool,
    /// Whether it is the server or the way to it that fails, so that another server may serve at once.
    pub(super) server_failed: bool,
}

/// The connections to all servers.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
}

impl Transport {
    pub(super) fn new(connect_timeout: Duration) -> Self {
        let http = reqwest::Client::builder()
            .connect_timeout(connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .tcp_nodelay(true)
            .build()
            .expect("a client without TLS needs nothing that could be missing");
        Self { http }
    }

    /// Sends `request` to `server`, waits at most `timeout` for the whole answer, and judges it.
    pub(super) async fn attempt(
        &self,
        server: &str,
        request: &Request,
        key: Option<&str>,
        timeout: Duration,
    ) -> Verdict {
        match self.exchange(server, request, key, timeout).await {
            Ok(Exchanged { status, headers, body }) => judge(server, status, &headers, body),
            Err(trouble) => Verdict::Again(trouble),
        }
    }

    /// Sends `request` to `server` and waits at most `timeout` for the whole answer, whatever it is.
    pub(super) async fn exchange(
        &self,
        server: &str,
        request: &Request,
        key: Option<&str>,
        timeout: Duration,
    ) -> Result<Exchanged, Trouble> {
        let mut builder = self.http.request(method_of(request.method), format!("{server}{}", request.target));
        if let Some(key) = key {
            builder = builder.header(headers::IDEMPOTENCY_KEY, key);
        }
        if let Some(body) = &request.body {
            builder = builder.header("content-type", "application/json").body(body.clone());
        }
        let exchange = async {
            let response = builder.send().await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = read_body(response).await?;
            Ok::<_, ExchangeError>(Exchanged { status, headers, body })
        };
        match tokio::time::timeout(timeout, exchange).await {
            Err(_elapsed) => Err(trouble(Failure::Timeout { server: server.to_owned() }, true)),
            Ok(Err(error)) => Err(network_trouble(server, &error)),
            Ok(Ok(exchanged)) => Ok(exchanged),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error(transparent)]
    Network(#[from] reqwest::Error),
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
}

async fn read_body(mut response: reqwest::Response) -> Result<Bytes, ExchangeError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(ExchangeError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn method_of(method: Method) -> reqwest::Method {
    match method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
    }
}

fn trouble(failure: Failure, may_be_done: bool) -> Trouble {
    Trouble { failure, retry_after: None, may_be_done, server_failed: true }
}

/// An error of the network. Only a connection that was never made rules out that the request was carried out.
fn network_trouble(server: &str, error: &ExchangeError) -> Trouble {
    let (server, problem) = (server.to_owned(), innermost(error));
    match error {
        ExchangeError::Network(error) if error.is_connect() => {
            trouble(Failure::Connect { server, problem }, false)
        }
        ExchangeError::Network(error) if error.is_timeout() => trouble(Failure::Timeout { server }, true),
        _ => trouble(Failure::Broken { server, problem }, true),
    }
}

/// The message at the end of the chain: the one that names the cause rather than the layer.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn judge(server: &str, status: u16, headers: &HeaderMap, body: Bytes) -> Verdict {
    let told = told_by(headers);
    match status {
        200..=299 => Verdict::Answered { status, body, told },
        307 | 308 => redirected(server, headers),
        _ => match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => named_problem(server, status, headers, problem),
            Err(_) => foreign_answer(server, status, headers, &body),
        },
    }
}

fn named_problem(server: &str, status: u16, headers: &HeaderMap, problem: Problem) -> Verdict {
    let problem = Box::new(problem);
    // A retryable conflict (too few slots, a membership change under way) is the caller's to repeat: under the same key it
    // may be the remembered answer for ever.
    if !problem.retryable || !matches!(status, 408 | 429 | 500..) {
        return Verdict::Refused { problem, told: told_by(headers) };
    }
    let retry_after = problem.retry_after_ms.map(Duration::from_millis).or_else(|| retry_after_of(headers));
    Verdict::Again(Trouble {
        retry_after,
        // These say that the request was not taken; everything else that is retryable may come too late to know.
        may_be_done: !matches!(status, 408 | 429 | 503),
        server_failed: false,
        failure: Failure::Problem { server: server.to_owned(), problem },
    })
}

/// An answer without a problem document: something between the client and the cluster gave it.
fn foreign_answer(server: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Verdict {
    let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
    let failure = Failure::Foreign { server: server.to_owned(), status, problem: text };
    if matches!(status, 408 | 429 | 500..) {
        let retry_after = retry_after_of(headers);
        return Verdict::Again(Trouble {
            failure,
            retry_after,
            may_be_done: status != 429,
            server_failed: true,
        });
    }
    Verdict::Unreadable(failure)
}

fn redirected(server: &str, headers: &HeaderMap) -> Verdict {
    let location = headers.get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let address =
        location.strip_prefix("http://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(rest));
    match address.map(super::options::normalized_address) {
        Some(Ok(address)) => Verdict::Elsewhere { address },
        _ => Verdict::Unreadable(Failure::Redirection {
            server: server.to_owned(),
            location: location.to_owned(),
        }),
    }
}

fn told_by(received: &HeaderMap) -> Told {
    let number = |name: &'static str| {
        received.get(HeaderName::from_static(name)).and_then(|value| value.to_str().ok()?.parse().ok())
    };
    Told { revision: number(headers::REVISION), leader: number(headers::LEADER), node: number(headers::NODE) }
}

/// `Retry-After` in seconds; the form with a date is not used by the API.
fn retry_after_of(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get("retry-after")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
