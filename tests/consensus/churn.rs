//! Everything at once: nodes die, links are cut, leadership moves, the log is short, and clients go on proposing.
//! Whatever was acknowledged is there at the end, in the place and with the history that were acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use slotkeeper::consensus::{Bootstrap, Consensus, LogRetention};
use slotkeeper::domain::{ChainHash, Revision};
use tokio::sync::Mutex;

use super::cluster::{Cluster, Place, Settings, record, session, until};
use super::switch::Switch;

/// Steps of one run.
const STEPS: usize = 24;

/// The same sequence for the same seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound).unwrap()
    }
}

/// What clients were told.
type Acknowledged = Arc<Mutex<BTreeMap<Revision, ChainHash>>>;

/// Proposes to all nodes in turn until it is told to end.
async fn propose_until(
    nodes: Arc<Mutex<Vec<Option<Consensus>>>>,
    acknowledged: Acknowledged,
    (end, at): (Arc<AtomicBool>, Arc<AtomicU64>),
) {
    let mut place = 0;
    while !end.load(Ordering::SeqCst) {
        let node = nodes.lock().await[place].clone();
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
                place = (place + 1) % 3;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
}

/// Three nodes whose links `switch` can cut; beside the cluster the settings and the peer address of each.
async fn found(switch: &Switch) -> (Cluster, Vec<Settings>, Vec<String>) {
    let retention = LogRetention { snapshot_after: 150, keep: 20, purge_batch: 1 };
    let (mut places, mut listeners) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (place, listener) = Place::new().await;
        places.push(place);
        listeners.push(listener);
    }
    let list: Vec<String> = places.iter().map(|place| place.peer_addr.clone()).collect();
    let settings: Vec<Settings> = list
        .iter()
        .map(|own| Settings { transport: switch.transport(own), retention, ..Settings::default() })
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

    let consensuses = cluster.nodes.iter().flatten().map(|node| Some(node.consensus.clone())).collect();
    let consensuses = Arc::new(Mutex::new(consensuses));
    let acknowledged = Acknowledged::default();
    let (end, at) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(2_000)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let shared = (Arc::clone(&end), Arc::clone(&at));
            tokio::spawn(propose_until(Arc::clone(&consensuses), Arc::clone(&acknowledged), shared))
        })
        .collect();

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
                    progress(&acknowledged, before + 5).await;
                }
                let node = cluster.places[place].restart(&settings[place]).await;
                consensuses.lock().await[place] = Some(node.consensus.clone());
                cluster.nodes[place] = Some(node);
            }
            2 => {
                switch.isolate(&list[place], &list);
                progress(&acknowledged, before + 5).await;
                switch.heal();
            }
            _ => {
                // Most of the time this node does not lead and refuses.
                let _ = cluster.node(place).consensus.transfer_leadership(None).await;
            }
        }
        progress(&acknowledged, before + 10).await;
    }
    end.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    consensuses.lock().await.clear();
    cluster.apply(record(at.load(Ordering::SeqCst))).await;
    cluster.agree().await;
    compare(&cluster, &acknowledged, seed).await;
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
