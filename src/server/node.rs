//! One running server: every room wired to the next, and the order in which it stops.
//!
//! What it promises: straight-line wiring from the data directory up to the HTTP listener; what reaches outside the
//! process is passed in; a node that can not go on says why, once. Stopping hands leadership over first, then answers
//! what was accepted, then closes the log. What it must not do: hold rules of any room, or end the process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::config::{ClusterStart, ServerConfig};
use super::consensus_view::ConsensusView;
use super::exit::ServerError;
use super::joining;
use super::open_files;
use super::options::ProfileOption;
use super::replacing::Replacement;
use super::{agreement, directory_watch, panic_hook, soundness, space_watch};
use crate::clock::Clock;
use crate::consensus::{
    Bootstrap, Consensus, ConsensusOptions, LogRetention, PeerListener, Timing, Transport,
};
use crate::http::{self, HttpOptions, Services};
use crate::leader::{ConsensusLog, Leader, LeaderOptions, LeaderSeams, LeaderTask, Log, LogMinter};
use crate::replica::Replica;
use crate::scheduler::Registry;
use crate::storage::{DataDir, DataDirOptions, DiskStores};
use crate::telemetry::Metrics;

/// What a node does not have of its own.
#[derive(Clone)]
pub struct NodeSeams {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How bytes get to other nodes.
    pub transport: Arc<dyn Transport>,
    /// 64 random bits at each call: ids of the cluster and the data directory, jitter.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The threads that serve clients; `None` if they are those of the node. With threads of their own no heartbeat between
    /// nodes waits behind the requests of a thousand clients.
    pub serving: Option<Handle>,
}

impl NodeSeams {
    fn mint(&self) -> Arc<dyn Fn() -> Uuid + Send + Sync> {
        let random = self.random.clone();
        Arc::new(move || {
            let (high, low) = (random().to_be_bytes(), random().to_be_bytes());
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&high);
            bytes[8..].copy_from_slice(&low);
            uuid::Builder::from_random_bytes(bytes).into_uuid()
        })
    }
}

/// The ports of a node, taken before anything else, so that a port that is in use shows at once.
pub struct Listeners {
    /// The API of clients.
    pub api: TcpListener,
    /// The Raft traffic.
    pub peer: Box<dyn PeerListener>,
}

impl Listeners {
    /// Takes the ports of `config`.
    ///
    /// # Errors
    /// `Unavailable`, with the address that can not be had.
    pub async fn bind(config: &ServerConfig, transport: &dyn Transport) -> Result<Self, ServerError> {
        let refused = |address: &str, error: std::io::Error| {
            ServerError::Unavailable(format!("can not listen on {address}: {error}"))
        };
        let api = listen(&config.api.listen).await;
        let api = api.map_err(|error| refused(&config.api.listen, error))?;
        let peer = transport.listen(&config.peer.listen).await;
        let peer = peer.map_err(|error| refused(&config.peer.listen, error))?;
        Ok(Self { api, peer })
    }
}

/// Clients that may wait to be taken in: after a fail-over a whole fleet comes at once, and who finds no place waits a second for
/// the next try. The kernel's own limit (`net.core.somaxconn`) may be lower.
const BACKLOG: u32 = 16_384;

