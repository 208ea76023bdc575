//! The handle that the rest of the program holds: propose, prove leadership, look, change members, stop.
//!
//! What it promises: clones share one node; no call waits for ever; a change of the membership goes on if its caller
//! goes away; the node hands leadership over before it stops. What it must not do: let a type of the engine out.
//! Tested in `tests/consensus`.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::join_all;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use super::barrier::Barriers;
use super::errors::{BarrierError, MembershipError, ProposeError, StopReason};
use super::membership::{Membership, NodeIdMinter};
use super::messages::{AppliedChain, PeerReport, Refusal, Reply, Request};
use super::peers::{Peers, Target};
use super::proposals::Proposals;
use super::received::ReceivedCounts;
use super::server::{Server, report};
use super::status::{Member, Status, status_of};
use super::types::{Metrics, NodeAddress, Raft};
use crate::background;
use crate::domain::Applied;
use crate::replica::Replica;
use crate::storage::{LogStatistics, LogStorage, StorageError};

/// For a member to report how far it is. Whoever looks at the cluster waits so long for a member that is stopped, and a
/// health check has only a few seconds.
const REPORT_WITHIN: Duration = Duration::from_secs(1);

/// A running node. Clones share it; when the last one is dropped, everything it runs is ended.
#[derive(Clone)]
pub struct Consensus {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) cluster_id: Uuid,
    pub(super) replica: Replica,
    pub(super) store: Arc<dyn LogStorage>,
    pub(super) snapshot_failure: watch::Receiver<Option<StorageError>>,
    pub(super) peers: Peers,
    pub(super) server: Arc<Server>,
    pub(super) proposals: Proposals,
    pub(super) barriers: Barriers,
    pub(super) membership: Arc<Membership>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) stop: watch::Sender<Option<StopReason>>,
    /// The last entry of the log that this node was started with.
    pub(super) started_with: Option<u64>,
    pub(super) tasks: Mutex<JoinSet<()>>,
}

/// Ends the engine when it is dropped.
pub(super) struct Engine(pub(super) Raft);

impl Drop for Engine {
    fn drop(&mut self) {
        // The engine keeps itself alive; the first poll tells it to end, nobody can wait for it here.
        let _ = self.0.shutdown().now_or_never();
    }
}

