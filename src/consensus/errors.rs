//! What can come of a call to consensus, other than what was asked for.
//!
//! What it promises: an error says whether anything may have happened. What it must not do: name types of the engine.

use thiserror::Error;

use super::messages::Refusal;
use super::status::Member;
use super::timing::TimingError;
use crate::storage::StorageError;

/// Why a proposal has no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// This node does not lead. Nothing was proposed.
    #[error("this node does not lead; nothing was proposed")]
    NotLeader {
        /// Who leads, if it is known.
        leader: Option<Member>,
    },
    /// This node leads but a quorum has not answered it recently, or too much is under way. Nothing was proposed.
    #[error("a quorum of the nodes does not answer; nothing was proposed")]
    NoQuorum,
    /// The record is larger than what is sent in one piece. Nothing was proposed.
    #[error("a record of {bytes} bytes is more than the {limit_bytes} bytes that are sent in one piece")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// The record was proposed and may or may not take effect.
    #[error("the outcome is not known; it may still take effect")]
    Unknown,
    /// This node is stopping. Nothing was proposed.
    #[error("the node is stopping; nothing was proposed")]
    Stopped,
}

/// Why leadership was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BarrierError {
    /// This node does not lead.
    #[error("this node does not lead")]
    NotLeader {
        /// Who leads, if it is known.
        leader: Option<Member>,
    },
    /// This node may lead but a quorum did not confirm it in time.
    #[error("a quorum of the nodes did not answer in time")]
    NoQuorum,
    /// This node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// Why a change of the membership or of the leader was not made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MembershipError {
    /// Only the leader changes the membership. Nothing was changed.
    #[error("this node does not lead")]
    NotLeader {
        /// Who leads, if it is known.
        leader: Option<Member>,
    },
    /// This node leads but a quorum has not answered it recently. Nothing was changed.
    #[error("a quorum of the nodes does not answer; nothing was changed")]
    NoQuorum,
    /// No member has this id.
    #[error("no member has the id {0}")]
    UnknownMember(u64),
    /// The cluster as it is does not allow it. Nothing was changed.
    #[error(transparent)]
    Conflict(#[from] MembershipConflict),
    /// A quorum did not confirm the change in time, or the leader changed meanwhile: it may or may not take effect.
    #[error("the outcome is not known; look at the members before trying again")]
    Unknown,
    /// This node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// What stands against a change of the membership or of the leader.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MembershipConflict {
    /// Another change is under way.
    #[error("another change of the membership is under way; try again when it is done")]
    InProgress,
    /// Nobody would be left to vote.
    #[error("member {0} is the last voter; a cluster is never without one")]
    LastVoter(u64),
    /// The member has too much of the log to receive before it may vote.
    #[error("member {node_id} is {entries_behind} entries behind; promote it when it has caught up")]
    NotCaughtUp {
        /// Which.
        node_id: u64,
        /// By how much.
        entries_behind: u64,
    },
    /// The voters that answer would be no quorum of the voters that are left.
    #[error(
        "of the {voters_after} voters that would be left only {live_after} answer and {quorum_after} are needed; \
         bring the others back first"
    )]
    WouldLoseQuorum {
        /// Voters after the change.
        voters_after: usize,
        /// Those of them that answer.
        live_after: usize,
        /// Those needed.
        quorum_after: usize,
    },
    /// The new node can not be reached or can not become a member.
    #[error("the node at {address} can not be added: {reason}")]
    NewNode {
        /// Its peer address.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// No one else can take over.
    #[error("no other voter can take over: {0}")]
    NoSuccessor(String),
    /// No id could be minted for the new node.
    #[error("no id could be given to the new node: {0}")]
    Mint(String),
}

/// Why a node could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The timing makes no sense.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// The data directory can not be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The list of initial members can not be used.
    #[error("the list of initial members can not be used: {0}")]
    InitialCluster(String),
    /// The directory is of a member that is known elsewhere: it was copied, or its server has moved.
    #[error(
        "the data directory is that of node {node_id}, which its cluster knows at {known}: start it with that address. A copied \
         directory is no new node; a member that moves is replaced (--join and --replace {node_id}, with an empty directory)"
    )]
    OtherAddress {
        /// Which member.
        node_id: u64,
        /// Its peer address.
        known: String,
    },
    /// The directory is older than what its node has acknowledged.
    #[error(
        "the data directory of node {node_id} was found to be older than what the node had acknowledged, and takes no part any \
         more; replace the node (--join and --replace {node_id}, with an empty directory)"
    )]
    Outdated {
        /// Which member.
        node_id: u64,
    },
    /// There is no data, and nothing that says how to get it.
    #[error(
        "the data directory is empty; start with --initial-cluster to found a cluster or with --join to join one"
    )]
    NothingToStart,
    /// A listed peer is already a member of a cluster.
    #[error(
        "{peer} already belongs to cluster {cluster_id}: this node's empty directory can not come back under an \
         old id; remove the old member and start this node with --join"
    )]
    ClusterExists {
        /// The peer that said so.
        peer: String,
        /// Its cluster.
        cluster_id: uuid::Uuid,
    },
    /// A peer does not take part in founding the cluster.
    #[error("{peer} does not take part in founding the cluster: {refusal}")]
    PeerRefuses {
        /// Which.
        peer: String,
        /// Why.
        refusal: Refusal,
    },
    /// The engine did not start.
    #[error("the consensus engine did not start: {0}")]
    Engine(String),
}

/// Why a node stopped taking part. The process must end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StopReason {
    /// It was asked to.
    #[error("the node was asked to stop")]
    Shutdown,
    /// Its disk failed.
    #[error("storage failed: {0}")]
    Storage(StorageError),
    /// The engine failed.
    #[error("the consensus engine failed: {0}")]
    Engine(String),
    /// It is no longer a member; its data directory has no further use.
    #[error(
        "the node was removed from the cluster; move its data directory away and join again under a new id"
    )]
    Removed,
    /// Its data directory is older than what it has acknowledged: somebody has brought back an old copy.
    #[error(
        "the log ends at {last_index}, but this node had acknowledged entries up to {acknowledged_index}: its data directory is an \
         older copy. Replace the node (--join and --replace, with an empty directory)"
    )]
    Outdated {
        /// The last entry of the log; 0 also for none.
        last_index: u64,
        /// The last entry that the leader has an acknowledgement for.
        acknowledged_index: u64,
    },
    /// Its peer port failed.
    #[error("the peer port failed: {0}")]
    PeerPort(String),
}
