//! Everything at once: nodes die, links are cut, leadership moves, members come and go, the log is short, and clients go on
//! proposing. Whatever was acknowledged is there at the end, in the place and with the history that were acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use slotkeeper::consensus::{
    Bootstrap, Consensus, LogRetention, MemberRole, MembershipError, RequestMembership, StopReason,
};
use slotkeeper::domain::{ChainHash, Revision};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::cluster::{Cluster, CountingMinter, Place, Settings, record, session, until};
use super::switch::Switch;

/// Steps of one run.
const STEPS: usize = 24;
/// Replacements of one run: each takes a node in, gives it a vote and removes an old voter, which are three changes.
const REPLACEMENTS: usize = 12;
/// For a member that was removed to be told so.
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// Soon enough that a new node needs a snapshot to catch up.
const RETENTION: LogRetention = LogRetention { snapshot_after: 150, keep: 20, purge_batch: 1 };

/// The same sequence for the same seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound).unwrap()
    }
}

/// The nodes that clients may ask.
type Nodes = Arc<Mutex<Vec<Option<Consensus>>>>;

/// What clients were told.
type Acknowledged = Arc<Mutex<BTreeMap<Revision, ChainHash>>>;

/// Proposes to all nodes in turn until it is told to end.
async fn propose_until(
    nodes: Nodes,
    acknowledged: Acknowledged,
    (end, at): (Arc<AtomicBool>, Arc<AtomicU64>),
) {
    let mut place = 0;
    while !end.load(Ordering::SeqCst) {
        let node = {
            let nodes = nodes.lock().await;
            place %= nodes.len();
            nodes[place].clone()
        };
        let payload = record(at.fetch_add(1, Ordering::SeqCst));
        let applied = match node {
            Some(node) => node.propose(payload).await.ok(),
            None => None,
        };
        match applied {
            Some(applied) => {
                acknowledged.lock().await.insert(applied.revision, applied.chain);
            }
            None => {
                place += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
}

/// Three nodes whose links `switch` can cut; beside the cluster the settings and the peer address of each.
async fn found(switch: &Switch) -> (Cluster, Vec<Settings>, Vec<String>) {
    let (mut places, mut listeners) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (place, listener) = Place::new().await;
        places.push(place);
        listeners.push(listener);
    }
    let list: Vec<String> = places.iter().map(|place| place.peer_addr.clone()).collect();
    let settings: Vec<Settings> = list
        .iter()
        .map(|own| Settings { transport: switch.transport(own), retention: RETENTION, ..Settings::default() })
        .collect();
    let starting = places.iter().zip(listeners).zip(&settings).map(|((place, listener), settings)| {
        place.start(listener, Bootstrap::InitialCluster(list.clone()), settings)
    });
    let nodes = futures::future::try_join_all(starting).await.unwrap();
    let cluster =
        Cluster { settings: settings[0].clone(), places, nodes: nodes.into_iter().map(Some).collect() };
    (cluster, settings, list)
}

async fn churn(seed: u64) {
    let switch = Switch::default();
    let (mut cluster, settings, list) = found(&switch).await;
    cluster.apply(session(1)).await;

    let clients = Clients::start(&cluster);
    let (consensuses, acknowledged) = (&clients.nodes, &clients.acknowledged);
    let mut draw = Draw(seed);
    for _ in 0..STEPS {
        let place = draw.below(3);
        let before = acknowledged.lock().await.len();
        match draw.below(4) {
            0 | 1 => {
                consensuses.lock().await[place] = None;
                cluster.kill(place);
                if draw.below(2) == 0 {
                    // The two that are left decide; or, the other time, it is back before they noticed.
                    progress(acknowledged, before + 5).await;
                }
                let node = cluster.places[place].restart(&settings[place]).await;
                consensuses.lock().await[place] = Some(node.consensus.clone());
                cluster.nodes[place] = Some(node);
            }
            2 => {
                switch.isolate(&list[place], &list);
                progress(acknowledged, before + 5).await;
                switch.heal();
            }
            _ => {
                // Most of the time this node does not lead and refuses.
                let _ = cluster.node(place).consensus.transfer_leadership(None).await;
            }
        }
        progress(acknowledged, before + 10).await;
    }
    clients.end_and_compare(&cluster, seed).await;
}

/// Clients that propose all the time, and what they were told.
struct Clients {
    nodes: Nodes,
    acknowledged: Acknowledged,
    end: Arc<AtomicBool>,
    at: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(cluster: &Cluster) -> Self {
        let nodes = cluster.nodes.iter().flatten().map(|node| Some(node.consensus.clone())).collect();
        let nodes = Arc::new(Mutex::new(nodes));
        let acknowledged = Acknowledged::default();
        let (end, at) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(2_000)));
        let client = |_| {
            let shared = (Arc::clone(&end), Arc::clone(&at));
            tokio::spawn(propose_until(Arc::clone(&nodes), Arc::clone(&acknowledged), shared))
        };
        let tasks = (0..4).map(client).collect();
        Self { nodes, acknowledged, end, at, tasks }
    }

    async fn end_and_compare(self, cluster: &Cluster, seed: u64) {
        self.end.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.nodes.lock().await.clear();
        cluster.apply(record(self.at.load(Ordering::SeqCst))).await;
        cluster.agree().await;
        compare(cluster, &self.acknowledged, seed).await;
    }
}

