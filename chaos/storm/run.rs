//! One storm from beginning to end.
//!
//! What it promises: faults are a shuffled deck, so that every kind that was asked for comes before one comes twice; the
//! run lasts until its time is over and the deck was dealt once; then comes a calm; at the end everything is healed,
//! everything is read, and the replicas are compared. What it must not do: take a run that shows too little for a pass.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::clients::{Client, Shared};
use super::faults::{FaultKind, Scene};
use super::leaders::Leaders;
use super::network::Network;
use super::parts;
use super::service::{Dealt, Service};
use crate::cluster::{Cluster, Ground, SETTLE};
use crate::history::Recorder;
use crate::http::Caller;
use crate::linear::check::check;
use crate::linear::operation::{self, HistoryWriter};
use crate::verdict::{self, Verdict};

/// Leader changes without which a storm with faults shows too little.
const LEADER_CHANGES_MIN: usize = 2;
/// Completed operations without which it does.
const COMPLETED_MIN: usize = 2_000;
const COMPLETED_IN_FAULT_MIN: usize = 300;
/// How long nothing happens after the last fault, and how many terms may begin meanwhile.
const CALM: Duration = Duration::from_secs(10);
const TERMS_IN_CALM_MAX: u64 = 3;

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server's program.
    pub binary: PathBuf,
    /// What the namespaces are called before their number.
    pub namespaces: String,
    /// How many servers.
    pub servers: usize,
    /// Namespaces beyond those, for servers that join.
    pub spares: usize,
    /// How many clients, and on how many parts.
    pub clients: u16,
    /// Parts.
    pub parts: u16,
    /// How long at least.
    pub duration: Duration,
    /// Which faults; each comes at least once.
    pub faults: Vec<FaultKind>,
    /// How long no write may be acknowledged during a fault, where a majority is left, and after it ended.
    pub service_within: Duration,
    /// Asks for reads that may be stale, to see that the check finds them.
    pub stale_reads: bool,
    /// Seed of faults and clients.
    pub seed: u64,
    /// Where history and logs go.
    pub folder: PathBuf,
}

/// What a storm came to.
#[derive(Debug, Default)]
pub struct Result {
    /// What must never happen and did.
    pub violations: Vec<String>,
    /// Why the run shows too little, or could not be finished.
    pub shortfalls: Vec<String>,
    /// The figures, in one line.
    pub summary: String,
}

/// Runs a storm. `Err` is an invalid run.
pub async fn run(plan: Plan) -> std::result::Result<Result, String> {
    let network = Network { namespaces: plan.namespaces.clone(), host: "10.77.0.".to_owned() };
    let ground = Ground { host: network.host.clone(), namespaces: Some(plan.namespaces.clone()) };
    let mut cluster = Cluster::start_on(ground, &plan.binary, plan.servers, &["--log", "info"]).await;
    cluster.keep_folder();
    let addresses: Vec<String> =
        (0..plan.servers + plan.spares).map(|number| format!("{}:7400", network.address(number))).collect();
    let shared = Arc::new(shared(&plan, addresses)?);
    let recorder = Arc::new(Recorder::create(&plan.folder.join("fleet.jsonl")).map_err(|e| e.to_string())?);
    let over = Arc::new(AtomicBool::new(false));
    let fleet = parts::prepare(&shared.servers, &shared.setting, &recorder, &over).await?;
    let leaders = Arc::new(Leaders::default());
    let watched = (leaders.clone(), shared.servers.clone());
    let watch = tokio::spawn(async move { watched.0.watch(&watched.1).await });
    let clients: Vec<_> =
        (0..plan.clients).map(|number| tokio::spawn(Client::new(&shared, number).run())).collect();

    let random = StdRng::seed_from_u64(plan.seed);
    let mut scene = Scene { cluster, network, random, spares: plan.spares };
    let dealt = deal(&plan, &mut scene, &shared).await?;
    let term = leaders.newest_term();
    // A quiet time is what is looked at here, not a wait for anything.
    tokio::time::sleep(CALM).await;
    let terms_in_calm = leaders.newest_term() - term;
    shared.stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.map_err(|error| format!("a client ended badly: {error}"))?;
    }
    Client::new(&shared, plan.clients).read_all().await?;
    over.store(true, Ordering::SeqCst);
    let fleet_violations = fleet.finish().await;
    watch.abort();

    let mut result = Result::default();
    if fleet_violations > 0 {
        result.violations.push(format!("TaskManagers saw {fleet_violations} violations, see fleet.jsonl"));
    }
    compare_replicas(&scene.cluster, &mut result).await?;
    result.violations.extend(panics(&scene.cluster));
    result.violations.extend(leaders.conflicts());
    if terms_in_calm > TERMS_IN_CALM_MAX {
        result.violations.push(format!("{terms_in_calm} terms began in {CALM:?} without a fault"));
    }
    result.violations.append(&mut shared.violations.lock().expect("the clients have ended"));
    shared.history.flush().map_err(|error| error.to_string())?;
    judge(&plan, &dealt, &leaders, &mut result)?;
    Ok(result)
}

