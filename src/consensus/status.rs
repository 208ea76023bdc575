//! What a node knows about itself and its cluster, without asking anyone.
//!
//! What it promises: one consistent picture, taken from the engine's figures; a node whose engine has stopped never
//! names itself the leader. What it must not do: be taken for a proof of leadership; only a read barrier is one.
//! Tested in `tests/consensus`.

use std::fmt;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::{Instant as _, WatchReceiver};
use serde::Serialize;
use tokio::sync::watch;
use uuid::Uuid;

use super::types::{LogId, Metrics, NodeAddress, Raft};

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its id, never used again for another node.
    pub node_id: u64,
    /// Where its API is reached.
    pub api_addr: String,
    /// Where its peer port is reached.
    pub peer_addr: String,
    /// The life of its data directory.
    pub incarnation: Uuid,
}

impl Member {
    pub(super) fn new(node_id: u64, address: &NodeAddress) -> Self {
        let NodeAddress { api_addr, peer_addr, incarnation } = address.clone();
        Self { node_id, api_addr, peer_addr, incarnation }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "node {} at {}", self.node_id, self.api_addr)
    }
}

/// What a node does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Role {
    /// It receives the log and has no vote.
    Learner,
    /// It follows a leader, or waits for one.
    Follower,
    /// It stands for election.
    Candidate,
    /// It leads, as far as it knows.
    Leader,
    /// Its engine has stopped; the process is about to end.
    Stopped,
}

/// Whether a member has a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum MemberRole {
    /// It has a vote.
    Voter,
    /// It only receives the log.
    Learner,
}

/// What a node knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// This node.
    pub node_id: u64,
    /// Its cluster.
    pub cluster_id: Uuid,
    /// What it does.
    pub role: Role,
    /// Who leads, if it knows.
    pub leader: Option<Member>,
    /// The term it is in.
    pub term: u64,
    /// Index of the last entry of its log; 0 also for an empty log.
    pub last_log_index: u64,
    /// Index of the last entry that it knows to be committed; 0 also for none.
    pub committed_index: u64,
    /// Index of the last entry that it has applied; 0 also for none.
    pub applied_index: u64,
    /// Index of the last entry in its newest snapshot.
    pub snapshot_index: Option<u64>,
    /// Index of the last entry that it has purged.
    pub purged_index: Option<u64>,
    /// All members, by id.
    pub members: Vec<(Member, MemberRole)>,
    /// On the leader: how long ago a quorum last answered it.
    pub quorum_contact_age: Option<Duration>,
}

impl Status {
    /// Whether this node leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// The ids of all voters, in order.
    pub fn voters(&self) -> impl Iterator<Item = u64> + '_ {
        self.members.iter().filter(|(_, role)| *role == MemberRole::Voter).map(|(member, _)| member.node_id)
    }
}

/// The picture that the engine's figures give.
pub(super) fn status_of(cluster_id: Uuid, metrics: &Metrics) -> Status {
    let role = match (&metrics.running_state, metrics.state) {
        (Err(_), _) | (_, ServerState::Shutdown) => Role::Stopped,
        (_, ServerState::Learner) => Role::Learner,
        (_, ServerState::Follower) => Role::Follower,
        (_, ServerState::Candidate) => Role::Candidate,
        (_, ServerState::Leader) => Role::Leader,
    };
    let membership = metrics.membership_config.membership();
    let leader = metrics.current_leader.filter(|leader| role != Role::Stopped || *leader != metrics.id);
    let leader = leader.and_then(|id| Some(Member::new(id, membership.get_node(&id)?)));
    let voters: Vec<u64> = membership.voter_ids().collect();
    let members = membership.nodes().map(|(id, address)| {
        let role = if voters.contains(id) { MemberRole::Voter } else { MemberRole::Learner };
        (Member::new(*id, address), role)
    });
    let index = |log_id: Option<LogId>| log_id.map(|log_id| log_id.index);
    Status {
        node_id: metrics.id,
        cluster_id,
        role,
        leader,
        term: metrics.current_term,
        last_log_index: metrics.last_log_index.unwrap_or_default(),
        committed_index: index(metrics.cluster_committed.or(metrics.local_committed)).unwrap_or_default(),
        applied_index: index(metrics.last_applied).unwrap_or_default(),
        snapshot_index: index(metrics.snapshot),
        purged_index: index(metrics.purged),
        members: members.collect(),
        quorum_contact_age: metrics.last_quorum_acked.map(|acked| acked.into_inner().elapsed()),
    }
}

/// Publishes the status whenever role, leader, term or membership change, and when the engine stops.
pub(super) async fn publish(raft: Raft, cluster_id: Uuid, status: watch::Sender<Status>) {
    let (mut server, mut all) = (raft.server_metrics(), raft.metrics());
    loop {
        let metrics: Metrics = all.borrow_watched().clone();
        let is_running = metrics.running_state.is_ok();
        let current = status_of(cluster_id, &metrics);
        status.send_if_modified(|published| {
            let is_new = summary(published) != summary(&current);
            *published = current;
            is_new
        });
        if !is_running {
            return;
        }
        // The figures of all kinds are published after those of the server, so both are waited for.
        let changed = tokio::select! {
            changed = server.changed() => changed.is_ok(),
            changed = all.changed() => changed.is_ok(),
        };
        if !changed {
            return;
        }
    }
}

fn summary(status: &Status) -> (Role, Option<u64>, u64, &[(Member, MemberRole)]) {
    (status.role, status.leader.as_ref().map(|leader| leader.node_id), status.term, &status.members)
}
