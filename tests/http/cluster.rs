//! Some nodes in one process: each has its own server, leader and replica; the log between them is in memory.
//!
//! Who leads and whether there is a quorum is set by the test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use slotkeeper::clock::SystemClock;
use slotkeeper::domain::{Applied, ClusterId};
use slotkeeper::http::{
    BarrierFailure, ClusterMember, ClusterPicture, ClusterView, HttpOptions, MemberReport, MembershipFailure,
    Services,
};
use slotkeeper::leader::{
    BarrierFailed, Leader, LeaderAddress, LeaderOptions, LeaderSeams, Leadership, Log, NodeIdentity,
    ProposalError,
};
use slotkeeper::replica::Replica;
use slotkeeper::scheduler::Registry;
use slotkeeper::telemetry::Metrics;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::api::Api;

/// What the nodes share.
pub struct Shared {
    replicas: Vec<Replica>,
    addresses: Vec<SocketAddr>,
    leadership: Vec<watch::Sender<Leadership>>,
    rule: Mutex<Rule>,
    is_poisoned: AtomicBool,
    /// Whether what the log has taken is not told yet.
    is_held: watch::Sender<bool>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Rule {
    leader: Option<usize>,
    term: u64,
    /// Whether the leader reaches a quorum.
    is_cut_off: bool,
}

impl Shared {
    fn rule(&self) -> Rule {
        *self.rule.lock().unwrap()
    }

    fn leads(&self, index: usize) -> bool {
        let rule = self.rule();
        rule.leader == Some(index) && !rule.is_cut_off
    }

    fn address(&self, index: usize) -> LeaderAddress {
        LeaderAddress { node_id: node_id(index), api_addr: self.addresses[index].to_string() }
    }

    fn member(&self, index: usize) -> ClusterMember {
        let api_addr = self.addresses[index].to_string();
        ClusterMember { node_id: node_id(index), peer_addr: api_addr.clone(), api_addr, is_voter: true }
    }

    fn position(&self, node_id: u64) -> Result<usize, MembershipFailure> {
        let index = usize::try_from(node_id).unwrap_or(0).wrapping_sub(1);
        if index < self.addresses.len() { Ok(index) } else { Err(MembershipFailure::UnknownMember(node_id)) }
    }

    /// Makes node `index` the leader, or nobody, and tells every node.
    pub fn elect(&self, leader: Option<usize>) {
        let term = {
            let mut rule = self.rule.lock().unwrap();
            *rule = Rule { leader, term: rule.term + 1, is_cut_off: false };
            rule.term
        };
        for (index, sender) in self.leadership.iter().enumerate() {
            let term = (leader == Some(index)).then_some(term);
            sender.send_replace(Leadership { term, leader: leader.map(|leader| self.address(leader)) });
        }
    }

    /// Takes the quorum away from the leader, without a word to anybody.
    pub fn cut_off_leader(&self) {
        self.rule.lock().unwrap().is_cut_off = true;
    }

    /// Whether looking at the cluster panics.
    pub fn poison(&self, is_poisoned: bool) {
        self.is_poisoned.store(is_poisoned, Ordering::Relaxed);
    }

    /// Whether the log keeps to itself what it has taken, as one whose disk is slow does.
    pub fn hold(&self, is_held: bool) {
        self.is_held.send_replace(is_held);
    }

    /// Tells node `index` alone that `leader` leads.
    pub fn mislead(&self, index: usize, leader: Option<LeaderAddress>) {
        self.leadership[index].send_replace(Leadership { term: None, leader });
    }
}

fn node_id(index: usize) -> u64 {
    u64::try_from(index).unwrap() + 1
}

/// The log and the cluster as node `index` sees them.
#[derive(Clone)]
struct NodeView {
    shared: Arc<Shared>,
    index: usize,
}

impl Log for NodeView {
    fn propose(&self, payload: Bytes) -> BoxFuture<'static, Result<Arc<Applied>, ProposalError>> {
        let rule = self.shared.rule.lock().unwrap();
        let result = if rule.leader == Some(self.index) && !rule.is_cut_off {
            let applied = self.shared.replicas.iter().map(|replica| replica.apply(&payload).unwrap());
            Ok(applied.collect::<Vec<_>>().swap_remove(self.index))
        } else {
            Err(ProposalError::NotTaken("it does not lead".to_owned()))
        };
        let mut held = self.shared.is_held.subscribe();
        async move {
            held.wait_for(|is_held| !is_held).await.expect("the log outlives its callers");
            result
        }
        .boxed()
    }

    fn read_barrier(&self) -> BoxFuture<'static, Result<(), BarrierFailed>> {
        let leads = self.shared.leads(self.index);
        async move { if leads { Ok(()) } else { Err(BarrierFailed("it does not lead".to_owned())) } }.boxed()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.leadership[self.index].subscribe()
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity { cluster: ClusterId(Uuid::from_u128(1 << 64)), node_id: node_id(self.index) })
    }
}

#[async_trait]
impl ClusterView for NodeView {
    fn node_id(&self) -> u64 {
        node_id(self.index)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        Log::leadership(self)
    }

    fn hears_leader(&self) -> bool {
        !self.shared.rule().is_cut_off
    }

