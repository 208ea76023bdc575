//! Nodes on loopback in one process, with real data directories, and conditions to wait for.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use slotkeeper::consensus::{
    Bootstrap, Consensus, ConsensusOptions, LogRetention, NodeIdMinter, PeerListener, ProposeError,
    StartError, Status, TcpTransport, Timing, Transport,
};
use slotkeeper::domain::{Applied, Batch, ClusterId, LogicalTime, Record, SessionNumber, SessionStart};
use slotkeeper::replica::{Replica, seal};
use slotkeeper::storage::{DataDir, DataDirOptions, Disk, Identity, RealDisk, StorageError};
use tempfile::TempDir;
use uuid::Uuid;

use crate::directories::copy_directory;

/// Nothing here takes so long unless it is broken.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Timers that a machine under load keeps.
pub const TIMING: Timing =
    Timing { heartbeat_ms: 100, election_min_ms: 600, election_max_ms: 900, ..Timing::LAN };

/// Polls until the condition gives something.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As [`until`], for conditions that need nothing but a look.
pub async fn until_true(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, async || condition().then_some(())).await;
}

/// A record that can be told from others by its time.
pub fn record(at: u64) -> Bytes {
    seal(&Record::Round(Batch { session: SessionNumber(1), at: LogicalTime(at), commands: Vec::new() }))
}

/// A record that begins a session.
pub fn session(node_id: u64) -> Bytes {
    let cluster = ClusterId(Uuid::from_u128(9 << 64));
    seal(&Record::Begin(SessionStart { cluster, node_id, at: LogicalTime(1_000) }))
}

/// What a node is started with, beside its place.
#[derive(Clone)]
pub struct Settings {
    pub timing: Timing,
    pub retention: LogRetention,
    pub transport: Arc<dyn Transport>,
    pub disk: Arc<dyn Disk>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timing: TIMING,
            retention: LogRetention::default(),
            transport: Arc::new(TcpTransport),
            disk: Arc::new(RealDisk),
        }
    }
}

/// A place for a node: a directory and an address that stay when the node goes.
pub struct Place {
    directory: TempDir,
    pub peer_addr: String,
    pub api_addr: String,
}

impl Place {
    /// A fresh directory, and a free address with its listener.
    pub async fn new() -> (Place, Box<dyn PeerListener>) {
        let listener = TcpTransport.listen("127.0.0.1:0").await.unwrap();
        let peer_addr = listener.address().unwrap();
        let api_addr = format!("{peer_addr}0");
        (Place { directory: tempfile::tempdir().unwrap(), peer_addr, api_addr }, listener)
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Empties the directory, as a replaced disk would.
    pub fn wipe(&self) {
        fs::remove_dir_all(self.path()).unwrap();
    }

    /// A copy of the directory as it is when its node has let go of it.
    pub async fn copy(&self) -> TempDir {
        let _free = self.free_directory(Arc::new(RealDisk)).await;
        let copy = tempfile::tempdir().unwrap();
        copy_directory(&self.path(), copy.path());
        copy
    }

    /// Puts such a copy in the place of the directory.
    pub async fn bring_back(&self, copy: TempDir) {
        drop(self.free_directory(Arc::new(RealDisk)).await);
        self.wipe();
        copy_directory(copy.path(), &self.path());
    }

    async fn free_directory(&self, disk: Arc<dyn Disk>) -> DataDir {
        until("the directory is free", async || match self.open(Arc::clone(&disk)) {
            Ok(data_dir) => Some(data_dir),
            Err(StorageError::Locked { .. }) => None,
            Err(error) => panic!("{error}"),
        })
        .await
    }

    /// The address again, after its node has gone.
    pub async fn listen(&self) -> Box<dyn PeerListener> {
        until("the address is free", async || TcpTransport.listen(&self.peer_addr).await.ok()).await
    }

    pub async fn options(
        &self,
        listener: Box<dyn PeerListener>,
        bootstrap: Bootstrap,
        settings: &Settings,
    ) -> ConsensusOptions {
        let data_dir = self.free_directory(Arc::clone(&settings.disk)).await;
        let mint = Arc::new(Uuid::new_v4);
        let api_addr = self.api_addr.clone();
        let mut options = ConsensusOptions::new(data_dir, api_addr, listener, bootstrap, mint).unwrap();
        options.timing = settings.timing;
        options.retention = settings.retention;
        options.transport = Arc::clone(&settings.transport);
        options
    }

    fn open(&self, disk: Arc<dyn Disk>) -> Result<DataDir, StorageError> {
        let mut options = DataDirOptions::new(Uuid::new_v4);
        options.disk = disk;
        options.free_space_floor_bytes = Some(0);
        DataDir::open(self.path(), options)
    }

    /// What the directory says about its owner.
    pub fn identity(&self) -> Identity {
        self.open(Arc::new(RealDisk)).unwrap().identity().unwrap()
    }

    /// Gives an empty directory an identity that it never got from a cluster.
    pub fn forge(&self, cluster_id: Uuid, node_id: u64, details: Vec<u8>) {
        let directory = self.open(Arc::new(RealDisk)).unwrap();
        let incarnation = directory.incarnation();
        directory.save_identity(&Identity { cluster_id, node_id, incarnation, details }).unwrap();
    }

    pub async fn start(
        &self,
        listener: Box<dyn PeerListener>,
        bootstrap: Bootstrap,
        settings: &Settings,
    ) -> Result<Node, StartError> {
        let options = self.options(listener, bootstrap, settings).await;
        let replica = Replica::new();
        let consensus = Consensus::start(options, replica.clone()).await?;
        Ok(Node { consensus, replica })
    }

    /// Starts the node again where it was, as its directory knows it.
    pub async fn restart(&self, settings: &Settings) -> Node {
        self.start(self.listen().await, Bootstrap::Existing, settings).await.unwrap()
    }
}

/// A running node.
pub struct Node {
    pub consensus: Consensus,
    pub replica: Replica,
}

impl Node {
    pub fn id(&self) -> u64 {
        self.consensus.status().node_id
    }
}

/// Places and the nodes that run there.
pub struct Cluster {
    pub settings: Settings,
    pub places: Vec<Place>,
    pub nodes: Vec<Option<Node>>,
}

impl Cluster {
    /// Founds a cluster of three.
    pub async fn of_three(settings: Settings) -> Cluster {
        Self::found(3, settings).await
    }