fn shared(plan: &Plan, servers: Vec<String>) -> std::result::Result<Shared, String> {
    let setting = parts::setting(plan.parts);
    let history = HistoryWriter::create(&plan.folder.join("history.jsonl"), &setting);
    Ok(Shared {
        servers,
        seed: plan.seed,
        history: history.map_err(|error| format!("the history can not be written: {error}"))?,
        stale_reads: plan.stale_reads,
        stop: AtomicBool::new(false),
        in_fault: AtomicBool::new(false),
        known: (0..plan.parts).map(|_| Mutex::default()).collect(),
        violations: Mutex::default(),
        setting,
    })
}

/// Deals faults until the time is over and each kind has come.
async fn deal(plan: &Plan, scene: &mut Scene, shared: &Shared) -> std::result::Result<Vec<Dealt>, String> {
    let until = Instant::now() + plan.duration;
    let mut dealt: Vec<Dealt> = Vec::new();
    let mut deck = Vec::new();
    while Instant::now() < until || !plan.faults.iter().all(|kind| has_come(*kind, &dealt)) {
        let pause = scene.random.random_range(300..1_500);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if deck.is_empty() {
            deck = plan.faults.clone();
            deck.shuffle(&mut scene.random);
        }
        let Some(kind) = deck.pop() else { continue };
        if kind == FaultKind::Replace && scene.spares == 0 {
            continue;
        }
        let began_ns = shared.history.now_ns();
        shared.in_fault.store(true, Ordering::SeqCst);
        let evidence = scene.happen(kind).await.map_err(|why| format!("{kind:?}: {why}"))?;
        shared.in_fault.store(false, Ordering::SeqCst);
        let ended_ns = shared.history.now_ns();
        tracing::info!(at_ms = ended_ns / 1_000_000, "{kind:?}: {evidence}");
        dealt.push(Dealt { kind, began_ns, ended_ns });
        scene.cluster.wait_until_ready(SETTLE).await;
        for number in scene.cluster.running() {
            if scene.cluster.has_ended(number) {
                return Err(format!("server {number} ended by itself:\n{}", scene.cluster.log_tail(number)));
            }
        }
    }
    Ok(dealt)
}

fn has_come(kind: FaultKind, dealt: &[Dealt]) -> bool {
    dealt.iter().any(|fault| fault.kind == kind)
}

async fn compare_replicas(cluster: &Cluster, result: &mut Result) -> std::result::Result<(), String> {
    let servers = cluster.api_addrs();
    let mut verdict = Verdict::default();
    verdict::check_replicas(&mut Caller::new(&servers, 0), &servers, &mut verdict).await?;
    result.violations.append(&mut verdict.violations);
    Ok(())
}

/// Nothing here makes a server panic on purpose.
fn panics(cluster: &Cluster) -> Vec<String> {
    let panicked = |number: &usize| cluster.log(*number).contains("panicked at");
    (0..cluster.servers.len())
        .filter(panicked)
        .map(|number| format!("server {number} panicked:\n{}", cluster.log_tail(number)))
        .collect()
}

/// Checks the history, and whether the run shows enough.
fn judge(
    plan: &Plan,
    dealt: &[Dealt],
    leaders: &Leaders,
    result: &mut Result,
) -> std::result::Result<(), String> {
    let (setting, operations) = operation::load(&plan.folder.join("history.jsonl"))?;
    let service = Service::of(dealt, &operations);
    let bar_ms = u64::try_from(plan.service_within.as_millis()).unwrap_or(u64::MAX);
    result.violations.extend(service.longer_than(bar_ms));
    let mut report = check(&setting, operations);
    result.violations.append(&mut report.violations);
    let counts = &report.counts;
    let shortfalls = &mut result.shortfalls;
    for part in &report.undecided {
        shortfalls.push(format!("the search in part {part} reached its limit: that is no pass"));
    }
    if counts.done + counts.refused < COMPLETED_MIN {
        shortfalls.push(format!("fewer than {COMPLETED_MIN} operations were completed"));
    }
    if !plan.faults.is_empty() {
        if counts.in_fault < COMPLETED_IN_FAULT_MIN {
            shortfalls.push(format!("fewer than {COMPLETED_IN_FAULT_MIN} operations came during faults"));
        }
        if leaders.changes() < LEADER_CHANGES_MIN {
            shortfalls.push(format!("fewer than {LEADER_CHANGES_MIN} leader changes were seen"));
        }
    }
    for kind in plan.faults.iter().filter(|kind| !has_come(**kind, dealt)) {
        shortfalls.push(format!("the fault {kind:?} did not come"));
    }
    result.summary = format!(
        "{counts}; {} leader changes; {}; faults: {}",
        leaders.changes(),
        service.summary(),
        times(dealt)
    );
    Ok(())
}

/// How often each kind came.
fn times(dealt: &[Dealt]) -> String {
    let mut times = BTreeMap::<FaultKind, usize>::new();
    for fault in dealt {
        *times.entry(fault.kind).or_default() += 1;
    }
    let faults: Vec<String> = times.iter().map(|(kind, times)| format!("{kind:?} {times}")).collect();
    faults.join(", ")
}
