//! The incoming side of the peer protocol: who may speak, and who answers.
//!
//! What it promises: nothing of another cluster, another node or another life of a data directory reaches the engine;
//! hello and adopt are answered before the node belongs to a cluster; connections are bounded, and each first message
//! has a deadline. What it must not do: trust what a message says beyond what the membership confirms.
//! Tested in `tests/consensus`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::acknowledged::Acknowledged;
use super::append_receiver;
use super::connection::{Connection, ConnectionError, seal_reply};
use super::contacts::Contacts;
use super::heartbeat_receiver::{self, Unanswered};
use super::local_node::LocalNode;
use super::messages::{
    Addresses, AppliedChain, Envelope, PeerReport, Refusal, Reply, Request, TransferReply,
};
use super::received::Received;
use super::snapshot_receiver;
use super::transport::{BoxedStream, PeerListener};
use super::types::{LogId, Raft};
use crate::background;
use crate::replica::Replica;

/// Connections that may be open.
const CONNECTIONS_MAX: usize = 512;
/// A connection whose first message does not come is closed.
const FIRST_MESSAGE_WITHIN: Duration = Duration::from_secs(10);

/// What answers on the peer port.
pub(super) struct Server {
    local: Arc<LocalNode>,
    replica: Replica,
    raft: OnceLock<Raft>,
    contacts: Contacts,
    received: Received,
    logged_refusals: Mutex<BTreeSet<(u64, Refusal)>>,
    removed: watch::Sender<bool>,
    suspicions: watch::Sender<Option<u64>>,
    acknowledged: Arc<Acknowledged>,
    /// One snapshot at a time.
    pub(super) snapshot_slot: Semaphore,
}

impl Server {
    pub(super) fn new(local: Arc<LocalNode>, replica: Replica, acknowledged: Arc<Acknowledged>) -> Arc<Self> {
        Arc::new(Self {
            local,
            replica,
            raft: OnceLock::new(),
            contacts: Contacts::default(),
            received: Received::default(),
            logged_refusals: Mutex::default(),
            removed: watch::Sender::new(false),
            suspicions: watch::Sender::new(None),
            acknowledged,
            snapshot_slot: Semaphore::new(1),
        })
    }

    /// From now on the engine answers.
    pub(super) fn attach(&self, raft: Raft) {
        assert!(self.raft.set(raft).is_ok(), "a server serves one engine");
    }

    pub(super) fn contacts(&self) -> &Contacts {
        &self.contacts
    }

    pub(super) fn received(&self) -> &Received {
        &self.received
    }