    pub async fn found(size: usize, settings: Settings) -> Cluster {
        let (mut places, mut listeners) = (Vec::new(), Vec::new());
        for _ in 0..size {
            let (place, listener) = Place::new().await;
            places.push(place);
            listeners.push(listener);
        }
        let list: Vec<String> = places.iter().map(|place| place.peer_addr.clone()).collect();
        let starting = places.iter().zip(listeners).map(|(place, listener)| {
            place.start(listener, Bootstrap::InitialCluster(list.clone()), &settings)
        });
        let nodes = futures::future::try_join_all(starting).await.unwrap();
        Cluster { settings, places, nodes: nodes.into_iter().map(Some).collect() }
    }

    pub fn node(&self, place: usize) -> &Node {
        self.nodes[place].as_ref().expect("the node runs")
    }

    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// The place of the node that leads and that all running nodes follow.
    pub async fn leader(&self) -> usize {
        until("all follow one leader", async || {
            let followed = |node: &Node| node.consensus.status().leader.map(|leader| leader.node_id);
            let leader = self.running().find(|node| node.consensus.status().is_leader())?;
            let all_follow = self.running().all(|node| followed(node) == Some(leader.id()));
            if !all_follow {
                return None;
            }
            self.nodes
                .iter()
                .flatten()
                .position(|node| node.id() == leader.id())
                .map(|_| self.place_of(leader.id()))
        })
        .await
    }

    pub fn place_of(&self, node_id: u64) -> usize {
        let runs_there = |node: &Option<Node>| node.as_ref().is_some_and(|node| node.id() == node_id);
        self.nodes.iter().position(runs_there).expect("the node runs")
    }

    /// The place of some node that does not lead.
    pub async fn follower(&self) -> usize {
        let leader = self.leader().await;
        (0..self.nodes.len()).find(|place| *place != leader && self.nodes[*place].is_some()).unwrap()
    }

    /// Applies through whoever leads.
    pub async fn apply(&self, payload: Bytes) -> Arc<Applied> {
        until("a record is applied", async || {
            let leader = self.leader().await;
            match self.node(leader).consensus.propose(payload.clone()).await {
                Ok(applied) => Some(applied),
                Err(ProposeError::NotLeader { .. } | ProposeError::NoQuorum) => None,
                Err(error) => panic!("{error}"),
            }
        })
        .await
    }

    /// Ends a node without a word to anyone.
    pub fn kill(&mut self, place: usize) -> u64 {
        let node = self.nodes[place].take().expect("the node runs");
        node.id()
    }

    pub async fn restart(&mut self, place: usize) {
        let node = self.places[place].restart(&self.settings).await;
        self.nodes[place] = Some(node);
    }

    /// Waits until all running nodes have applied the same, and checks that it is the same.
    pub async fn agree(&self) {
        let leader = self.leader().await;
        let target = self.node(leader).replica.revision();
        until_true("all nodes have applied everything", || {
            self.running().all(|node| node.replica.revision() >= target)
        })
        .await;
        let (revision, hash) = self.node(leader).replica.state_hash();
        assert_eq!(revision, target);
        for node in self.running() {
            assert_eq!(node.replica.state_hash(), (revision, hash), "node {}", node.id());
            assert_eq!(node.replica.read().chain(), self.node(leader).replica.read().chain());
            assert!(node.replica.read().violations().is_empty());
        }
    }

    pub async fn status_when(&self, place: usize, what: &str, condition: impl Fn(&Status) -> bool) -> Status {
        until(what, async || Some(self.node(place).consensus.status()).filter(&condition)).await
    }
}

/// Counts up, as the log does.
#[derive(Default)]
pub struct CountingMinter {
    minted: AtomicU64,
}

#[async_trait]
impl NodeIdMinter for CountingMinter {
    async fn mint(&self, _peer_addr: &str, _incarnation: Uuid) -> Result<u64, String> {
        Ok(self.minted.fetch_add(1, Ordering::SeqCst) + 1)
    }
}
