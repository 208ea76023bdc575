//! The concrete types under which the Raft engine runs here, named once.
//!
//! What it promises: one leader per term (the standard leader id, which must never change on existing data), opaque
//! entries that are encoded once by the proposer and shared afterwards, answers that share what the replica applied.
//! What it must not do: hold behaviour. Stored and sent layouts of these types are pinned by golden bytes in
//! `entry_bytes.rs`, `snapshot_meta.rs` and `messages.rs`.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use openraft::RaftTypeConfig;
use openraft::impls::{InlineBatch, OneshotResponder, leader_id_std};
use openraft::type_config::alias;
use openraft::vote::RaftLeaderId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::Applied;

use super::state_machine::StateMachine;

/// The choice of types for the engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

impl RaftTypeConfig for TypeConfig {
    type D = Payload;
    type R = Answer;
    type NodeId = u64;
    type Node = NodeAddress;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Payload, u64, NodeAddress>;
    type Entry = openraft::Entry<<Self::LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    // The engine marks its own name of the runtime as deprecated in favour of one more crate that would have to be
    // pinned beside it.
    #[allow(deprecated)]
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = OneshotResponder<Self, T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::AnyError;
}

/// The engine over our state machine.
pub(super) type Raft = openraft::Raft<TypeConfig, StateMachine>;
pub(super) type Vote = alias::VoteOf<TypeConfig>;
pub(super) type Entry = alias::EntryOf<TypeConfig>;
pub(super) type EntryPayload = alias::PayloadOf<TypeConfig>;
pub(super) type LogId = alias::LogIdOf<TypeConfig>;
pub(super) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(super) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(super) type Snapshot = alias::SmSnapshotOf<TypeConfig, StateMachine>;
pub(super) type Metrics = openraft::RaftMetrics<TypeConfig>;

/// The log id of an entry of `term` at `index`.
pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: leader_id_std::LeaderId::new(term, 0).to_committed(), index }
}

/// Where a member is reached, and which data directory it has: what the log says about a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Where clients and other nodes reach its API, as `host:port`.
    pub api_addr: String,
    /// Where other nodes reach its peer port, as `host:port`.
    pub peer_addr: String,
    /// The life of its data directory: a wiped or copied directory has another one.
    pub incarnation: Uuid,
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (API {})", self.peer_addr, self.api_addr)
    }
}

/// A sealed record; the engine neither reads nor copies it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(pub Bytes);

impl fmt::Display for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes", self.0.len())
    }
}

/// What applying an entry gave: nothing for the entries that the engine writes for itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Answer(pub Option<Arc<Applied>>);