    pub(super) fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The refusals that were given, one per sender and kind.
    pub(super) fn refusals(&self) -> Vec<(u64, Refusal)> {
        self.logged_refusals.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Becomes true when the leader has said that this node is no longer a member.
    pub(super) fn removed(&self) -> watch::Receiver<bool> {
        self.removed.subscribe()
    }

    /// Changes whenever a heartbeat names an entry that is not in the log; says who has sent it.
    pub(super) fn suspicions(&self) -> watch::Receiver<Option<u64>> {
        self.suspicions.subscribe()
    }

    /// Accepts connections until the listener fails, which ends the node. Dropping the future closes them all.
    pub(super) async fn run(self: Arc<Self>, mut listener: Box<dyn PeerListener>) -> std::io::Error {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, remote)) => {
                        let has_room = connections.len() < CONNECTIONS_MAX;
                        connections.spawn(Arc::clone(&self).serve(stream, remote, has_room));
                    }
                    Err(error) if is_about_one_connection(&error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => return error,
                },
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: BoxedStream, remote: String, has_room: bool) {
        let mut connection = Connection::new(stream);
        let ended = if has_room {
            self.converse(connection).await
        } else {
            connection.send(seal_reply(&Reply::Refused(Refusal::Busy))).await
        };
        if let Err(error) = ended {
            tracing::debug!(%remote, %error, "a peer connection ended");
        }
    }

    /// Answers single requests, one after the other, until the connection becomes a stream or ends.
    async fn converse(self: Arc<Self>, mut connection: Connection) -> Result<(), ConnectionError> {
        let mut is_first = true;
        // A leader is heard for as long as its heartbeats have a connection.
        let mut contact = None;
        loop {
            let next = if is_first {
                timeout(FIRST_MESSAGE_WITHIN, connection.next_request()).await.unwrap_or(Ok(None))
            } else {
                connection.next_request().await
            };
            is_first = false;
            let Some(Envelope { addresses, body }) = next? else { return Ok(()) };
            self.received.count(&body);
            let raft = match self.admit(&addresses, &body) {
                Ok(raft) => raft,
                Err(refusal) => {
                    self.note_refusal(&addresses, refusal);
                    return connection.send(seal_reply(&Reply::Refused(refusal))).await;
                }
            };
            let reply = match (body, raft) {
                (Request::Append(first), Some(raft)) => {
                    let contact = self.contacts.enter(addresses.from.node_id);
                    append_receiver::serve(Arc::clone(&self), &raft, connection, (addresses, first)).await?;
                    drop(contact);
                    return Ok(());
                }
                (Request::SnapshotBegin(begin), Some(raft)) => {
                    snapshot_receiver::receive(&self, &raft, &mut connection, (addresses, begin)).await?
                }
                (Request::Heartbeat(heartbeat), Some(raft)) => {
                    contact.get_or_insert_with(|| self.contacts.enter(addresses.from.node_id));
                    let answered = heartbeat_receiver::answer(&raft, heartbeat).await;
                    answered.map_or_else(|error| self.unanswered(&addresses, &error), Reply::Append)
                }
                (Request::Acknowledged, Some(_)) => {
                    Reply::Acknowledged(self.acknowledged.by(addresses.from.node_id))
                }
                (request, raft) => self.answer(request, raft.as_ref()).await,
            };
            connection.send(seal_reply(&reply)).await?;
        }
    }

    fn unanswered(&self, addresses: &Addresses, error: &Unanswered) -> Reply {
        if matches!(error, Unanswered::Missing(_)) {
            self.suspicions.send_replace(Some(addresses.from.node_id));
        }
        Reply::Failed(error.to_string())
    }

    /// Whether the request is meant for this node and comes from where it says. Gives the engine for those that need it.
    fn admit(&self, addresses: &Addresses, request: &Request) -> Result<Option<Raft>, Refusal> {
        let me = self.local.endpoint();
        match request {
            Request::Hello => return Ok(None),
            Request::Adopt(_) if addresses.to.incarnation == me.incarnation => return Ok(None),
            Request::Adopt(_) => return Err(Refusal::WrongIncarnation),
            _ => {}
        }
        let cluster_id = self.local.standing().ok_or(Refusal::NotReady)?.cluster_id;
        if addresses.cluster_id != cluster_id {
            return Err(Refusal::WrongCluster);
        }
        if addresses.to.node_id != me.node_id {
            return Err(Refusal::WrongNode);
        }
        if addresses.to.incarnation != me.incarnation {
            return Err(Refusal::WrongIncarnation);
        }
        let raft = self.raft.get().ok_or(Refusal::NotReady)?;
        check_sender(raft, addresses, request)?;
        Ok(Some(raft.clone()))
    }

    async fn answer(&self, request: Request, raft: Option<&Raft>) -> Reply {
        let failed = |error: &dyn std::fmt::Display| Reply::Failed(error.to_string());
        match (request, raft) {
            (Request::Hello, _) => Reply::Hello(self.local.hello()),
            (Request::Adopt(adoption), _) => {
                let local = Arc::clone(&self.local);
                match background::run(move || local.adopt(&adoption)).await {
                    Ok(Ok(Ok(()))) => Reply::Done,
                    Ok(Ok(Err(refusal))) => Reply::Refused(refusal),
                    Ok(Err(error)) => failed(&error),
                    Err(error) => failed(&error),
                }
            }
            (Request::Vote(vote), Some(raft)) => {
                raft.vote(vote).await.map_or_else(|e| failed(&e), Reply::Vote)
            }
            (Request::PreVote(vote), Some(raft)) => {
                raft.pre_vote(vote).await.map_or_else(|error| failed(&error), Reply::Vote)
            }
            (Request::TransferLeader(request), Some(raft)) => {
                match raft.handle_transfer_leader(request).await {
                    Ok(result) => Reply::TransferLeader(result.into()),
                    Err(error) => failed(&error),
                }
            }
            (Request::Report, Some(raft)) => match report(raft, &self.replica).await {
                Ok(report) => Reply::Report(report),
                Err(error) => failed(&error),
            },
            (Request::Chain(up_to), Some(_)) => {
                let applied = self.replica.chain_up_to(up_to);
                Reply::Chain(applied.map(|(revision, chain)| AppliedChain { revision, chain }))
            }
            (Request::Removed, Some(_)) => {
                self.removed.send_replace(true);
                Reply::Done
            }
            _ => Reply::Failed("this message has no place here".to_owned()),
        }
    }

    fn note_refusal(&self, addresses: &Addresses, refusal: Refusal) {
        let is_worth_it = !matches!(refusal, Refusal::NotReady | Refusal::Busy);
        if is_worth_it && self.is_first(addresses.from.node_id, refusal) {
            tracing::warn!(from = %addresses.from, to = %addresses.to, %refusal, "a peer's request was refused");
        }
    }

    /// Takes notice of a refusal and says whether it is the first of its kind to this sender, and worth a word in the log.
    pub(super) fn is_first(&self, sender: u64, refusal: Refusal) -> bool {
        self.logged_refusals.lock().unwrap_or_else(PoisonError::into_inner).insert((sender, refusal))
    }
}

