//! What a node is started with.
//!
//! What it promises: everything that reaches outside the process (disk, network, randomness) is passed in.

use std::sync::Arc;

use uuid::Uuid;

use super::bootstrap::Bootstrap;
use super::timing::{LogRetention, Timing};
use super::transport::{PeerListener, TcpTransport, Transport};
use crate::storage::{DataDir, DiskStores, Stores};

/// What a node is started with.
pub struct ConsensusOptions {
    /// Its data directory, locked.
    pub data_dir: DataDir,
    /// Where its log and snapshots are.
    pub stores: Arc<dyn Stores>,
    /// Where clients and other nodes reach its API, as `host:port`.
    pub api_addr: String,
    /// Where other nodes reach its peer port, as `host:port`; the listener must be reached under it.
    pub peer_addr: String,
    /// Its peer port.
    pub listener: Box<dyn PeerListener>,
    /// What to do when the data directory is empty; ignored when it is not.
    pub bootstrap: Bootstrap,
    /// How patient it is; the same on all nodes.
    pub timing: Timing,
    /// How much log it keeps.
    pub retention: LogRetention,
    /// How it reaches other nodes.
    pub transport: Arc<dyn Transport>,
    /// A fresh random id for a new cluster.
    pub mint_cluster_id: Arc<dyn Fn() -> Uuid + Send + Sync>,
}

impl ConsensusOptions {
    /// A node on TCP with the timing of one machine room, at the listener's own address.
    ///
    /// # Errors
    /// The listener does not know its address.
    pub fn new(
        data_dir: DataDir,
        api_addr: String,
        listener: Box<dyn PeerListener>,
        bootstrap: Bootstrap,
        mint_cluster_id: Arc<dyn Fn() -> Uuid + Send + Sync>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            data_dir,
            stores: Arc::new(DiskStores::default()),
            api_addr,
            peer_addr: listener.address()?,
            listener,
            bootstrap,
            timing: Timing::default(),
            retention: LogRetention::default(),
            transport: Arc::new(TcpTransport),
            mint_cluster_id,
        })
    }
}