    fn picture(&self) -> ClusterPicture {
        assert!(!self.shared.is_poisoned.load(Ordering::Relaxed), "this look at the cluster was poisoned");
        let rule = self.shared.rule();
        ClusterPicture {
            cluster_id: Some(ClusterId(Uuid::from_u128(1 << 64))),
            term: rule.term,
            leader_id: rule.leader.map(node_id),
            is_candidate: false,
            members: (0..self.shared.addresses.len()).map(|index| self.shared.member(index)).collect(),
        }
    }

    async fn recovered(&self) -> Result<(), BarrierFailure> {
        Ok(())
    }

    async fn read_barrier(&self) -> Result<(), BarrierFailure> {
        match self.shared.rule() {
            Rule { leader: Some(leader), is_cut_off: false, .. } if leader == self.index => Ok(()),
            Rule { leader: Some(leader), .. } if leader == self.index => Err(BarrierFailure::NoQuorum),
            _ => Err(BarrierFailure::NotLeader),
        }
    }

    async fn reports(&self) -> BTreeMap<u64, MemberReport> {
        let report = |replica: &Replica| {
            let (revision, state_hash) = replica.state_hash();
            MemberReport { applied_index: revision.0, last_log_index: revision.0, revision, state_hash }
        };
        self.shared
            .replicas
            .iter()
            .enumerate()
            .map(|(index, replica)| (node_id(index), report(replica)))
            .collect()
    }

    async fn add_member(&self, api_addr: &str, peer_addr: &str) -> Result<ClusterMember, MembershipFailure> {
        let (api_addr, peer_addr) = (api_addr.to_owned(), peer_addr.to_owned());
        Ok(ClusterMember { node_id: 9, api_addr, peer_addr, is_voter: false })
    }

    async fn promote(&self, node_id: u64) -> Result<ClusterMember, MembershipFailure> {
        self.shared.position(node_id)?;
        Err(MembershipFailure::Conflict(format!("member {node_id} is 5000 entries behind")))
    }

    async fn remove(&self, node_id: u64) -> Result<ClusterMember, MembershipFailure> {
        self.shared.position(node_id).map(|index| self.shared.member(index))
    }

    async fn transfer_leadership(&self, to: Option<u64>) -> Result<LeaderAddress, MembershipFailure> {
        let next = match to {
            Some(node_id) => self.shared.position(node_id)?,
            None => (self.index + 1) % self.shared.addresses.len(),
        };
        self.shared.elect(Some(next));
        Ok(self.shared.address(next))
    }
}

/// Nodes that serve until this is dropped.
pub struct Cluster {
    pub shared: Arc<Shared>,
    leaders: Vec<Leader>,
    stopping: CancellationToken,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.leaders.iter().for_each(Leader::stop);
    }
}

impl Cluster {
    /// One node that leads, with the default options.
    pub async fn single() -> Self {
        Self::start(1, HttpOptions::default()).await
    }

    /// `count` nodes, the first of which leads.
    pub async fn start(count: usize, options: HttpOptions) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let shared = Arc::new(Shared {
            replicas: (0..count).map(|_| Replica::new()).collect(),
            addresses: listeners.iter().map(|listener| listener.local_addr().unwrap()).collect(),
            leadership: (0..count).map(|_| watch::channel(Leadership::default()).0).collect(),
            rule: Mutex::default(),
            is_poisoned: AtomicBool::new(false),
            is_held: watch::Sender::new(false),
        });
        let stopping = CancellationToken::new();
        let mut leaders = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let services = services(NodeView { shared: shared.clone(), index });
            leaders.push(services.leader.clone());
            tokio::spawn(slotkeeper::http::serve(listener, services, options.clone(), stopping.clone()));
        }
        let cluster = Self { shared, leaders, stopping };
        cluster.elect(Some(0)).await;
        cluster
    }

    /// Makes node `index` the leader and waits until it serves.
    pub async fn elect(&self, leader: Option<usize>) {
        self.shared.elect(leader);
        if let Some(leader) = leader {
            let serves = tokio::time::timeout(Duration::from_secs(10), self.leaders[leader].serving());
            serves.await.expect("the new leader serves");
        }
    }

    /// Says whether the disk of node `index` is full.
    pub fn note_disk_full(&self, index: usize, is_full: bool) {
        self.leaders[index].note_disk_full(is_full);
    }

    /// The API of node `index`.
    pub fn api(&self, index: usize) -> Api {
        Api::new(self.shared.addresses[index])
    }

    pub fn address(&self, index: usize) -> SocketAddr {
        self.shared.addresses[index]
    }

    pub fn replica(&self, index: usize) -> &Replica {
        &self.shared.replicas[index]
    }

    /// Tells the servers to stop, as a signal would.
    pub fn stop(&self) {
        self.stopping.cancel();
    }
}

fn services(view: NodeView) -> Services {
    let replica = view.shared.replicas[view.index].clone();
    let (metrics, clock) = (Metrics::new(), Arc::new(SystemClock));
    let seams = LeaderSeams {
        log: Arc::new(view.clone()),
        replica: replica.clone(),
        clock: clock.clone(),
        strategies: Registry::default(),
        metrics: metrics.clone(),
    };
    let (leader, _) = Leader::start(seams, LeaderOptions::default());
    Services { leader, replica, cluster: Arc::new(view), metrics, clock }
}
