//! What nodes say to each other on the peer port.
//!
//! What it promises: every request names the cluster, the sender and the receiver with the incarnations of their data
//! directories, so that no node acts on words that were meant for another life; variants are append-only, because the
//! sent form has no names. What it must not do: hold error types of the engine, which change between its releases.
//! Golden bytes are tested below.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::acknowledged::Acknowledgement;
use super::types::{LogId, NodeAddress, SnapshotMeta, TypeConfig, Vote};
use crate::codec::Format;
use crate::domain::{ChainHash, Revision, StateHash};

/// A request with its addresses.
pub(super) const REQUEST_FORMAT: Format = Format { magic: *b"SKpq", version: 1 };
/// An answer to one.
pub(super) const ANSWER_FORMAT: Format = Format { magic: *b"SKpa", version: 1 };

/// One side of a conversation. Node id 0 stands for a node that has none yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Endpoint {
    pub(super) node_id: u64,
    pub(super) incarnation: Uuid,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "node {} ({})", self.node_id, self.incarnation)
    }
}

/// Who speaks to whom, in which cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Addresses {
    pub(super) cluster_id: Uuid,
    pub(super) from: Endpoint,
    pub(super) to: Endpoint,
}

/// A request on its way. `B` is [`Request`] or a reference to one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Envelope<B> {
    pub(super) addresses: Addresses,
    pub(super) body: B,
}

/// What a node asks of another. Append only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Request {
    /// Entries; a connection that has carried some carries nothing else.
    Append(AppendEntriesRequest<TypeConfig>),
    /// A vote in an election.
    Vote(VoteRequest<TypeConfig>),
    /// Whether a vote would be given.
    PreVote(VoteRequest<TypeConfig>),
    /// The leader asks a follower to take over.
    TransferLeader(TransferLeaderRequest<TypeConfig>),
    /// A snapshot follows in pieces.
    SnapshotBegin(SnapshotBegin),
    /// The next piece of a snapshot.
    SnapshotPiece(Bytes),
    /// All pieces were sent.
    SnapshotEnd(SnapshotEnd),
    /// Who are you? Answered by anyone to anyone.
    Hello,
    /// Become a member of this cluster.
    Adopt(Adoption),
    /// How far are you, and with what state?
    Report,
    /// The receiver is no longer a member; its id is never used again.
    Removed,
    /// Is the leader still heard? Without entries, and answered before anything is written.
    Heartbeat(AppendEntriesRequest<TypeConfig>),
    /// What have you applied up to this revision? Costs nothing, where a report takes a hash of the whole state.
    Chain(Revision),
    /// What have I acknowledged to you as leader?
    Acknowledged,
}

/// The head of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SnapshotBegin {
    /// The leader's vote, which the receiver checks.
    pub(super) vote: Vote,
    /// What the snapshot holds.
    pub(super) meta: SnapshotMeta,
    /// Length of its body.
    pub(super) body_bytes: u64,
}

/// The end of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SnapshotEnd {
    /// CRC32C of the whole body.
    pub(super) body_checksum: u32,
}

/// The offer of a place in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Adoption {
    /// Which cluster.
    pub(super) cluster_id: Uuid,
    /// Under which id.
    pub(super) node_id: u64,
    /// Who is in it; when a cluster is founded, the receiver too.
    pub(super) members: BTreeMap<u64, NodeAddress>,
    /// Whether the cluster is being founded, rather than joined.
    pub(super) is_founding: bool,
}

/// What comes back. Append only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Reply {
    /// Of an append, in the order of the requests.
    Append(AppendReply),
    /// Of a vote or a pre-vote.
    Vote(VoteResponse<TypeConfig>),
    /// Of a request to take over.
    TransferLeader(TransferReply),
    /// Of a snapshot: the receiver's vote.
    Snapshot(Vote),
    /// Of a hello.
    Hello(HelloReply),
    /// Of an adoption or a notice.
    Done,
    /// Of a report.
    Report(PeerReport),
    /// The request was not looked at.
    Refused(Refusal),
    /// The receiver could not answer.
    Failed(String),
    /// Of a question for the chain; `None` if it is not remembered any more.
    Chain(Option<AppliedChain>),
    /// Of a question for what was acknowledged; `None` if nothing was.
    Acknowledged(Option<Acknowledgement>),
}

