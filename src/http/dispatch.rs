//! Where a request is served: here, by the leader, or nowhere for now.
//!
//! What it promises: every answer carries node, leader and revision; a request is sent on at most one hop; a write whose
//! outcome is open says so and is never sent twice; a panic becomes a plain 500 (`panics.rs`). What it must not do: know
//! resources. Tested in `tests/http`.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header, request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::watch;

use super::answer::{LEADER, NODE, REVISION};
use super::extract::Key;
use super::forward::{Forwarded, Outgoing, UNDECIDED};
use super::panics;
use super::reads::{Freshness, freshness, wait_for_recovery, wait_for_revision};
use super::refusal::{self, Refusal, Undecided};
use super::routes::{self, Place};
use super::{App, body, idempotency};
use crate::api::ProblemCode;
use crate::api::headers::{FORWARD, FORWARD_NEVER, FORWARDED_BY};
use crate::leader::{LeaderAddress, Leadership};

/// How long to wait before asking again whether this node can serve, where no change announces itself.
const SETTLE_PAUSE: Duration = Duration::from_millis(10);

/// Serves one request: the outermost layer of the router.
pub(super) async fn dispatch(State(app): State<App>, request: Request, next: Next) -> Response {
    let started = app.services.clock.now();
    app.services.metrics.http.in_flight.inc();
    let _in_flight = scopeguard(&app);
    let method = routes::method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let by_replica = request.headers().contains_key(FORWARDED_BY);
    let served = panics::contain(serve(&app, request, next)).await;
    let mut response = served.unwrap_or_else(|panics::Panicked| {
        app.services.metrics.http.panics.inc();
        tracing::error!(method, route = route.as_ref().map(MatchedPath::as_str), "a handler panicked");
        Refusal::new(ProblemCode::InternalError, "the server failed; its log says more").into_response()
    });
    if by_replica && response.extensions().get::<Undecided>().is_some() {
        response.headers_mut().insert(UNDECIDED, HeaderValue::from_static("true"));
    }
    add_node_facts(&app, &mut response);
    let seconds = app.services.clock.now().saturating_duration_since(started).as_secs_f64();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    app.services.metrics.http.observe(method, route, response.status().as_u16(), seconds);
    response
}

/// Counts a request out when it is dropped, also if the client goes away.
fn scopeguard(app: &App) -> impl Drop {
    struct InFlight(crate::telemetry::Gauge);

    impl Drop for InFlight {
        fn drop(&mut self) {
            self.0.dec();
        }
    }

    InFlight(app.services.metrics.http.in_flight.clone())
}

/// Adds the headers that every answer has; those of a forwarded answer stay.
fn add_node_facts(app: &App, response: &mut Response) {
    let headers = response.headers_mut();
    if !headers.contains_key(REVISION) {
        headers.insert(REVISION, HeaderValue::from(app.services.replica.revision().0));
    }
    if !headers.contains_key(NODE) {
        headers.insert(NODE, HeaderValue::from(app.node_id()));
        if let Some(leader_id) = app.leader_id() {
            headers.insert(LEADER, HeaderValue::from(leader_id));
        }
    }
}

/// A request that is read and checked, and not served yet.
struct Exchange {
    head: request::Parts,
    body: Bytes,
    place: Place,
    freshness: Freshness,
    timeout: Duration,
}

impl Exchange {
    fn is_write(&self) -> bool {
        self.place == Place::Leader
    }

    /// The request for the handlers of this node.
    fn request(&self) -> Request {
        Request::from_parts(self.head.clone(), Body::from(self.body.clone()))
    }
}

