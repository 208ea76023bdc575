//! The log as the leader sees it: one small trait between the round loop and consensus.
//!
//! What it promises: the round loop, the leases and the expiry know the log only through [`Log`], so that they run
//! against an in-memory log in tests and in a simulation. What it must not do: know terms beyond telling two
//! stretches of leadership apart, or name the Raft library.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::domain::{Applied, ClusterId};

/// The node that leads and where its API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderAddress {
    /// The node.
    pub node_id: u64,
    /// `HOST:PORT` of its API.
    pub api_addr: String,
}

/// Why a payload was not committed and applied, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// It was not taken into the log and never will be; with the reason for the log.
    #[error("not taken: {0}")]
    NotTaken(String),
    /// It may be in the log and may still be committed; with the reason for the log.
    #[error("not known: {0}")]
    Unknown(String),
}

/// This node could not prove that it leads; with the reason for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BarrierFailed(pub String);

/// Who leads, as this node knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term that this node leads in; `None` if it does not lead. Two stretches of leadership never share a term.
    pub term: Option<u64>,
    /// Who leads, this node included; `None` if nobody is known to.
    pub leader: Option<LeaderAddress>,
}

/// Who this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node_id: u64,
}

/// The gate to the replicated log.
pub trait Log: Send + Sync + 'static {
    /// Puts `payload` into the log. The order of the calls is the order in the log, whenever the futures are
    /// polled; each resolves after the payload is committed and applied on this node.
    fn propose(&self, payload: Bytes) -> BoxFuture<'static, Result<Arc<Applied>, ProposalError>>;

    /// Resolves to `Ok` if this node led at a moment after the call, with everything applied that was acknowledged
    /// before that moment.
    fn read_barrier(&self) -> BoxFuture<'static, Result<(), BarrierFailed>>;

    /// Follows who leads.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// Who this node is; `None` until it belongs to a cluster.
    fn identity(&self) -> Option<NodeIdentity>;
}
