//! The outgoing side of the peer protocol: connections to other nodes, kept and shared, and single requests over them.
//!
//! What it promises: an election costs no new connections once a peer was reached; every request carries who speaks
//! to whom; a refusal comes back typed and is logged once per peer and kind. What it must not do: decide what a
//! refusal means for the cluster, except to remember that this node was told that it is no longer a member.
//! Tested through `tests/consensus`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use super::acknowledged::Acknowledged;
use super::connection::{Connection, ConnectionError, seal_request};
use super::messages::{Addresses, AppendReply, Endpoint, Refusal, Reply, Request};
use super::timing::Timing;
use super::transport::Transport;
use super::types::NodeAddress;

/// Idle connections that are kept per peer and purpose.
const IDLE_MAX: usize = 2;

/// What a connection is used for; each purpose has its own, so that none waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// Entries.
    Log,
    /// Heartbeats and read barriers.
    Heartbeat,
    /// Votes and single requests.
    Control,
    /// Snapshots.
    Snapshot,
}

/// Why a request to a peer was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum CallError {
    /// No connection could be opened.
    #[error("{address} can not be reached: {reason}")]
    Unreachable {
        /// Where it was tried.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The connection ended before the answer.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The answer did not come in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The peer did not look at the request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The peer could not answer.
    #[error("the peer could not answer: {0}")]
    Failed(String),
    /// The peer has lost what it had acknowledged.
    #[error("the peer has lost entries that it had acknowledged")]
    Outdated,
    /// The answer does not belong to the request.
    #[error("the peer answered something else")]
    Unexpected,
}

/// A peer, as the membership describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) node_id: u64,
    pub(super) address: NodeAddress,
}

/// The connections of this node to all others. Clones share them.
#[derive(Clone)]
pub(super) struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Arc<dyn Transport>,
    cluster_id: Uuid,
    me: Endpoint,
    timing: Timing,
    idle: Mutex<BTreeMap<(u64, Purpose), Vec<Connection>>>,
    logged_refusals: Mutex<BTreeSet<(u64, Refusal)>>,
    removed: watch::Sender<bool>,
    acknowledged: Arc<Acknowledged>,
    logged_outdated: Mutex<BTreeSet<u64>>,
}

