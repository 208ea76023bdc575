//! What a node knows about itself and its cluster, without asking anyone.
//!
//! What it promises: one consistent picture, taken from the engine's figures; a node whose engine has stopped never
//! names itself the leader. What it must not do: be taken for a proof of leadership; only a read barrier is one.
//! Tested in `tests/consensus`.

use std::fmt;
use std::sync::Arc;
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
    /// Index of the last entry that it knows to be committed, which is never before the last that it has applied; 0 also
    /// for none. A new leader first has to learn what the one before had committed.
    pub committed_index: u64,
    /// Index of the last entry that it has applied; 0 also for none.
    pub applied_index: u64,
    /// Index of the last entry in its newest snapshot.
    pub snapshot_index: Option<u64>,
    /// Index of the last entry that it has purged.
    pub purged_index: Option<u64>,
    /// All members, by id.
    pub members: Vec<(Member, MemberRole)>,
    /// Whether a change of the voters has begun and is not finished.
    pub is_changing_voters: bool,
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
    // A new leader may not know yet what the one before had committed, and a follower then repeats that.
    let committed = metrics.cluster_committed.or(metrics.local_committed).max(metrics.last_applied);
    Status {
        node_id: metrics.id,
        cluster_id,
        role,
        leader,
        term: metrics.current_term,
        last_log_index: metrics.last_log_index.unwrap_or_default(),
        committed_index: index(committed).unwrap_or_default(),
        applied_index: index(metrics.last_applied).unwrap_or_default(),
        snapshot_index: index(metrics.snapshot),
        purged_index: index(metrics.purged),
        members: members.collect(),
        is_changing_voters: membership.get_joint_config().len() > 1,
        quorum_contact_age: metrics.last_quorum_acked.map(|acked| acked.into_inner().elapsed()),
    }
}

/// Publishes the status whenever role, leader, term or membership change, and when the engine stops.
pub(super) async fn publish(raft: Raft, cluster_id: Uuid, status: watch::Sender<Status>) {
    let (mut server, all) = (raft.server_metrics(), raft.metrics());
    loop {
        let mut metrics: Metrics = all.borrow_watched().clone();
        {
            // The other figures may be those of a moment before; these are the ones that have changed.
            let server = server.borrow_watched();
            metrics.state = server.state;
            metrics.current_leader = server.current_leader;
            metrics.current_term = server.vote.leader_id.term;
            metrics.membership_config = Arc::clone(&server.membership_config);
        }
        let is_running = metrics.running_state.is_ok();
        status.send_replace(status_of(cluster_id, &metrics));
        if !is_running {
            return;
        }
        if server.changed().await.is_err() {
            // The engine has ended, in order or not.
            status.send_modify(|status| status.role = Role::Stopped);
            return;
        }
    }
}
