//! `/v1/cluster`: the replicas, who leads, how far each is.

use std::collections::BTreeMap;

use axum::extract::State;

use super::App;
use super::answer::Answer;
use super::extract::QueryParameters;
use super::refusal::Refusal;
use crate::api::cluster::{Cluster, Member, MemberRole, MemberState, StateHash};
use crate::consensus::{self, PeerReport, Role, Status};

/// The members and how far each is. Asks every member, so it takes as long as the slowest, up to a bound.
#[utoipa::path(get, path = "/v1/cluster", tag = "Cluster", responses((status = 200, body = Cluster)))]
pub(super) async fn get_cluster(
    State(app): State<App>,
    query: QueryParameters,
) -> Result<Answer<Cluster>, Refusal> {
    query.finish()?;
    let reports = app.services.cluster.peer_reports().await;
    let reports: BTreeMap<u64, PeerReport> =
        reports.into_iter().filter_map(|(member, report)| Some((member.node_id, report?))).collect();
    let status = app.services.cluster.status();
    let mut members: Vec<_> =
        status.members.iter().map(|(member, role)| shown(&status, &reports, member, *role)).collect();
    members.sort_by_key(|member| member.node_id);
    let body = Cluster {
        cluster_id: status.cluster_id,
        leader_id: status.leader.as_ref().map(|leader| leader.node_id),
        term: status.term,
        members,
    };
    Ok(Answer::read(app.services.replica.revision(), body))
}

fn shown(
    status: &Status,
    reports: &BTreeMap<u64, PeerReport>,
    member: &consensus::Member,
    role: consensus::MemberRole,
) -> Member {
    let report = reports.get(&member.node_id);
    let leader_last = status
        .leader
        .as_ref()
        .and_then(|leader| reports.get(&leader.node_id))
        .map_or(status.last_log_index, |report| report.last_log_index);
    Member {
        node_id: member.node_id,
        api_addr: member.api_addr.clone(),
        peer_addr: member.peer_addr.clone(),
        role: member_role(role),
        state: member_state(status, member.node_id, role, report.is_some()),
        applied_index: report.map(|report| report.applied_index),
        last_log_index: report.map(|report| report.last_log_index),
        lag: report.map(|report| leader_last.saturating_sub(report.applied_index)),
        state_hash: report
            .map(|report| StateHash { hash: report.state_hash.to_string(), revision: report.revision }),
    }
}

pub(super) fn member_role(role: consensus::MemberRole) -> MemberRole {
    match role {
        consensus::MemberRole::Voter => MemberRole::Voter,
        consensus::MemberRole::Learner => MemberRole::Learner,
    }
}

fn member_state(status: &Status, node_id: u64, role: consensus::MemberRole, answered: bool) -> MemberState {
    if status.leader.as_ref().is_some_and(|leader| leader.node_id == node_id) && answered {
        return MemberState::Leader;
    }
    match role {
        _ if node_id == status.node_id && status.role == Role::Candidate => MemberState::Candidate,
        _ if !answered => MemberState::Unreachable,
        consensus::MemberRole::Learner => MemberState::Learner,
        consensus::MemberRole::Voter => MemberState::Follower,
    }
}