/// Listens at the first address of this name that can be had.
async fn listen(address: &str) -> std::io::Result<TcpListener> {
    let mut refused = std::io::Error::other("the name has no address");
    for address in lookup_host(address).await? {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn listen_at(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As every listener of the runtime: a server that was killed is not kept from its port by its old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A running node. Dropping it ends its tasks without any order, a moment later; [`Node::stop`] stops it in order.
pub struct Node {
    api_addr: String,
    peer_addr: String,
    consensus: Consensus,
    data_dir: DataDir,
    replica: Replica,
    leader: Leader,
    leader_task: LeaderTask,
    stopping: CancellationToken,
    serving: JoinHandle<()>,
    stop_deadline: Duration,
    clock: Arc<dyn Clock>,
    /// Ended with the node.
    _watching: JoinSet<()>,
    _cut_off: CutOff,
}

/// Ends the tasks that share the node's parts when the node is dropped; after an orderly stop there is nothing left to
/// end. Whoever holds a part holds the data directory and the peer port.
struct CutOff {
    stopping: CancellationToken,
    leader: Leader,
    serving: AbortHandle,
}

impl Drop for CutOff {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.leader.stop();
        self.serving.abort();
    }
}

impl Node {
    /// Starts a node. Returns when it belongs to a cluster and serves its API.
    ///
    /// # Errors
    /// [`ServerError`] says what a person has to do. Dropping the future ends everything that was begun.
    pub async fn start(
        config: ServerConfig,
        listeners: Listeners,
        seams: NodeSeams,
    ) -> Result<Self, ServerError> {
        let Listeners { api, peer } = listeners;
        let api_port = api.local_addr().map_err(unavailable)?.port();
        let api_addr = config.api.advertised_on(api_port);
        let peer_addr = config.peer.advertised_on(port_of(&peer.address().map_err(unavailable)?));
        let data_dir = open_data_dir(&config, &seams).await?;
        let (replica, metrics) = (Replica::new(), Metrics::new());
        let consensus_options = ConsensusOptions {
            data_dir: data_dir.clone(),
            stores: Arc::new(DiskStores::default()),
            api_addr: api_addr.clone(),
            peer_addr: peer_addr.clone(),
            listener: peer,
            bootstrap: bootstrap(&config.start, &seams, (&api_addr, &peer_addr))?,
            timing: timing(config.profile),
            retention: LogRetention::for_interval(config.snapshot_interval_entries),
            transport: seams.transport.clone(),
            mint_cluster_id: seams.mint(),
        };
        let consensus = Consensus::start(consensus_options, replica.clone()).await?;
        consensus.disk_failures().into_iter().for_each(panic_hook::watch_disk);
        let log: Arc<dyn Log> = ConsensusLog::new(consensus.clone());
        let leader_seams = LeaderSeams {
            log: log.clone(),
            replica: replica.clone(),
            clock: seams.clock.clone(),
            strategies: Registry::default(),
            metrics: metrics.clone(),
        };
        let (leader, leader_task) = Leader::start(leader_seams, leader_options(&config));
        consensus.set_node_id_minter(LogMinter::new(&leader));
        let mut watching = JoinSet::new();
        let (cluster, looking) = ConsensusView::new(consensus.clone(), log, seams.clock.clone());
        watching.spawn(looking);
        watching.spawn(space_watch::run(data_dir.clone(), consensus.clone(), leader.clone()));
        if let Some(old_id) = config.replace {
            let ids = (consensus.status().node_id, old_id);
            watching.spawn(Replacement::new(&api_addr, &seams, ids)?.run());
        }
        let stopping = CancellationToken::new();
        let services = Services {
            leader: leader.clone(),
            replica: replica.clone(),
            cluster,
            metrics,
            clock: seams.clock.clone(),
        };
        let threads = seams.serving.clone().unwrap_or_else(Handle::current);
        let serving = threads.spawn(http::serve(api, services, http_options(&config), stopping.clone()));
        let cut_off =
            CutOff { stopping: stopping.clone(), leader: leader.clone(), serving: serving.abort_handle() };
        tracing::info!(api = %api_addr, peer = %peer_addr, node = consensus.status().node_id, "this node serves");
        Ok(Self {
            api_addr,
            peer_addr,
            consensus,
            data_dir,
            replica,
            leader,
            leader_task,
            stopping,
            serving,
            stop_deadline: config.stop_deadline,
            clock: seams.clock,
            _watching: watching,
            _cut_off: cut_off,
        })
    }

    /// Where clients reach it.
    pub fn api_addr(&self) -> &str {
        &self.api_addr
    }

    /// Where other nodes reach it.
    pub fn peer_addr(&self) -> &str {
        &self.peer_addr
    }

    /// Whether it leads and serves a session.
    pub fn is_leading(&self) -> bool {
        self.leader.is_serving()
    }

    /// Waits until the node can not go on, and says why.
    pub async fn failed(&self) -> ServerError {
        tokio::select! {
            reason = self.consensus.stopped() => reason.into(),
            fault = self.leader.fault() => fault.into(),
            error = directory_watch::lost(self.data_dir.clone()) => error.into(),
            reason = agreement::outvoted(self.consensus.clone(), self.replica.clone()) => {
                ServerError::Divergence(reason)
            }
            violations = soundness::broken(self.replica.clone(), self.clock.clone()) => ServerError::Broken(violations),
        }
    }

    /// Hands leadership over, answers what was accepted, closes the log. Takes at most the stop deadline.
    pub async fn stop(self) {
        let deadline = self.stop_deadline;
        if tokio::time::timeout(deadline, self.stop_in_order()).await.is_err() {
            tracing::warn!(?deadline, "stopping took too long; the rest is cut off");
        }
    }

    async fn stop_in_order(self) {
        if self.consensus.status().is_leader() && self.consensus.status().voters().count() > 1 {
            match self.consensus.transfer_leadership(None).await {
                Ok(leader) => tracing::info!(%leader, "leadership was handed over"),
                Err(error) => tracing::info!(%error, "leadership was not handed over"),
            }
        }
        self.stopping.cancel();
        // The server ends by itself after its grace.
        let _ = self.serving.await;
        self.leader.stop();
        self.leader_task.ended().await;
        self.consensus.shutdown().await;
    }
}

fn unavailable(error: std::io::Error) -> ServerError {
    ServerError::Unavailable(format!("the port of a listener is not known: {error}"))
}

fn port_of(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
}

async fn open_data_dir(config: &ServerConfig, seams: &NodeSeams) -> Result<DataDir, ServerError> {
    let mint = seams.mint();
    let mut options = DataDirOptions::new(move || mint());
    options.free_space_floor_bytes = config.free_space_floor_bytes;
    let path = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || DataDir::open(path, options)).await;
    Ok(opened.map_err(|error| ServerError::Broken(error.to_string()))??)
}

fn bootstrap(
    start: &ClusterStart,
    seams: &NodeSeams,
    (api_addr, peer_addr): (&str, &str),
) -> Result<Bootstrap, ServerError> {
    Ok(match start {
        ClusterStart::InitialCluster(peers) => Bootstrap::InitialCluster(peers.clone()),
        ClusterStart::Join(server) => {
            Bootstrap::Join(joining::request(server, seams, (api_addr, peer_addr))?)
        }
        ClusterStart::Existing => Bootstrap::Existing,
    })
}

fn timing(profile: ProfileOption) -> Timing {
    match profile {
        ProfileOption::Lan => Timing::LAN,
        ProfileOption::Wan => Timing::WAN,
        ProfileOption::Slow => Timing::SLOW,
    }
}

fn http_options(config: &ServerConfig) -> HttpOptions {
    let connections_max = open_files::connections_that_fit(config.connections_max) as usize;
    // The way to the other servers and back is shorter than a heartbeat interval, or the profile does not fit.
    let in_progress_target = Duration::from_millis(timing(config.profile).heartbeat_ms) / 3;
    let connections_per_address_max = connections_max;
    HttpOptions { connections_max, connections_per_address_max, in_progress_target, ..HttpOptions::default() }
}

fn leader_options(config: &ServerConfig) -> LeaderOptions {
    LeaderOptions {
        queue_length: config.queue_length as usize,
        waiting_length: config.waiting_length as usize,
        submission_deadline: config.submission_deadline,
        ..LeaderOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn hundreds_of_clients_may_wait_at_once_to_be_taken_in() {
        let listener = listen("localhost:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Nobody takes them in meanwhile.
        let waiting = (0..400).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(500)));
        let waiting: Vec<TcpStream> = waiting.map(Result::unwrap).collect();
        assert_eq!(waiting.len(), 400);
    }
}
