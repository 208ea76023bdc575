//! Starting a node: settle who it is, open its log, start the engine, and watch over it.
//!
//! What it promises: the peer port answers from the first moment; the engine starts only under an identity that is
//! durable; what ends the node's part in the cluster is noticed and named. What it must not do: decide when the
//! process ends; that is the caller's business. Tested in `tests/consensus`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::acknowledged::Acknowledged;
use super::barrier::Barriers;
use super::bootstrap::{Bootstrap, RequestMembership, Settling};
use super::errors::{StartError, StopReason};
use super::fast_path;
use super::founder;
use super::handle::{Consensus, Engine, Shared};
use super::local_node::{JoinPhase, LocalNode, Standing};
use super::log_store::LogAdapter;
use super::membership::Membership;
use super::messages::Endpoint;
use super::network::NetworkFactory;
use super::older_directory;
use super::options::ConsensusOptions;
use super::peers::Peers;
use super::proposals::Proposals;
use super::server::Server;
use super::snapshot_disk::SnapshotDisk;
use super::snapshot_pace::SnapshotPace;
use super::state_machine::StateMachine;
use super::status::{self, status_of};
use super::timing::engine_config;
use super::types::Raft;
use crate::background;
use crate::replica::Replica;
use crate::storage::{LogStorage, OpenStores, StorageError, Stores};

/// Between two requests of a joining node to be taken in.
const JOIN_EVERY: Duration = Duration::from_secs(3);
/// Between two looks for a change of the membership that was left unfinished.
const FINISH_EVERY: Duration = Duration::from_secs(1);

pub(super) type Stop = watch::Sender<Option<StopReason>>;

impl Consensus {
    /// Starts the node. Returns when it has an identity and its engine runs, which for a new node means that the
    /// cluster is founded or has taken it in. Dropping the future ends everything that was begun.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs any more.
    pub async fn start(options: ConsensusOptions, replica: Replica) -> Result<Consensus, StartError> {
        let config = engine_config(&options.timing, &options.retention)?;
        let stop = Stop::new(None);
        let mut tasks = JoinSet::new();
        let initial_cluster = match &options.bootstrap {
            Bootstrap::InitialCluster(list) => Some(list.clone()),
            Bootstrap::Join(_) | Bootstrap::Existing => None,
        };
        let local = LocalNode::new(options.data_dir, options.api_addr, options.peer_addr, initial_cluster)?;
        local.check()?;
        let local = Arc::new(local);
        let acknowledged = Arc::new(Acknowledged::default());
        let server = Server::new(Arc::clone(&local), replica.clone(), Arc::clone(&acknowledged));
        tasks.spawn(serve(Arc::clone(&server), options.listener, stop.clone()));
        if let Bootstrap::Join(request) = &options.bootstrap {
            tasks.spawn(ask_to_join(Arc::clone(&local), Arc::clone(request)));
        }
        let mint_cluster_id = options.mint_cluster_id.as_ref();
        let settling = Settling { local: &local, transport: &options.transport, mint_cluster_id };
        let standing = settling.settle(&options.bootstrap).await?;
        let (store, snapshots) = open(&local, options.stores).await?;
        let started_with = store.bounds().last.map(|(index, _)| index);
        let is_begun = started_with.is_some();
        let founds = standing.phase == JoinPhase::Founding && standing.node_id == 1 && !is_begun;
        if founds {
            settling.announce(&standing).await?;
        }
        let me = Endpoint { node_id: standing.node_id, incarnation: local.address().incarnation };
        let names = (standing.cluster_id, me);
        let peers = Peers::new(Arc::clone(&options.transport), names, options.timing, acknowledged);
        let network = NetworkFactory::new(peers.clone());
        let log = LogAdapter::new(Arc::clone(&store));
        let snapshots = SnapshotDisk::new(snapshots, stop.clone());
        let (snapshot_failure, newest_bytes) = (snapshots.failure(), snapshots.newest_bytes());
        let state_machine = StateMachine::new(replica.clone(), Arc::new(snapshots));
        let raft = Raft::new(standing.node_id, Arc::new(config), network, log, state_machine).await;
        let engine = Engine(raft.map_err(|error| StartError::Engine(error.to_string()))?);
        let raft = engine.0.clone();
        server.attach(raft.clone());
        let entries_min = options.retention.snapshot_after;
        let pace = SnapshotPace { raft: raft.clone(), store: Arc::clone(&store), newest_bytes, entries_min };
        tasks.spawn(pace.run());
        if founds {
            initialize(&raft, &standing).await?;
        }
        let membership = Arc::new(Membership {
            raft: raft.clone(),
            peers: peers.clone(),
            transport: options.transport,
            local: Arc::clone(&local),
            timing: options.timing,
            minter: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        });
        let running = Running {
            engine,
            local,
            store,
            snapshot_failure,
            started_with,
            replica,
            server,
            peers,
            membership,
            stop,
        };
        Ok(running.into_handle(&standing, tasks))
    }
}

/// The parts of a node whose engine runs.
struct Running {
    engine: Engine,
    local: Arc<LocalNode>,
    store: Arc<dyn LogStorage>,
    snapshot_failure: watch::Receiver<Option<StorageError>>,
    started_with: Option<u64>,
    replica: Replica,
    server: Arc<Server>,
    peers: Peers,
    membership: Arc<Membership>,
    stop: Stop,
}

