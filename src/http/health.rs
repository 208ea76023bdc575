//! `/livez` and `/readyz`: about this node, answered by this node.
//!
//! What it promises: `/readyz` says no within two seconds of losing the leader or the quorum, with the reasons.

use axum::extract::State;
use axum::http::StatusCode;

use super::App;
use super::answer::Answer;
use crate::api::cluster::Readiness;

/// The process lives.
#[utoipa::path(get, path = "/livez", tag = "Node", responses((status = 200, description = "It lives")))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// The node is fit to serve: it leads with a quorum, or it hears a leader.
#[utoipa::path(get, path = "/readyz", tag = "Node",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub(super) async fn readyz(State(app): State<App>) -> Answer<Readiness> {
    let mut reasons = reasons(&app);
    if app.stopping.is_cancelled() {
        reasons.push("this node is shutting down".to_owned());
    }
    let body = Readiness {
        ready: reasons.is_empty(),
        reasons,
        node_id: app.node_id(),
        leader_id: app.leader_id(),
        revision: app.services.replica.revision(),
    };
    let code = if body.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer::local(code, body)
}

fn reasons(app: &App) -> Vec<String> {
    let reason = match app.last_leader_id() {
        Some(_) if app.services.cluster.hears_leader() => return Vec::new(),
        Some(leader) if leader == app.node_id() => "this node leads and does not hear a quorum",
        Some(_) => "this node does not hear the leader",
        None => "no leader is known",
    };
    vec![reason.to_owned()]
}
