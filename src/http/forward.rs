//! Sending a request on to the leader and passing its answer back.
//!
//! What it promises: one hop; the request is sent as it came, with the same idempotency key; the caller learns whether
//! the request can have reached the leader. What it must not do: try again by itself; the dispatcher decides that.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Request, Response, Uri, request};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::watch;

use super::options::HttpOptions;
use crate::api::headers::FORWARDED_BY;
use crate::leader::{LeaderAddress, Leadership};

/// In answers between replicas: nothing was decided because the asked node does not lead. Never reaches a client.
pub(super) const UNDECIDED: HeaderName = HeaderName::from_static("slotkeeper-undecided");

/// How long a leader that has been replaced may still answer what was sent to it.
const REPLACED_LEADER_GRACE: Duration = Duration::from_millis(250);

/// Headers that belong to one connection and are not sent on.
const HOP_HEADERS: [HeaderName; 7] = [
    header::CONNECTION,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
];

/// What came of sending a request on.
pub(super) enum Forwarded {
    /// The other node answered.
    Answered(Response<Body>),
    /// The other node answered that it does not lead and decided nothing.
    Undecided,
    /// The request did not leave this node.
    NotSent(String),
    /// The request may have reached the other node, and no answer came.
    Lost(String),
}

/// What is sent on.
pub(super) struct Outgoing<'a> {
    pub(super) head: &'a request::Parts,
    pub(super) body: Bytes,
    /// This node.
    pub(super) node_id: u64,
    /// How long the answer may take.
    pub(super) timeout: Duration,
}

/// A pool of connections to the other replicas.
#[derive(Debug, Clone)]
pub struct Forwarder {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Forwarder {
    /// A pool without connections.
    pub(super) fn new(options: &HttpOptions) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(options.connect_timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // Below the idle timeout of the other side, so that a pooled connection is rarely a closed one.
            .pool_idle_timeout(options.idle_timeout / 2)
            .build(connector);
        Self { client }
    }

    /// Sends the request to `leader` and waits for the head of its answer. Gives up early if `leadership` shows that
    /// another node leads.
    pub(super) async fn send(
        &self,
        leader: &LeaderAddress,
        outgoing: Outgoing<'_>,
        leadership: &mut watch::Receiver<Leadership>,
    ) -> Forwarded {
        let request = match rebuilt(leader, &outgoing) {
            Ok(request) => request,
            Err(error) => return Forwarded::NotSent(error.to_string()),
        };
        tokio::select! {
            answer = self.client.request(request) => match answer {
                Ok(response) if response.headers().contains_key(&UNDECIDED) => Forwarded::Undecided,
                Ok(response) => Forwarded::Answered(passed_back(&outgoing.head.method, response)),
                Err(error) if error.is_connect() => Forwarded::NotSent(error.to_string()),
                Err(error) => Forwarded::Lost(error.to_string()),
            },
            () = replaced(leader.node_id, leadership) => Forwarded::Lost("the leader was replaced".to_owned()),
            () = tokio::time::sleep(outgoing.timeout) => Forwarded::Lost("no answer came in time".to_owned()),
        }
    }
}

/// The request as it goes to `leader`.
fn rebuilt(
    leader: &LeaderAddress,
    outgoing: &Outgoing<'_>,
) -> Result<Request<Full<Bytes>>, axum::http::Error> {
    let path = outgoing.head.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("http://{}{path}", leader.api_addr).parse()?;
    let mut request = Request::builder()
        .method(outgoing.head.method.clone())
        .uri(uri)
        .body(Full::new(outgoing.body.clone()))?;
    let headers = request.headers_mut();
    copy_headers(&outgoing.head.headers, headers);
    headers.insert(FORWARDED_BY, HeaderValue::from(outgoing.node_id));
    Ok(request)
}

fn passed_back(method: &Method, response: Response<hyper::body::Incoming>) -> Response<Body> {
    let (head, body) = response.into_parts();
    let mut passed = Response::new(Body::new(body));
    *passed.status_mut() = head.status;
    copy_headers(&head.headers, passed.headers_mut());
    // Without a body nothing else says how long it would be.
    if let Some(length) = head.headers.get(header::CONTENT_LENGTH).filter(|_| method == Method::HEAD) {
        passed.headers_mut().insert(header::CONTENT_LENGTH, length.clone());
    }
    passed
}

fn copy_headers(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        let is_kept =
            !HOP_HEADERS.contains(name) && name.as_str() != "keep-alive" && name.as_str() != "expect";
        if is_kept {
            to.append(name.clone(), value.clone());
        }
    }
}

/// Resolves some time after another node than `leader` leads.
async fn replaced(leader: u64, leadership: &mut watch::Receiver<Leadership>) {
    let is_other =
        |leadership: &Leadership| leadership.leader.as_ref().is_some_and(|other| other.node_id != leader);
    if leadership.wait_for(is_other).await.is_err() {
        // Nobody tells any more who leads; the other branches decide.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(REPLACED_LEADER_GRACE).await;
}