/// What came of an append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AppendReply {
    /// The log agrees up to here.
    Matched(Option<LogId>),
    /// The log does not have the entry before.
    Conflict(LogId),
    /// The receiver has seen a higher vote.
    HigherVote(Vote),
}

impl From<StreamAppendResult<TypeConfig>> for AppendReply {
    fn from(result: StreamAppendResult<TypeConfig>) -> Self {
        match result {
            Ok(matched) => Self::Matched(matched),
            Err(StreamAppendError::Conflict(log_id)) => Self::Conflict(log_id),
            Err(StreamAppendError::HigherVote(vote)) => Self::HigherVote(vote),
        }
    }
}

impl From<AppendReply> for StreamAppendResult<TypeConfig> {
    fn from(reply: AppendReply) -> Self {
        match reply {
            AppendReply::Matched(matched) => Ok(matched),
            AppendReply::Conflict(log_id) => Err(StreamAppendError::Conflict(log_id)),
            AppendReply::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote)),
        }
    }
}

/// What came of a request to take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TransferReply {
    /// The receiver stands for election.
    Accepted,
    /// The receiver has seen another vote.
    VoteChanged {
        /// The vote that asked.
        expected: Vote,
        /// The vote that stands.
        actual: Vote,
    },
    /// The receiver's log is behind.
    NotFlushed {
        /// The leader's last entry.
        expected: Option<LogId>,
        /// The receiver's last durable entry.
        actual: Option<LogId>,
    },
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HelloReply {
    /// Where it is reached, and which data directory it has.
    pub(super) address: NodeAddress,
    /// Whether it belongs to a cluster.
    pub(super) standing: PeerStanding,
}

/// Whether a node belongs to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PeerStanding {
    /// It has an empty data directory.
    Empty,
    /// It has an id in a cluster that is being founded or that it is joining.
    Adopted {
        /// Which cluster.
        cluster_id: Uuid,
        /// Its id.
        node_id: u64,
    },
    /// It has seen itself in the membership of a cluster.
    Member {
        /// Which cluster.
        cluster_id: Uuid,
        /// Its id.
        node_id: u64,
    },
}

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Index of the last entry that it has applied; 0 also for none.
    pub applied_index: u64,
    /// Index of the last entry of its log; 0 also for an empty log.
    pub last_log_index: u64,
    /// Revision of its state.
    pub revision: Revision,
    /// Hash of its state at this revision.
    pub state_hash: StateHash,
}

/// What a node has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedChain {
    /// The revision that was asked for, or the last one of a node that is not as far.
    pub revision: Revision,
    /// Hash of everything that was ever applied up to this revision.
    pub chain: ChainHash,
}

