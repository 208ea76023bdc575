//! What the HTTP server needs of the cluster: who leads, a read barrier, the members.
//!
//! What it promises: the server runs against any implementation, so that its tests need no Raft; an error says whether
//! anything can have happened. What it must not do: propose; writes go through the leader's rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::{ClusterId, Revision, StateHash};
use crate::leader::{LeaderAddress, Leadership};

/// How long ago a leader may have been heard, or a leader its quorum, and still count as there: above any gap between two
/// heartbeats, below the two seconds in which `/readyz` must say no.
pub const CONTACT_AGE_MAX: Duration = Duration::from_millis(1_500);

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterMember {
    /// Its id.
    pub node_id: u64,
    /// Where its API is, as `HOST:PORT`.
    pub api_addr: String,
    /// Where it speaks Raft, as `HOST:PORT`.
    pub peer_addr: String,
    /// Whether it has a vote.
    pub is_voter: bool,
}

/// The cluster as this node sees it, without asking anyone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterPicture {
    /// Which cluster; `None` before this node belongs to one.
    pub cluster_id: Option<ClusterId>,
    /// The term.
    pub term: u64,
    /// Who leads in that term, if this node knows and has heard of it within [`CONTACT_AGE_MAX`]; read together with the
    /// term, so that the two belong together.
    pub leader_id: Option<u64>,
    /// Whether this node stands for election.
    pub is_candidate: bool,
    /// All members.
    pub members: Vec<ClusterMember>,
}

/// Figures of this node's engine and log, for its metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterFigures {
    /// Index of the last log entry.
    pub last_log_index: u64,
    /// Index of the last entry that is known to be committed.
    pub committed_index: u64,
    /// Index of the last applied entry.
    pub applied_index: u64,
    /// Index of the last entry in the newest snapshot.
    pub snapshot_index: u64,
    /// Writes of the log that were made durable.
    pub log_syncs: u64,
    /// Bytes of these.
    pub log_written_bytes: u64,
    /// Time of these together.
    pub log_sync_time: Duration,
    /// Time of the longest of these.
    pub log_longest_sync: Duration,
    /// Memory of the part of the log that is held in memory.
    pub log_mirror_bytes: u64,
    /// Requests that wait for the writer of the log.
    pub log_queue_length: u64,
}

/// How far a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberReport {
    /// Index of the last entry that it has applied.
    pub applied_index: u64,
    /// Index of the last entry of its log.
    pub last_log_index: u64,
    /// The revision of its state.
    pub revision: Revision,
    /// The hash of its state at that revision.
    pub state_hash: StateHash,
}

/// Why this node could not prove that it leads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BarrierFailure {
    /// It does not lead.
    #[error("this node does not lead")]
    NotLeader,
    /// It does not reach a quorum, or not in time.
    #[error("the leader does not reach a quorum")]
    NoQuorum,
    /// It is stopping.
    #[error("this node is stopping")]
    Stopped,
}

/// Why the membership or the leader was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipFailure {
    /// This node does not lead. Nothing was changed.
    #[error("this node does not lead")]
    NotLeader {
        /// Who leads, if it is known.
        leader: Option<LeaderAddress>,
    },
    /// No member has this id.
    #[error("no member has the id {0}")]
    UnknownMember(u64),
    /// The change would be unsafe, or is in the way of another one. With the reason.
    #[error("{0}")]
    Conflict(String),
    /// It may or may not take effect.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
    /// This node is stopping. Nothing was changed.
    #[error("this node is stopping")]
    Stopped,
}

/// The cluster, as this node sees it and can change it.
#[async_trait]
pub trait ClusterView: Send + Sync + 'static {
    /// This node; 0 before it has an id.
    fn node_id(&self) -> u64;

    /// Follows who leads.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// Whether the node that `leadership` names was heard within [`CONTACT_AGE_MAX`], or, if it is this node, its quorum
    /// was. Cheap: asked for every answer.
    fn hears_leader(&self) -> bool;

    /// What this node knows now.
    fn picture(&self) -> ClusterPicture;

    /// Figures for the metrics; all zero where nobody knows them.
    fn figures(&self) -> ClusterFigures {
        ClusterFigures::default()
    }

    /// Waits until this node has applied again what it had applied before it was started; the caller brings the deadline.
    ///
    /// # Errors
    /// `Stopped` if the node stops meanwhile.
    async fn recovered(&self) -> Result<(), BarrierFailure>;

    /// Proves that this node led at a moment after the call, with everything applied that was acknowledged before.
    ///
    /// # Errors
    /// See [`BarrierFailure`].
    async fn read_barrier(&self) -> Result<(), BarrierFailure>;

    /// Asks every member how far it is, for a bounded time; who does not answer is left out.
    async fn reports(&self) -> BTreeMap<u64, MemberReport>;

    /// Adds a learner.
    ///
    /// # Errors
    /// See [`MembershipFailure`].
    async fn add_member(&self, api_addr: &str, peer_addr: &str) -> Result<ClusterMember, MembershipFailure>;

    /// Makes a learner a voter.
    ///
    /// # Errors
    /// See [`MembershipFailure`].
    async fn promote(&self, node_id: u64) -> Result<ClusterMember, MembershipFailure>;

    /// Removes a member and gives who it was.
    ///
    /// # Errors
    /// See [`MembershipFailure`].
    async fn remove(&self, node_id: u64) -> Result<ClusterMember, MembershipFailure>;

    /// Hands leadership over, to any voter if `to` is `None`, and gives the new leader.
    ///
    /// # Errors
    /// See [`MembershipFailure`].
    async fn transfer_leadership(&self, to: Option<u64>) -> Result<LeaderAddress, MembershipFailure>;
}
