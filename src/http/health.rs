//! `/livez` and `/readyz`: about this node, answered by this node.
//!
//! What it promises: `/readyz` says no within two seconds of losing the leader or the quorum, with the reasons.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;

use super::App;
use super::answer::Answer;
use crate::api::cluster::Readiness;

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
        node_id: app.node_id(),
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
    let reason = if leader_id == app.node_id() {
        "this node leads and does not hear a quorum"
    } else {
        "this node does not hear the leader"
    };
    vec![reason.to_owned()]
}