/// Why a node does not look at a request. Append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The receiver belongs to no cluster yet, or is starting.
    #[error("the node is not a running member of a cluster yet")]
    NotReady,
    /// The receiver belongs to another cluster.
    #[error("the node belongs to another cluster")]
    WrongCluster,
    /// The receiver has another id.
    #[error("another node answers at this address")]
    WrongNode,
    /// The receiver's data directory is another one.
    #[error("the node's data directory was replaced since it joined")]
    WrongIncarnation,
    /// The sender's data directory is not the one that joined under its id.
    #[error("the sender's data directory is not the one that joined under its id")]
    ReplacedSender,
    /// The sender is no longer a member.
    #[error("the sender was removed from the cluster")]
    RemovedSender,
    /// The receiver was told to found a cluster with other members.
    #[error("the node was started with another list of initial members")]
    OtherInitialCluster,
    /// Too many connections are open.
    #[error("the node has too many connections")]
    Busy,
    /// The snapshot arrived whole and holds no state, or another one than it says.
    #[error("the snapshot holds no state that the node can take")]
    UnsoundSnapshot,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use crate::consensus::types::log_id;

    fn golden(reply: Reply) -> Vec<u8> {
        codec::encode(&reply).unwrap()
    }

    #[test]
    fn the_layout_of_requests_does_not_change() {
        let endpoint = |node_id| Endpoint { node_id, incarnation: Uuid::nil() };
        let addresses = Addresses { cluster_id: Uuid::nil(), from: endpoint(1), to: endpoint(2) };
        let uuid = [&[16_u8][..], &[0; 16]].concat();
        let head = [uuid.clone(), vec![1], uuid.clone(), vec![2], uuid].concat();
        let bytes = |body| codec::encode(&Envelope { addresses, body }).unwrap();
        assert_eq!(bytes(Request::Hello), [head.clone(), vec![7]].concat());
        let vote = VoteRequest::new(Vote::new(5, 1), Some(log_id(4, 9)));
        assert_eq!(bytes(Request::PreVote(vote)), [head.clone(), vec![2, 5, 1, 1, 0, 1, 4, 9, 0]].concat());
        let append = AppendEntriesRequest {
            vote: Vote::new_committed(5, 1),
            prev_log_id: Some(log_id(4, 9)),
            entries: Vec::new(),
            leader_commit: None,
        };
        let fields = [5, 1, 1, 1, 1, 4, 9, 0, 0];
        let heartbeat = Request::Heartbeat(append.clone());
        assert_eq!(bytes(Request::Append(append)), [&head[..], &[0], &fields].concat());
        assert_eq!(bytes(heartbeat), [&head[..], &[11], &fields].concat());
        assert_eq!(bytes(Request::Chain(Revision(8))), [&head[..], &[12, 8]].concat());
        assert_eq!(bytes(Request::Acknowledged), [&head[..], &[13]].concat());
    }

    #[test]
    fn the_layout_of_replies_does_not_change() {
        assert_eq!(golden(Reply::Append(AppendReply::Matched(Some(log_id(4, 9))))), [0, 0, 1, 4, 9]);
        assert_eq!(golden(Reply::Append(AppendReply::Conflict(log_id(4, 9)))), [0, 1, 4, 9]);
        assert_eq!(golden(Reply::Append(AppendReply::HigherVote(Vote::new(5, 1)))), [0, 2, 5, 1, 1, 0]);
        assert_eq!(golden(Reply::TransferLeader(TransferReply::Accepted)), [2, 0]);
        assert_eq!(golden(Reply::Snapshot(Vote::new(5, 1))), [3, 5, 1, 1, 0]);
        assert_eq!(golden(Reply::Done), [5]);
        assert_eq!(golden(Reply::Refused(Refusal::Busy)), [7, 7]);
        assert_eq!(golden(Reply::Refused(Refusal::UnsoundSnapshot)), [7, 8]);
        let chain = AppliedChain { revision: Revision(3), chain: ChainHash([6; 32]) };
        assert_eq!(golden(Reply::Chain(Some(chain))), [&[9, 1, 3][..], &[6; 32]].concat());
        let acknowledged = Acknowledgement { term: 5, log_id: log_id(4, 9) };
        assert_eq!(golden(Reply::Acknowledged(Some(acknowledged))), [10, 1, 5, 4, 9]);
    }

    #[test]
    fn what_came_of_an_append_survives_the_way_back() {
        for reply in [
            AppendReply::Matched(None),
            AppendReply::Conflict(log_id(1, 2)),
            AppendReply::HigherVote(Vote::new(3, 4)),
        ] {
            assert_eq!(AppendReply::from(StreamAppendResult::<TypeConfig>::from(reply.clone())), reply);
        }
    }
}
