//! One node of the cluster simulation: the engine, the adapters and the leader of the product on a simulated machine.

use std::sync::{Arc, Mutex};

use futures::FutureExt;
use slotkeeper::consensus::{
    Bootstrap, Consensus, ConsensusOptions, LogRetention, StartError, StopReason, Timing,
};
use slotkeeper::leader::{ConsensusLog, Leader, LeaderFault, LeaderOptions, LeaderSeams, LogMinter};
use slotkeeper::replica::Replica;
use slotkeeper::scheduler::Registry;
use slotkeeper::storage::{DataDir, DataDirOptions, Disk, RealDisk};
use slotkeeper::telemetry::Metrics;
use tempfile::TempDir;
use uuid::Uuid;

use crate::calls::{Server, api_addr};
use crate::disk::SimulatedDisk;
use crate::machine::Machine;
use crate::network::{Network, peer_addr};

/// What stays of a node when it crashes.
pub struct Place {
    pub number: usize,
    _directory: TempDir,
    /// Held for as long as the run: a crash does not take back the lock of what the crashed process leaks.
    data_dir: DataDir,
    pub disk: SimulatedDisk,
}

/// A node that is starting.
pub struct Booting {
    pub machine: Machine,
    replica: Replica,
    started: Arc<Mutex<Option<Result<Consensus, StartError>>>>,
}

/// A node whose engine runs.
pub struct Running {
    pub consensus: Consensus,
    pub ending: Arc<Mutex<Option<Ending>>>,
}

/// Why a node ends itself.
#[derive(Debug)]
pub enum Ending {
    Stopped(StopReason),
    Fault(LeaderFault),
}

/// The identity is a file; making it durable would only take time.
#[derive(Debug)]
struct WithoutSync;

impl Disk for WithoutSync {
    fn write_at(
        &self,
        file: &std::fs::File,
        path: &std::path::Path,
        offset: u64,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        RealDisk.write_at(file, path, offset, bytes)
    }

    fn sync_data(&self, _file: &std::fs::File, _path: &std::path::Path) -> std::io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, _path: &std::path::Path) -> std::io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &std::path::Path) -> std::io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn free_bytes(&self, _path: &std::path::Path) -> std::io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// What all nodes of a cluster are started with.
#[derive(Clone)]
pub struct Founding {
    /// The peer addresses of the first members.
    pub list: Vec<String>,
    pub timing: Timing,
    pub retention: LogRetention,
}

impl Founding {
    /// A first member founds; who comes later waits until the operator has it taken in.
    fn bootstrap(&self, number: usize) -> Bootstrap {
        match number < self.list.len() {
            true => Bootstrap::InitialCluster(self.list.clone()),
            false => Bootstrap::Join(Arc::new(|| std::future::ready(Ok(())).boxed())),
        }
    }
}

impl Place {
    pub fn new(number: usize, disk: SimulatedDisk) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = DataDirOptions::new(Uuid::new_v4);
        options.disk = Arc::new(WithoutSync);
        options.free_space_floor_bytes = Some(0);
        let data_dir = DataDir::open(directory.path().join("data"), options).unwrap();
        Self { number, _directory: directory, data_dir, disk }
    }

    /// Switches the machine on and begins to start the node.
    pub fn boot(&self, machine: Machine, network: &Network, founding: &Founding) -> Booting {
        let options = ConsensusOptions {
            data_dir: self.data_dir.clone(),
            stores: Arc::new(self.disk.clone()),
            api_addr: api_addr(self.number),
            peer_addr: peer_addr(self.number),
            listener: network.listen(self.number),
            bootstrap: founding.bootstrap(self.number),
            timing: founding.timing,
            retention: founding.retention,
            transport: network.at(self.number),
            mint_cluster_id: Arc::new(Uuid::new_v4),
        };
        let (replica, started) = (Replica::new(), Arc::new(Mutex::new(None)));
        let (starting, outcome) = (replica.clone(), Arc::clone(&started));
        machine.spawn(async move {
            let result = Consensus::start(options, starting).await;
            *outcome.lock().unwrap() = Some(result);
        });
        Booting { machine, replica, started }
    }
}

impl Booting {
    /// Runs for a millisecond.
    pub fn step(&self, now_ms: u64) {
        self.machine.step(now_ms);
    }

    /// Whether the engine runs, or the node could not start.
    pub fn started(&self) -> Option<Result<Consensus, StartError>> {
        self.started.lock().unwrap().take()
    }

    /// Wires the leader to the engine, as the program does.
    pub fn serve(self, consensus: Consensus, options: LeaderOptions) -> (Server, Running) {
        let Self { machine, replica, .. } = self;
        let ending = Arc::new(Mutex::new(None));
        let (leader, log) = machine.within(|| {
            let log = ConsensusLog::new(consensus.clone());
            let seams = LeaderSeams {
                log: log.clone(),
                replica: replica.clone(),
                clock: machine.clock(),
                strategies: Registry::default(),
                metrics: Metrics::new(),
            };
            let (leader, _task) = Leader::start(seams, options);
            consensus.set_node_id_minter(LogMinter::new(&leader));
            (leader, log)
        });
        let (watched, watching, noted) = (consensus.clone(), leader.clone(), Arc::clone(&ending));
        machine.spawn(async move {
            let ended = tokio::select! {
                reason = watched.stopped() => Ending::Stopped(reason),
                fault = watching.fault() => Ending::Fault(fault),
            };
            *noted.lock().unwrap() = Some(ended);
        });
        let server = Server { machine, leader, replica, log, consensus: Some(consensus.clone()) };
        (server, Running { consensus, ending })
    }
}