/// A sender that the membership knows must have the data directory that joined, and one that was removed must learn it.
fn check_sender(raft: &Raft, addresses: &Addresses, request: &Request) -> Result<(), Refusal> {
    let from = addresses.from;
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    if let Some(known) = metrics.membership_config.membership().get_node(&from.node_id)
        && known.incarnation != from.incarnation
    {
        return Err(Refusal::ReplacedSender);
    }
    let last_log_id: Option<LogId> = match request {
        Request::Vote(vote) | Request::PreVote(vote) => vote.last_log_id,
        _ => return Ok(()),
    };
    // Who was made a voter later than what is known here to be committed has the entry that did it, and so a later last entry
    // (in the order of the log: term, then index). Whose last entry is not later and who is no member now was one before. The
    // index alone does not tell: what a deposed leader added to its log may reach further than what was committed since.
    let committed = &metrics.committed_membership_config;
    let is_member = committed.membership().get_node(&from.node_id).is_some();
    let known: Option<LogId> = metrics.local_committed.max(*committed.log_id());
    let decided_later = known > last_log_id;
    if !is_member && decided_later { Err(Refusal::RemovedSender) } else { Ok(()) }
}

/// A large state takes longer to hash. The report then has the hash that was taken last, with its revision: whoever asks waits
/// for a second only.
const HASH_WITHIN: Duration = Duration::from_millis(300);

/// How far this node is.
pub(super) async fn report(raft: &Raft, replica: &Replica) -> std::io::Result<PeerReport> {
    let (applied_index, last_log_index) = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let applied_index = metrics.last_applied.map(|applied| applied.index);
        (applied_index.unwrap_or_default(), metrics.last_log_index.unwrap_or_default())
    };
    let replica = replica.clone();
    let hashing = replica.clone();
    let mut hashed = background::run(move || hashing.state_hash());
    let within = tokio::time::timeout(HASH_WITHIN, &mut hashed).await;
    let (revision, state_hash) = match (within, replica.last_state_hash()) {
        (Ok(hashed), _) => hashed.map_err(std::io::Error::other)?,
        (Err(_), Some(last)) => last,
        (Err(_), None) => hashed.await.map_err(std::io::Error::other)?,
    };
    Ok(PeerReport { applied_index, last_log_index, revision, state_hash })
}

impl From<openraft::raft::TransferLeaderResponse<super::types::TypeConfig>> for TransferReply {
    fn from(response: openraft::raft::TransferLeaderResponse<super::types::TypeConfig>) -> Self {
        use openraft::raft::TransferLeaderError::{LogNotFlushed, VoteChanged};
        match response {
            Ok(()) => Self::Accepted,
            Err(VoteChanged { expected, actual }) => Self::VoteChanged { expected, actual },
            Err(LogNotFlushed { expected, actual }) => Self::NotFlushed { expected, actual },
        }
    }
}

fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    // 23 and 24: too many open files; waiting for one to close is all that can be done.
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
        || matches!(error.raw_os_error(), Some(23 | 24))
}
