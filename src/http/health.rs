//! `/livez`, `/readyz`, `/metrics`: about this node, answered by this node.
//!
//! What it promises: `/readyz` says no within two seconds of losing the leader or the quorum, with the reasons.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::answer::Answer;
use super::overview::overview;
use crate::api::cluster::Readiness;
use crate::telemetry::Metrics;

/// How long ago the quorum may have been heard.
const CONTACT_AGE_MAX: Duration = Duration::from_millis(1_500);

/// The process lives.
#[utoipa::path(get, path = "/livez", tag = "Node", responses((status = 200, description = "It lives")))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// The node is fit to serve: it leads with a quorum, or it hears a leader.
#[utoipa::path(get, path = "/readyz", tag = "Node",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub(super) async fn readyz(State(app): State<App>) -> Answer<Readiness> {
    let leader_id = app.leader_id();
    let mut reasons = reasons(&app, leader_id);
    if app.stopping.is_cancelled() {
        reasons.push("this node is shutting down".to_owned());
    }
    let body = Readiness {
        ready: reasons.is_empty(),
        reasons,
        node_id: app.services.cluster.node_id(),
        leader_id,
        revision: app.services.replica.revision(),
    };
    let code = if body.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer::local(code, body)
}

fn reasons(app: &App, leader_id: Option<u64>) -> Vec<String> {
    let Some(leader_id) = leader_id else {
        return vec!["no leader is known".to_owned()];
    };
    let contact_age = app.services.cluster.picture().contact_age;
    if contact_age.is_some_and(|age| age <= CONTACT_AGE_MAX) {
        return Vec::new();
    }
    let reason = if leader_id == app.services.cluster.node_id() {
        "this node leads and does not hear a quorum"
    } else {
        "this node does not hear the leader"
    };
    vec![reason.to_owned()]
}

/// The figures of this node in the text form of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "Node",
    responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub(super) async fn metrics(State(app): State<App>) -> Response {
    set_state_metrics(&app);
    let mut response = Body::from(app.services.metrics.encode()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Metrics::media_type()));
    response
}

/// Sets the figures that are read from the state when somebody asks.
fn set_state_metrics(app: &App) {
    let (counts, idempotency_keys) = {
        let state = app.state();
        (overview(&state), state.idempotency().len())
    };
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let figures = &app.services.metrics.state;
    figures.revision.set(signed(counts.revision.0));
    for (state, count) in [
        ("active", counts.task_managers.active),
        ("cordoned", counts.task_managers.cordoned),
        ("draining", counts.task_managers.draining),
        ("drained", counts.task_managers.drained),
        ("lost", counts.task_managers.lost),
    ] {
        figures.set_task_managers(state, signed(count));
    }
    figures.slots_total.set(signed(counts.slots_total));
    figures.slots_free.set(signed(counts.slots_free));
    figures.allocations.set(signed(counts.slots_allocated));
    figures.jobs_running.set(signed(counts.jobs));
    figures.slots_pending.set(signed(counts.pending_slots));
    figures.idempotency_keys.set(i64::try_from(idempotency_keys).unwrap_or(i64::MAX));
}