/// Holds what clients were told against what every node remembers.
async fn compare(cluster: &Cluster, acknowledged: &Acknowledged, seed: u64) {
    let acknowledged = acknowledged.lock().await;
    let mut compared = 0;
    for node in cluster.running() {
        for (revision, chain) in acknowledged.iter() {
            if let Some(found) = node.replica.chain_at(*revision) {
                assert_eq!(found, *chain, "revision {revision} of node {} with seed {seed}", node.id());
                compared += 1;
            }
        }
    }
    assert!(compared > STEPS, "too little was compared: {compared} of {}", acknowledged.len());
    let last = acknowledged.last_key_value().map(|(revision, _)| *revision).unwrap();
    assert!(cluster.running().all(|node| node.replica.revision() >= last), "acknowledged records are gone");
}

/// Waits until clients have been told of this many records.
async fn progress(acknowledged: &Acknowledged, count: usize) {
    until("clients make progress", async || (acknowledged.lock().await.len() >= count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_survives_deaths_cuts_and_hand_overs() {
    for seed in [1, 2] {
        churn(seed).await;
    }
}

/// A cluster whose members are replaced while clients go on.
struct Replacing {
    cluster: Cluster,
    clients: Clients,
    minter: Arc<CountingMinter>,
    changes: usize,
}

impl Replacing {
    async fn begin() -> Self {
        let cluster = Cluster::of_three(Settings { retention: RETENTION, ..Settings::default() }).await;
        let minter = Arc::new(CountingMinter::default());
        for node in cluster.running() {
            node.consensus.set_node_id_minter(minter.clone());
        }
        cluster.apply(session(1)).await;
        let clients = Clients::start(&cluster);
        Self { cluster, clients, minter, changes: 0 }
    }

    /// Takes a new node in; whoever leads at that moment is asked.
    async fn join(&mut self) -> usize {
        let (place, listener) = Place::new().await;
        let (api_addr, peer_addr) = (place.api_addr.clone(), place.peer_addr.clone());
        let nodes = Arc::clone(&self.clients.nodes);
        let request: RequestMembership = Arc::new(move || {
            let (nodes, api_addr, peer_addr) = (Arc::clone(&nodes), api_addr.clone(), peer_addr.clone());
            Box::pin(async move {
                let nodes: Vec<Consensus> = nodes.lock().await.iter().flatten().cloned().collect();
                let mut refusal = "nobody is there".to_owned();
                for node in nodes {
                    match node.add_member(&api_addr, &peer_addr).await {
                        Ok(_) => return Ok(()),
                        Err(error) => refusal = error.to_string(),
                    }
                }
                Err(refusal)
            })
        });
        let node = place.start(listener, Bootstrap::Join(request), &self.cluster.settings).await.unwrap();
        node.consensus.set_node_id_minter(self.minter.clone());
        self.clients.nodes.lock().await.push(Some(node.consensus.clone()));
        self.cluster.places.push(place);
        self.cluster.nodes.push(Some(node));
        self.changes += 1;
        self.cluster.nodes.len() - 1
    }

    /// Makes a change through whoever leads, again while it is refused for something that passes.
    async fn change(&mut self, change: impl AsyncFn(Consensus) -> Result<(), MembershipError>) {
        until("the change is made", async || {
            let leader = self.cluster.leader().await;
            match change(self.cluster.node(leader).consensus.clone()).await {
                Err(MembershipError::UnknownMember(id)) => panic!("member {id} is not known"),
                done => done.ok(),
            }
        })
        .await;
        self.changes += 1;
    }

    async fn kill(&mut self, place: usize) {
        self.clients.nodes.lock().await[place] = None;
        self.cluster.kill(place);
    }

    /// Puts a new node in the place of an old voter, which is dead already or works to the last.
    async fn replace(&mut self, old: usize, is_dead: bool) {
        let old_id = self.cluster.node(old).id();
        let new = self.join().await;
        let new_id = self.cluster.node(new).id();
        if is_dead {
            self.kill(old).await;
        }
        self.change(async |leader| leader.promote(new_id).await.map(drop)).await;
        let removed = async |leader: Consensus| match leader.remove(old_id).await {
            // An earlier try went through although its answer was another one.
            Err(MembershipError::UnknownMember(_)) => Ok(()),
            other => other.map(drop),
        };
        self.change(removed).await;
        if !is_dead {
            let stopped = self.cluster.node(old).consensus.stopped();
            let told = tokio::time::timeout(TOLD_WITHIN, stopped).await;
            assert_eq!(told, Ok(StopReason::Removed), "a removed member is told so");
            self.kill(old).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_survives_the_replacement_of_every_member() {
    let mut replacing = Replacing::begin().await;
    let mut draw = Draw(3);
    for number in 0..REPLACEMENTS {
        let before = replacing.clients.acknowledged.lock().await.len();
        // Of the three that vote, the oldest goes at first, so that in the end all have gone; later any of them.
        let voters: Vec<usize> = (0..replacing.cluster.nodes.len())
            .filter(|place| replacing.cluster.nodes[*place].is_some())
            .collect();
        let old = if number < 3 { voters[0] } else { voters[draw.below(3)] };
        replacing.replace(old, draw.below(2) == 0).await;
        progress(&replacing.clients.acknowledged, before + 50).await;
    }
    assert_eq!(replacing.changes, 3 * REPLACEMENTS);
    let leader = replacing.cluster.leader().await;
    let status = replacing.cluster.node(leader).consensus.status();
    assert!(status.members.len() == 3 && status.members.iter().all(|(_, role)| *role == MemberRole::Voter));
    replacing.clients.end_and_compare(&replacing.cluster, 3).await;
}