impl Running {
    fn into_handle(self, standing: &Standing, mut tasks: JoinSet<()>) -> Consensus {
        let Self {
            engine,
            local,
            store,
            snapshot_failure,
            started_with,
            replica,
            server,
            peers,
            membership,
            stop,
        } = self;
        let raft = engine.0.clone();
        let timing = membership.timing;
        let cluster_id = standing.cluster_id;
        let within = Duration::from_millis(timing.proposal_timeout_ms);
        let (proposals, submitting) = Proposals::new(raft.clone(), within);
        let within = Duration::from_millis(timing.barrier_timeout_ms);
        let (barriers, answering) = Barriers::new(raft.clone(), within);
        let first = status_of(cluster_id, &raft.metrics().borrow_watched());
        let (published, status) = watch::channel(first);
        tasks.spawn(submitting);
        tasks.spawn(answering);
        tasks.spawn(status::publish(raft.clone(), cluster_id, published));
        tasks.spawn(fast_path::run(raft.clone(), server.contacts().clone(), timing));
        tasks.spawn(finish_changes(Arc::clone(&membership)));
        let asking = (raft.clone(), peers.clone());
        tasks.spawn(older_directory::watch(server.suspicions(), asking, Arc::clone(&local), stop.clone()));
        tasks.spawn(watch_membership(raft.clone(), local, stop.clone()));
        tasks.spawn(watch_for_removal(server.removed(), stop.clone()));
        tasks.spawn(watch_for_removal(peers.removed(), stop.clone()));
        tasks.spawn(founder::ask_whether_it_was_removed(raft.clone(), peers.clone(), standing.clone()));
        tasks.spawn(watch_health(raft.clone(), Arc::clone(&store), stop.clone()));
        let tasks = Mutex::new(tasks);
        let shared = Shared {
            engine,
            cluster_id,
            replica,
            store,
            snapshot_failure,
            peers,
            server,
            proposals,
            barriers,
            membership,
            status,
            stop,
            started_with,
            tasks,
        };
        Consensus { shared: Arc::new(shared) }
    }
}

/// Opens log and snapshots, and checks that they fit together.
async fn open(local: &LocalNode, stores: Arc<dyn Stores>) -> Result<OpenStores, StartError> {
    let directory = local.directory().clone();
    let opened = background::run(move || {
        let (store, snapshots) = stores.open(&directory)?;
        snapshots.newest(store.bounds().purged.map(|(index, _, _)| index))?;
        Ok::<_, StorageError>((store, snapshots))
    });
    Ok(opened.await.map_err(|error| StartError::Engine(error.to_string()))??)
}

/// Writes the first entry of a founded cluster. A log that has begun stays as it is.
async fn initialize(raft: &Raft, standing: &Standing) -> Result<(), StartError> {
    match raft.initialize(standing.members.clone()).await {
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(StartError::Engine(error.to_string())),
    }
}

async fn serve(server: Arc<Server>, listener: Box<dyn super::transport::PeerListener>, stop: Stop) {
    let error = server.run(listener).await;
    end(&stop, StopReason::PeerPort(error.to_string()));
}

/// Asks to be taken in until this node has seen itself among the members.
async fn ask_to_join(local: Arc<LocalNode>, request: RequestMembership) {
    while local.standing().is_none_or(|standing| standing.phase == JoinPhase::Joining) {
        if let Err(reason) = request().await {
            tracing::warn!(%reason, "the cluster has not taken this node in yet");
        }
        sleep(JOIN_EVERY).await;
    }
}

/// Remembers that this node has become a member, and notices that it is none any more.
async fn watch_membership(raft: Raft, local: Arc<LocalNode>, stop: Stop) {
    let mut metrics = raft.server_metrics();
    let mut was_member = false;
    loop {
        let is_member = {
            let metrics = metrics.borrow_watched();
            metrics.committed_membership_config.membership().get_node(&metrics.id).is_some()
        };
        if is_member && !was_member {
            was_member = true;
            let local = Arc::clone(&local);
            if let Ok(Err(error)) = background::run(move || local.note_member()).await {
                return end(&stop, StopReason::Storage(error));
            }
        }
        if was_member && !is_member {
            return end(&stop, StopReason::Removed);
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

async fn watch_for_removal(mut removed: watch::Receiver<bool>, stop: Stop) {
    if removed.wait_for(|removed| *removed).await.is_ok() {
        end(&stop, StopReason::Removed);
    }
}

/// Notices that the disk or the engine failed. The disk's words are the better ones if both did.
async fn watch_health(raft: Raft, store: Arc<dyn LogStorage>, stop: Stop) {
    let (mut metrics, mut fatal) = (raft.metrics(), store.fatal());
    loop {
        let engine = metrics.borrow_watched().running_state.clone();
        let disk = fatal.borrow_and_update().clone();
        if let Some(error) = disk {
            return end(&stop, StopReason::Storage(error));
        }
        if let Err(error) = engine {
            return end(&stop, StopReason::Engine(error.to_string()));
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() {
                return end(&stop, StopReason::Engine("it ended".to_owned()));
            },
            changed = fatal.changed() => if changed.is_err() {
                return end(&stop, StopReason::Storage(StorageError::Closed));
            },
        }
    }
}

/// Finishes changes of the membership that an earlier leader left half done.
async fn finish_changes(membership: Arc<Membership>) {
    loop {
        sleep(FINISH_EVERY).await;
        let leads = membership.raft.metrics().borrow_watched().state == ServerState::Leader;
        if leads && let Err(error) = membership.finish_interrupted().await {
            tracing::debug!(%error, "an unfinished change of the membership stays for now");
        }
    }
}

/// The first reason stands.
pub(super) fn end(stop: &Stop, reason: StopReason) {
    stop.send_if_modified(|standing| {
        let is_first = standing.is_none();
        if is_first {
            match &reason {
                StopReason::Shutdown => {}
                reason => tracing::error!(%reason, "this node no longer takes part"),
            }
            *standing = Some(reason);
        }
        is_first
    });
}