async fn serve(app: &App, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let place = routes::place(request.method(), path.as_ref().map(MatchedPath::as_str));
    if place == Place::Here {
        return next.run(request).await;
    }
    match prepare(app, request, place).await {
        Ok(exchange) if exchange.freshness.is_stale_enough => serve_here(app, &exchange, next).await,
        Ok(exchange) => serve_by_leader(app, &exchange, next).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Reads and checks what all requests have in common.
async fn prepare(app: &App, request: Request, place: Place) -> Result<Exchange, Refusal> {
    let (mut head, body) = request.into_parts();
    let is_write = place == Place::Leader;
    let freshness = if is_write {
        refuse_other_sites(&head)?;
        let has_parameters = head.uri.query().is_some_and(|query| !query.is_empty());
        if has_parameters && !routes::takes_parameters(&head.method, head.uri.path()) {
            return Err(Refusal::invalid("query", "this write takes no parameters"));
        }
        Freshness { is_stale_enough: false, min_revision: None }
    } else {
        freshness(&head.uri)?
    };
    let body = body::read(&head.headers, body, &app.options).await?;
    if is_write {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let key = idempotency::request_key(&head.headers, &head.method, target, &body)?;
        head.extensions.insert(Key(key));
    }
    let timeout = app.options.request_timeout + routes::longest_wait(&head.method, head.uri.path());
    Ok(Exchange { head, body, place, freshness, timeout })
}

/// Refuses writes that a browser sends on behalf of another site.
fn refuse_other_sites(head: &request::Parts) -> Result<(), Refusal> {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let own_host = text("host").or_else(|| head.uri.authority().map(|authority| authority.as_str()));
    let origin_host = text("origin").map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    let is_other_origin = origin_host.is_some() && origin_host != own_host;
    if text("sec-fetch-site") == Some("cross-site") || is_other_origin {
        return Err(Refusal::new(ProblemCode::CrossSiteRequest, "a browser sent this for another web site"));
    }
    Ok(())
}

/// Serves a request on this node, within its time.
async fn serve_here(app: &App, exchange: &Exchange, next: Next) -> Response {
    let served = async {
        if exchange.place == Place::Read {
            if !exchange.freshness.is_stale_enough {
                app.services.cluster.read_barrier().await?;
            } else if !routes::is_about_replicas(exchange.head.uri.path()) {
                wait_for_recovery(app).await?;
            }
            wait_for_revision(app, exchange.freshness.min_revision).await?;
        }
        Ok(next.run(exchange.request()).await)
    };
    match tokio::time::timeout(exchange.timeout, served).await {
        Ok(Ok(response)) => response,
        Ok(Err(refusal)) => Refusal::into_response(refusal),
        Err(_) => timed_out(exchange.is_write()).into_response(),
    }
}

fn timed_out(is_write: bool) -> Refusal {
    if is_write { refusal::outcome_unknown() } else { Refusal::no_leader("the read took too long") }
}

/// Has a request served by whoever leads, waiting a moment for a leader to appear.
async fn serve_by_leader(app: &App, exchange: &Exchange, next: Next) -> Response {
    let mut leadership = app.leadership.clone();
    let own_id = app.node_id();
    let deadline = app.services.clock.now() + app.options.leader_wait;
    let mut refused: Option<Response> = None;
    loop {
        let leader = leadership.borrow_and_update().leader.clone();
        if let Some(leader) = leader {
            let attempt = if leader.node_id == own_id {
                Attempt::from(serve_here(app, exchange, next.clone()).await)
            } else {
                send_on(app, exchange, &leader, own_id).await
            };
            match attempt {
                Attempt::Served(response) => return response,
                Attempt::NotYet(response) => refused = Some(response),
            }
        }
        if !wait_for_change(app, &mut leadership, deadline).await {
            let refused = refused.unwrap_or_else(|| no_leader_known().into_response());
            return refused;
        }
    }
}

fn no_leader_known() -> Refusal {
    Refusal::no_leader("no node is known to lead").undecided()
}

/// What came of trying a request once.
enum Attempt {
    /// This is the answer.
    Served(Response),
    /// Nothing was decided; this is the answer if no leader appears in time.
    NotYet(Response),
}

impl From<Response> for Attempt {
    fn from(response: Response) -> Self {
        match response.extensions().get::<Undecided>() {
            Some(_) => Self::NotYet(response),
            None => Self::Served(response),
        }
    }
}

/// Waits for the leader to change or for a moment to pass; `false` at the deadline.
async fn wait_for_change(app: &App, leadership: &mut watch::Receiver<Leadership>, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(app.services.clock.now());
    if left.is_zero() || app.stopping.is_cancelled() {
        return false;
    }
    // A node that is stopping tells no changes any more; the pause goes on then.
    let _ = tokio::time::timeout(left.min(SETTLE_PAUSE), leadership.changed()).await;
    true
}

/// Sends a request to `leader`, once.
async fn send_on(app: &App, exchange: &Exchange, leader: &LeaderAddress, own_id: u64) -> Attempt {
    if exchange.head.headers.contains_key(FORWARDED_BY) {
        let refusal =
            Refusal::no_leader("the request was sent to this node as the leader, and another node leads");
        return Attempt::Served(refusal.undecided().into_response());
    }
    if exchange.head.headers.get(FORWARD).is_some_and(|value| value == FORWARD_NEVER) {
        return if app.services.cluster.hears_leader() {
            Attempt::Served(redirect(&exchange.head, leader))
        } else {
            Attempt::NotYet(no_leader_known().into_response())
        };
    }
    app.services.metrics.http.forwarded.inc();
    let outgoing = Outgoing {
        head: &exchange.head,
        body: exchange.body.clone(),
        node_id: own_id,
        timeout: exchange.timeout,
    };
    match app.forwarder.send(leader, outgoing, &mut app.leadership.clone()).await {
        Forwarded::Answered(response) => Attempt::Served(response),
        Forwarded::Undecided => Attempt::NotYet(no_leader_known().into_response()),
        Forwarded::NotSent(reason) => {
            tracing::debug!(leader = leader.node_id, reason, "a request could not be sent on to the leader");
            Attempt::NotYet(Refusal::no_leader("the leader can not be reached").undecided().into_response())
        }
        Forwarded::Lost(reason) if exchange.is_write() => {
            tracing::debug!(
                leader = leader.node_id,
                reason,
                "the outcome of a request that was sent on is open"
            );
            app.services.metrics.http.forwards_unknown.inc();
            Attempt::Served(refusal::outcome_unknown().into_response())
        }
        Forwarded::Lost(_) => {
            Attempt::NotYet(Refusal::no_leader("the leader did not answer").undecided().into_response())
        }
    }
}

/// Tells the client where the leader is.
fn redirect(head: &request::Parts, leader: &LeaderAddress) -> Response {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let location = HeaderValue::try_from(format!("http://{}{path}", leader.api_addr));
    let Ok(location) = location else {
        return Refusal::no_leader("the leader's address can not be told").into_response();
    };
    let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// The answer to a path that nobody serves.
pub(super) async fn not_found(request: Request) -> Refusal {
    let path: String = request.uri().path().chars().take(200).collect();
    Refusal::new(ProblemCode::NotFound, format!("there is nothing at `{path}`"))
}

/// The answer to a method that the path does not take.
pub(super) async fn method_not_allowed(method: Method) -> Refusal {
    let method: String = method.as_str().chars().take(32).collect();
    Refusal::new(ProblemCode::MethodNotAllowed, format!("this path does not take `{method}`"))
}
