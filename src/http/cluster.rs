//! `/v1/cluster`: the replicas, who leads, how far each is.

use axum::extract::State;

use super::App;
use super::answer::Answer;
use super::cluster_view::{ClusterMember, MemberReport};
use super::extract::QueryParameters;
use super::refusal::Refusal;
use crate::api::cluster::{Cluster, Member, MemberRole, MemberState, StateHash};

/// The members and how far each is. Asks every member, so it takes as long as the slowest, up to a bound.
#[utoipa::path(get, path = "/v1/cluster", tag = "Cluster", responses((status = 200, body = Cluster)))]
pub(super) async fn get_cluster(
    State(app): State<App>,
    query: QueryParameters,
) -> Result<Answer<Cluster>, Refusal> {
    query.finish()?;
    let reports = app.services.cluster.reports().await;
    let own_id = app.node_id();
    let picture = app.services.cluster.picture();
    let leader_id = picture.leader_id;
    let last_index = leader_id.and_then(|leader| reports.get(&leader)).map(|report| report.last_log_index);
    let mut members: Vec<_> = picture
        .members
        .iter()
        .map(|member| {
            let is_candidate = picture.is_candidate && member.node_id == own_id;
            let state = member_state(member, leader_id, is_candidate, reports.contains_key(&member.node_id));
            shown(member, state, reports.get(&member.node_id), last_index)
        })
        .collect();
    members.sort_by_key(|member| member.node_id);
    let body = Cluster { cluster_id: picture.cluster_id, leader_id, term: picture.term, members };
    Ok(Answer::read(app.services.replica.revision(), body))
}

fn shown(
    member: &ClusterMember,
    state: MemberState,
    report: Option<&MemberReport>,
    leader_last_index: Option<u64>,
) -> Member {
    let lag = |report: &MemberReport| Some(leader_last_index?.saturating_sub(report.applied_index));
    Member {
        node_id: member.node_id,
        api_addr: member.api_addr.clone(),
        peer_addr: member.peer_addr.clone(),
        role: member_role(member.is_voter),
        state,
        applied_index: report.map(|report| report.applied_index),
        last_log_index: report.map(|report| report.last_log_index),
        lag: report.and_then(lag),
        state_hash: report
            .map(|report| StateHash { hash: report.state_hash.to_string(), revision: report.revision }),
    }
}

pub(super) fn member_role(is_voter: bool) -> MemberRole {
    if is_voter { MemberRole::Voter } else { MemberRole::Learner }
}

fn member_state(
    member: &ClusterMember,
    leader: Option<u64>,
    is_candidate: bool,
    answered: bool,
) -> MemberState {
    match () {
        () if is_candidate => MemberState::Candidate,
        () if !answered => MemberState::Unreachable,
        () if leader == Some(member.node_id) => MemberState::Leader,
        () if member.is_voter => MemberState::Follower,
        () => MemberState::Learner,
    }
}
