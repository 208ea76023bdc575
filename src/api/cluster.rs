//! The replicas: who they are, who leads, how far they are.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::{ClusterId, Revision};

/// Whether a member votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// It counts for the quorum.
    Voter,
    /// It receives the log and does not count.
    Learner,
}

/// What a member is doing, as far as the answering node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It leads.
    Leader,
    /// It follows.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It learns.
    Learner,
    /// It did not answer in time.
    Unreachable,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Its id, never used again.
    pub node_id: u64,
    /// Where its API is.
    pub api_addr: String,
    /// Where it speaks Raft.
    pub peer_addr: String,
    /// Whether it votes.
    pub role: MemberRole,
    /// What it is doing.
    pub state: MemberState,
    /// The last log entry that it has applied; null if it did not answer.
    pub applied_index: Option<u64>,
    /// Its last log entry; null if it did not answer.
    pub last_log_index: Option<u64>,
    /// Log entries that it is behind the leader's last one; null if it did not answer.
    pub lag: Option<u64>,
    /// The hash of its state, with the revision that it belongs to; null if it did not answer.
    pub state_hash: Option<StateHash>,
}

/// A hash of the whole state; equal on two replicas at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateHash {
    /// The hash in hexadecimal.
    pub hash: String,
    /// The revision that it belongs to.
    #[schema(value_type = u64)]
    pub revision: Revision,
}

/// The cluster as the answering node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    /// Which cluster; null before the first leader.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub cluster_id: Option<ClusterId>,
    /// Who leads, if that is known.
    pub leader_id: Option<u64>,
    /// The term.
    pub term: u64,
    /// All members, by node id.
    pub members: Vec<Member>,
}

/// A node that is to join as a learner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"api_addr": "10.0.0.4:7400", "peer_addr": "10.0.0.4:7401"}))]
pub struct AddMember {
    /// Where its API is.
    pub api_addr: String,
    /// Where it speaks Raft.
    pub peer_addr: String,
}

/// A member after a change of the membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberChanged {
    /// Its id.
    pub node_id: u64,
    /// Where its API is.
    pub api_addr: String,
    /// Where it speaks Raft.
    pub peer_addr: String,
    /// Whether it votes; null if it is no member any more.
    pub role: Option<MemberRole>,
}

/// Hands leadership over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"to": 2}))]
pub struct TransferLeadership {
    /// To which voter; missing is the one that is furthest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// Leadership is handed over, and the new leader serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeadershipTransferred {
    /// The new leader.
    pub leader_id: u64,
    /// Where its API is.
    pub api_addr: String,
}

/// Whether a node is fit to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// Whether it is.
    pub ready: bool,
    /// Why not; empty if it is.
    pub reasons: Vec<String>,
    /// The answering node.
    pub node_id: u64,
    /// Who leads, if that is known.
    pub leader_id: Option<u64>,
    /// The applied revision.
    #[schema(value_type = u64)]
    pub revision: Revision,
}