impl Consensus {
    /// Proposes a sealed record and gives what applying it gave. The place in the log is fixed by this call, so calls
    /// need not wait for each other.
    ///
    /// # Errors
    /// [`ProposeError`] says whether anything may have been proposed.
    pub fn propose(
        &self,
        payload: Bytes,
    ) -> impl Future<Output = Result<Arc<Applied>, ProposeError>> + Send + 'static {
        self.shared.proposals.propose(payload)
    }

    /// Proves that this node led at a moment after the call, and that its replica has everything that was acknowledged
    /// before. Many callers share one round.
    ///
    /// # Errors
    /// This node does not lead, or a quorum did not confirm it in time.
    pub async fn read_barrier(&self) -> Result<(), BarrierError> {
        self.shared.barriers.pass().await
    }

    /// What this node knows now.
    pub fn status(&self) -> Status {
        status_of(self.shared.cluster_id, &self.metrics())
    }

    /// Changes when role, leader, term or members change; the indexes in it are those of that moment.
    pub fn watch_status(&self) -> watch::Receiver<Status> {
        self.shared.status.clone()
    }

    /// Requests that peers have sent to this node.
    pub fn received(&self) -> ReceivedCounts {
        self.shared.server.received().counts()
    }

    /// Whom this node has refused to listen to, by the id that was claimed, and why: once each.
    pub fn refusals_given(&self) -> Vec<(u64, Refusal)> {
        self.shared.server.refusals()
    }

    /// Why the disk failed, once it has: under the log, and under the snapshots. It is known there before anything else
    /// hears of it.
    pub fn disk_failures(&self) -> [watch::Receiver<Option<StorageError>>; 2] {
        [self.shared.store.fatal(), self.shared.snapshot_failure.clone()]
    }

    /// Figures of this node's log.
    pub fn log_statistics(&self) -> LogStatistics {
        self.shared.store.statistics()
    }

    /// Asks every member how far it is; `None` for who does not answer in time.
    pub async fn peer_reports(&self) -> Vec<(Member, Option<PeerReport>)> {
        let metrics = self.metrics();
        let nodes = metrics.membership_config.membership().nodes();
        join_all(nodes.map(|(id, address)| self.peer_report(*id, address.clone()))).await
    }

    /// Asks every other voter what it has applied up to the revision that this node has; `None` for who does not answer in
    /// time, or does not remember.
    pub async fn chains_of_other_voters(&self) -> Vec<(u64, Option<AppliedChain>)> {
        let question = &Request::Chain(self.shared.replica.revision());
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let others = membership.voter_ids().filter(|id| id != self.shared.engine.0.node_id());
        let targets = others.filter_map(|node_id| {
            let address = membership.get_node(&node_id)?.clone();
            Some(Target { node_id, address })
        });
        let asked = targets.map(|target| async move {
            let answer = self.shared.peers.call(&target, question, REPORT_WITHIN).await;
            (target.node_id, if let Ok(Reply::Chain(chain)) = answer { chain } else { None })
        });
        join_all(asked).await
    }

    async fn peer_report(&self, node_id: u64, address: NodeAddress) -> (Member, Option<PeerReport>) {
        let member = Member::new(node_id, &address);
        if node_id == *self.shared.engine.0.node_id() {
            return (member, report(&self.shared.engine.0, &self.shared.replica).await.ok());
        }
        let target = Target { node_id, address };
        let report = match self.shared.peers.call(&target, &Request::Report, REPORT_WITHIN).await {
            Ok(Reply::Report(report)) => Some(report),
            _ => None,
        };
        (member, report)
    }

    /// Says where ids for new nodes come from. Until then no node can be added.
    pub fn set_node_id_minter(&self, minter: Arc<dyn NodeIdMinter>) {
        *self.minter() = Some(minter);
    }

    /// Adds the node at these addresses as a learner. On the leader only.
    ///
    /// # Errors
    /// [`MembershipError`] says what stands against it.
    pub async fn add_member(&self, api_addr: &str, peer_addr: &str) -> Result<Member, MembershipError> {
        let (api_addr, peer_addr) = (api_addr.to_owned(), peer_addr.to_owned());
        self.change(|membership| async move { membership.add(&api_addr, &peer_addr).await }).await
    }

    /// Gives a learner a vote. On the leader only.
    ///
    /// # Errors
    /// [`MembershipError`] says what stands against it.
    pub async fn promote(&self, node_id: u64) -> Result<Member, MembershipError> {
        self.change(move |membership| async move { membership.promote(node_id).await }).await
    }

    /// Removes a member for ever. On the leader only; a leader that is to be removed hands over first and refuses.
    ///
    /// # Errors
    /// [`MembershipError`] says what stands against it.
    pub async fn remove(&self, node_id: u64) -> Result<Member, MembershipError> {
        self.change(move |membership| async move { membership.remove(node_id).await }).await
    }

    /// Makes another voter the leader, that one or the one with the longest log, and gives the new leader.
    ///
    /// # Errors
    /// [`MembershipError`] says what stands against it.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<Member, MembershipError> {
        self.change(move |membership| async move { membership.transfer(to).await }).await
    }

    /// Runs a change in a task of its own, so that it is not left half done when the caller goes away.
    async fn change<F>(&self, change: impl FnOnce(Arc<Membership>) -> F) -> Result<Member, MembershipError>
    where
        F: Future<Output = Result<Member, MembershipError>> + Send + 'static,
    {
        let changed = tokio::spawn(change(Arc::clone(&self.shared.membership)));
        changed.await.unwrap_or(Err(MembershipError::Unknown))
    }

    /// Waits until this node has applied everything that it may have applied before it was started: all of the log that
    /// it was started with, but for a tail that a leader has replaced and that was therefore never applied. Until then
    /// its state may be older than what it has shown to readers in an earlier life. Needs a leader unless the log was
    /// empty; the caller brings the deadline.
    ///
    /// What a follower applied before it was on its own disk, and lost with the machine, is not known to the log any more;
    /// only a linearizable read is safe from that.
    ///
    /// # Errors
    /// [`BarrierError::Stopped`] if the node stops meanwhile.
    pub async fn recovered(&self) -> Result<(), BarrierError> {
        let Some(started_with) = self.shared.started_with else { return Ok(()) };
        let has_recovered = move |metrics: &Metrics| {
            let applied = metrics.last_applied.map(|applied| applied.index);
            metrics.last_log_index.is_some_and(|last| applied >= Some(last.min(started_with)))
        };
        let waiting = self.shared.engine.0.wait(None);
        let reached = waiting.metrics(has_recovered, "it has applied its log again").await;
        reached.map(drop).map_err(|_| BarrierError::Stopped)
    }

    /// Waits until this node no longer takes part, and says why. The process must then end.
    pub async fn stopped(&self) -> StopReason {
        let mut stop = self.shared.stop.subscribe();
        let reason = stop.wait_for(Option::is_some).await.expect("the sender lives as long as this node");
        reason.clone().expect("the condition was that there is one")
    }

    /// Hands leadership over if this node leads, then stops the engine, then closes the log.
    pub async fn shutdown(self) {
        let shared = &self.shared;
        if self.status().is_leader() && self.status().voters().count() > 1 {
            let within = shared.membership.timing.lease() * 6;
            match timeout(within, self.transfer_leadership(None)).await {
                Ok(Ok(leader)) => tracing::info!(%leader, "leadership was handed over"),
                // When a whole cluster stops, there is nobody to take over.
                Ok(Err(error)) => tracing::info!(%error, "leadership was not handed over"),
                Err(_) => tracing::warn!(?within, "leadership was not handed over in time"),
            }
        }
        shared.stop.send_if_modified(|reason| {
            let is_first = reason.is_none();
            reason.get_or_insert(StopReason::Shutdown);
            is_first
        });
        *self.minter() = None;
        if shared.engine.0.shutdown().await.is_err() {
            tracing::error!("the consensus engine did not end in order");
        }
        let tasks = std::mem::take(&mut *shared.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        shutdown_tasks(tasks).await;
        let store = Arc::clone(&shared.store);
        if background::run(move || store.close()).await.is_err() {
            tracing::error!("the log was not closed in order");
        }
    }

    fn minter(&self) -> std::sync::MutexGuard<'_, Option<Arc<dyn NodeIdMinter>>> {
        self.shared.membership.minter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metrics(&self) -> Metrics {
        self.shared.engine.0.metrics().borrow_watched().clone()
    }
}

async fn shutdown_tasks(mut tasks: JoinSet<()>) {
    tasks.shutdown().await;
}