impl Peers {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        (cluster_id, me): (Uuid, Endpoint),
        timing: Timing,
        acknowledged: Arc<Acknowledged>,
    ) -> Self {
        let shared = Shared {
            transport,
            cluster_id,
            me,
            timing,
            idle: Mutex::default(),
            logged_refusals: Mutex::default(),
            removed: watch::Sender::new(false),
            acknowledged,
            logged_outdated: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Becomes true when a peer has said that this node is no longer a member.
    pub(super) fn removed(&self) -> watch::Receiver<bool> {
        self.shared.removed.subscribe()
    }

    pub(super) fn node_id(&self) -> u64 {
        self.shared.me.node_id
    }

    pub(super) fn timing(&self) -> &Timing {
        &self.shared.timing
    }

    pub(super) fn addresses_to(&self, target: &Target) -> Addresses {
        let to = Endpoint { node_id: target.node_id, incarnation: target.address.incarnation };
        Addresses { cluster_id: self.shared.cluster_id, from: self.shared.me, to }
    }

    /// A kept connection, or a new one. Says which.
    pub(super) async fn connection(
        &self,
        target: &Target,
        purpose: Purpose,
    ) -> Result<(Connection, bool), CallError> {
        while let Some(mut connection) = self.take_idle(target, purpose) {
            if connection.is_usable() {
                return Ok((connection, true));
            }
        }
        let opened =
            connect(&self.shared.transport, &target.address.peer_addr, self.timing().connect_timeout());
        Ok((opened.await?, false))
    }

    /// Keeps a connection on which nothing is under way, for the next use.
    pub(super) fn keep(&self, target: &Target, purpose: Purpose, connection: Connection) {
        let mut idle = self.idle();
        let kept = idle.entry((target.node_id, purpose)).or_default();
        if kept.len() < IDLE_MAX {
            kept.push(connection);
        }
    }

    /// Closes the connections that are kept for a peer.
    pub(super) fn forget(&self, node_id: u64) {
        self.idle().retain(|(kept_for, _), _| *kept_for != node_id);
    }

    /// Sends one request and waits for its answer. A kept connection that turns out to be dead is replaced once.
    pub(super) async fn call(
        &self,
        target: &Target,
        request: &Request,
        within: Duration,
    ) -> Result<Reply, CallError> {
        let answered = timeout(within, self.exchange(target, request)).await;
        let reply = answered.unwrap_or(Err(CallError::Timeout(within)))?;
        self.checked(target, reply)
    }

    async fn exchange(&self, target: &Target, request: &Request) -> Result<Reply, CallError> {
        let message = seal_request(self.addresses_to(target), request);
        loop {
            let (mut connection, was_kept) = self.connection(target, Purpose::Control).await?;
            match ask(&mut connection, message.clone()).await {
                Ok(reply) => {
                    if !matches!(reply, Reply::Refused(_)) {
                        self.keep(target, Purpose::Control, connection);
                    }
                    return Ok(reply);
                }
                Err(_) if was_kept => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Turns a refusal or a failure into an error, and takes notice of it.
    pub(super) fn checked(&self, target: &Target, reply: Reply) -> Result<Reply, CallError> {
        match reply {
            Reply::Refused(refusal) => {
                self.note_refusal(target, refusal);
                Err(CallError::Refused(refusal))
            }
            Reply::Failed(reason) => Err(CallError::Failed(reason)),
            reply => Ok(reply),
        }
    }

    /// Takes notice of an answer to the leader of `term`; an answer that can not be is an error.
    pub(super) fn acknowledged(
        &self,
        target: &Target,
        term: u64,
        answer: &AppendReply,
    ) -> Result<(), CallError> {
        if self.shared.acknowledged.agrees_with(target.node_id, term, answer) {
            return Ok(());
        }
        let mut logged = self.shared.logged_outdated.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.insert(target.node_id) {
            tracing::error!(
                peer = target.node_id,
                address = %target.address,
                "a member has lost entries that it had acknowledged: an older copy of its data directory was brought back. It gets \
                 nothing more from this node; replace it"
            );
        }
        Err(CallError::Outdated)
    }

    fn note_refusal(&self, target: &Target, refusal: Refusal) {
        if refusal == Refusal::RemovedSender {
            self.shared.removed.send_replace(true);
        }
        let mut logged = self.shared.logged_refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.insert((target.node_id, refusal)) {
            tracing::warn!(peer = target.node_id, address = %target.address, %refusal, "a peer refuses this node");
        }
    }

    fn take_idle(&self, target: &Target, purpose: Purpose) -> Option<Connection> {
        self.idle().get_mut(&(target.node_id, purpose))?.pop()
    }

    fn idle(&self) -> MutexGuard<'_, BTreeMap<(u64, Purpose), Vec<Connection>>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(connection: &mut Connection, message: bytes::Bytes) -> Result<Reply, ConnectionError> {
    connection.send(message).await?;
    connection.next_reply().await
}

async fn connect(
    transport: &Arc<dyn Transport>,
    address: &str,
    within: Duration,
) -> Result<Connection, CallError> {
    let unreachable = |reason: String| CallError::Unreachable { address: address.to_owned(), reason };
    match timeout(within, transport.connect(address)).await {
        Ok(Ok(stream)) => Ok(Connection::new(stream)),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable(format!("no connection within {within:?}"))),
    }
}

/// Asks a node that is known by its address only, over a connection of its own.
pub(super) async fn ask_address(
    transport: &Arc<dyn Transport>,
    address: &str,
    (addresses, request): (Addresses, &Request),
    within: Duration,
) -> Result<Reply, CallError> {
    let conversation = async {
        let mut connection = connect(transport, address, within).await?;
        Ok(ask(&mut connection, seal_request(addresses, request)).await?)
    };
    match timeout(within, conversation).await.unwrap_or(Err(CallError::Timeout(within)))? {
        Reply::Refused(refusal) => Err(CallError::Refused(refusal)),
        Reply::Failed(reason) => Err(CallError::Failed(reason)),
        reply => Ok(reply),
    }
}
