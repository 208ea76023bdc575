//! `/v1/cluster/members` and the hand-over of leadership.

use std::time::Duration;

use axum::extract::State;

use super::answer::Answer;
use super::cluster::member_role;
use super::cluster_view::ClusterMember;
use super::extract::{JsonBody, Nothing, PathParameters};
use super::refusal::Refusal;
use super::{App, requests};
use crate::api::cluster::{AddMember, LeadershipTransferred, MemberChanged, TransferLeadership};

/// How long a hand-over waits for the new leader to serve.
const NEW_LEADER_WAIT: Duration = Duration::from_secs(10);

/// Adds a node as a learner.
#[utoipa::path(post, path = "/v1/cluster/members", tag = "Cluster", request_body = AddMember,
    responses((status = 200, body = MemberChanged)))]
pub(super) async fn add_member(
    State(app): State<App>,
    JsonBody(request): JsonBody<AddMember>,
) -> Result<Answer<MemberChanged>, Refusal> {
    for (field, address) in [("api_addr", &request.api_addr), ("peer_addr", &request.peer_addr)] {
        requests::check_address(field, address)?;
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            return Err(Refusal::invalid(field, "it is HOST:PORT"));
        }
    }
    let member = app.services.cluster.add_member(&request.api_addr, &request.peer_addr).await?;
    Ok(changed(&app, member, true))
}

/// Makes a learner a voter.
#[utoipa::path(post, path = "/v1/cluster/members/{id}/promote", tag = "Cluster",
    params(("id" = u64, Path, description = "The node")), responses((status = 200, body = MemberChanged)))]
pub(super) async fn promote_member(
    State(app): State<App>,
    path: PathParameters,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<Answer<MemberChanged>, Refusal> {
    let member = app.services.cluster.promote(path.get("id")?).await?;
    Ok(changed(&app, member, true))
}

/// Removes a member.
#[utoipa::path(delete, path = "/v1/cluster/members/{id}", tag = "Cluster",
    params(("id" = u64, Path, description = "The node")), responses((status = 200, body = MemberChanged)))]
pub(super) async fn remove_member(
    State(app): State<App>,
    path: PathParameters,
) -> Result<Answer<MemberChanged>, Refusal> {
    let member = app.services.cluster.remove(path.get("id")?).await?;
    Ok(changed(&app, member, false))
}

/// Hands leadership over. Answers when the new leader serves.
#[utoipa::path(post, path = "/v1/cluster/transfer-leadership", tag = "Cluster", request_body = TransferLeadership,
    responses((status = 200, body = LeadershipTransferred)))]
pub(super) async fn transfer_leadership(
    State(app): State<App>,
    JsonBody(request): JsonBody<TransferLeadership>,
) -> Result<Answer<LeadershipTransferred>, Refusal> {
    let leader = app.services.cluster.transfer_leadership(request.to).await?;
    let serves = tokio::time::timeout(NEW_LEADER_WAIT, session_of(&app, leader.node_id)).await;
    if serves.is_err() {
        return Err(Refusal::no_leader(format!(
            "node {} was elected and does not serve yet",
            leader.node_id
        )));
    }
    let body = LeadershipTransferred { leader_id: leader.node_id, api_addr: leader.api_addr };
    Ok(Answer::read(app.services.replica.revision(), body))
}

/// Waits until the session in force is one of `node_id`: from then on it decides.
async fn session_of(app: &App, node_id: u64) {
    let mut applied = app.services.replica.watch();
    loop {
        applied.borrow_and_update();
        let session_node = app.state().session_node();
        if session_node == node_id || applied.changed().await.is_err() {
            return;
        }
    }
}

fn changed(app: &App, member: ClusterMember, is_member: bool) -> Answer<MemberChanged> {
    let body = MemberChanged {
        node_id: member.node_id,
        api_addr: member.api_addr,
        peer_addr: member.peer_addr,
        role: is_member.then(|| member_role(member.is_voter)),
    };
    Answer::read(app.services.replica.revision(), body)
}
