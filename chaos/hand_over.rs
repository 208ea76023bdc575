//! Measures what clients of the typed client notice of leadership that is handed over on purpose.
//!
//! What it promises: every client allocates and releases through `slotkeeper::client` with its defaults, so a call fails only
//! when the client gave up; the gap of a hand-over is the longest time in which no call of any client succeeded, from just before
//! the order until service is as it was. What it must not do: count a call as failed that the client repeated by itself.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slotkeeper::api::allocations::AllocationRequest;
use slotkeeper::api::jobs::PutJob;
use slotkeeper::client::{Client, ClientError, ClientOptions, Seams};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, SETTLE};
use crate::http::Caller;

const JOB: &str = "hand-over-job";
/// Slots of the one TaskManager; more than clients hold at once.
const SLOTS: usize = 1_024;
/// How long it is looked after an order was carried out.
const AFTER: Duration = Duration::from_secs(1);
/// Failures whose text is kept.
const TEXTS_MAX: usize = 5;

/// What all clients have seen.
struct Seen {
    last: Instant,
    longest_gap: Duration,
    longest_call: Duration,
    done: u64,
    failed: u64,
    texts: Vec<String>,
}

type Shared = Arc<Mutex<Seen>>;

/// Hands leadership over `runs` times while `clients` work, and gives what they saw.
pub async fn run(binary: &Path, runs: usize, clients: usize) -> Result<Value, String> {
    if clients == 0 || clients > SLOTS {
        return Err(format!("1 to {SLOTS} clients"));
    }
    let cluster = Cluster::start(binary, 3, &["--log", "warn"]).await;
    let admin = client_of(&cluster)?;
    prepare(&cluster, &admin).await?;
    let now = Instant::now();
    let seen = Arc::new(Mutex::new(Seen {
        last: now,
        longest_gap: Duration::ZERO,
        longest_call: Duration::ZERO,
        done: 0,
        failed: 0,
        texts: Vec::new(),
    }));
    let stop = Arc::new(AtomicBool::new(false));
    let mut working = JoinSet::new();
    for _ in 0..clients {
        working.spawn(work(client_of(&cluster)?, Arc::clone(&seen), Arc::clone(&stop)));
    }
    let (mut gaps_ms, mut calls_ms) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let (gap, call) = hand_over(&admin, &seen).await?;
        gaps_ms.push(gap.as_secs_f64() * 1e3);
        calls_ms.push(call.as_secs_f64() * 1e3);
    }
    stop.store(true, Ordering::Relaxed);
    while working.join_next().await.is_some() {}
    Ok(report(&gaps_ms, &calls_ms, &lock(&seen)))
}

fn lock(seen: &Shared) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn client_of(cluster: &Cluster) -> Result<Client, String> {
    let seams = Seams::new(Instant::now, rand::random);
    Client::new(ClientOptions::new(cluster.api_addrs()), seams).map_err(|error| error.to_string())
}

async fn prepare(cluster: &Cluster, admin: &Client) -> Result<(), String> {
    let task_manager = json!({
        "task_manager_id": "hand-over-tm", "session_id": "one", "address": "127.0.0.1:1", "slots": SLOTS,
    });
    let settings = json!({"heartbeat_timeout": "1h"});
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    for (method, path, body) in
        [("PATCH", "/v1/settings", &settings), ("POST", "/v1/task-managers", &task_manager)]
    {
        let answer = caller.write((method, path), &format!("prepare-{path}"), body, SETTLE).await;
        let answer = answer.ok_or_else(|| format!("{method} {path} has no answer"))?;
        if !answer.is_done() {
            return Err(format!("{method} {path}: {} {}", answer.status, answer.body));
        }
    }
    admin.put_job(JOB, &PutJob::default()).await.map(drop).map_err(|error| error.to_string())
}

/// Allocates and releases until it is stopped.
async fn work(client: Client, seen: Shared, stop: Arc<AtomicBool>) {
    let request = AllocationRequest { slots: 1, ..AllocationRequest::default() };
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let granted = client.allocate(JOB, &request).await;
        count(&seen, begun, &granted);
        let Some(slot) = granted.ok().and_then(|granted| granted.allocations.into_iter().next()) else {
            continue;
        };
        let begun = Instant::now();
        count(&seen, begun, &client.release_one(JOB, &slot.allocation_id.to_string()).await);
    }
}

fn count<T>(seen: &Shared, begun: Instant, called: &Result<T, ClientError>) {
    let (mut seen, now) = (lock(seen), Instant::now());
    seen.longest_call = seen.longest_call.max(now - begun);
    match called {
        Ok(_) => {
            seen.longest_gap = seen.longest_gap.max(now.saturating_duration_since(seen.last));
            seen.last = seen.last.max(now);
            seen.done += 1;
        }
        Err(error) => {
            seen.failed += 1;
            if seen.texts.len() < TEXTS_MAX {
                seen.texts.push(error.to_string());
            }
        }
    }
}

/// One hand-over: the longest gap and the longest call around it.
async fn hand_over(admin: &Client, seen: &Shared) -> Result<(Duration, Duration), String> {
    tokio::time::sleep(AFTER).await;
    {
        let mut seen = lock(seen);
        (seen.longest_gap, seen.longest_call) = (Duration::ZERO, Duration::ZERO);
    }
    let before = admin.cluster().await.map_err(|error| error.to_string())?.leader_id;
    let after = admin.transfer_leadership(None).await.map_err(|error| error.to_string())?.leader_id;
    if before == Some(after) {
        return Err(format!("node {after} leads after the hand-over as before"));
    }
    tokio::time::sleep(AFTER).await;
    let seen = lock(seen);
    // A silence that lasts on counts as far as it has come.
    Ok((seen.longest_gap.max(seen.last.elapsed()), seen.longest_call))
}

fn report(gaps_ms: &[f64], calls_ms: &[f64], seen: &Seen) -> Value {
    let mut sorted = gaps_ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    json!({
        "gaps_ms": gaps_ms,
        "gap_ms_median": sorted.get(sorted.len() / 2),
        "gap_ms_max": sorted.last(),
        "call_ms_max": calls_ms.iter().copied().fold(0.0, f64::max),
        "done": seen.done,
        "failed": seen.failed,
        "failures": seen.texts,
    })
}
