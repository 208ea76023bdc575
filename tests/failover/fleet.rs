//! A thousand TaskManagers while leaders die: nobody who reports in time is declared lost.
//!
//! The TaskManagers are light: they register, send heartbeats as often as they are told to, and hold nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::cluster::{Cluster, SETTLE};
use super::drill::turn;
use super::faults::lost_task_managers;
use super::http::Caller;
use super::processes;

const TASK_MANAGERS: usize = 1_000;
/// TaskManagers that share connections.
const LANES: usize = 20;

/// What the whole fleet shares.
#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    heartbeats: AtomicUsize,
    /// Heartbeats that were answered as to somebody who is not known any more.
    disowned: AtomicUsize,
}

/// Registers and reports until the end.
async fn live(number: usize, mut caller: Caller, shared: Arc<Shared>) {
    let id = format!("tm-{number}");
    let body = json!({"task_manager_id": id, "session_id": "only", "address": "127.0.0.1:1", "slots": 1});
    let registered = caller.write(("POST", "/v1/task-managers"), &id, &body, SETTLE).await;
    let registered = registered.expect("a registration is answered");
    assert!(registered.is_done(), "{}", registered.body);
    let pause = Duration::from_millis(registered.body["heartbeat_interval_ms"].as_u64().unwrap());
    let heartbeat = json!({"epoch": registered.body["epoch"], "generation": registered.body["generation"]});
    let path = format!("/v1/task-managers/{id}/heartbeat");
    while !shared.is_over.load(Ordering::SeqCst) {
        if let Some(answer) = caller.unkeyed("POST", &path, &heartbeat, SETTLE).await {
            let counter = if answer.is_done() { &shared.heartbeats } else { &shared.disowned };
            counter.fetch_add(1, Ordering::SeqCst);
        }
        // The pace that the cluster asked for.
        tokio::time::sleep(pause).await;
    }
}

/// Waits until so many more heartbeats were answered.
async fn wait_for_heartbeats(shared: &Shared, more: usize, cluster: &Cluster) {
    let (least, deadline) = (shared.heartbeats.load(Ordering::SeqCst) + more, Instant::now() + SETTLE);
    while shared.heartbeats.load(Ordering::SeqCst) < least {
        assert!(Instant::now() < deadline, "no heartbeats are answered\n{}", cluster.all_logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_task_managers_none_is_lost_while_leaders_die() {
    let _turn = turn().await;
    let mut cluster = Cluster::start(env!("CARGO_BIN_EXE_slotkeeper").as_ref(), 3, &[]).await;
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    // A slow machine gets to each of them in time, and a false verdict would still come while the test runs.
    let settings = json!({"heartbeat_interval": "2s", "heartbeat_timeout": "8s", "lease_grace": "1s"});
    super::drill::must(&mut caller, ("PATCH", "/v1/settings"), "settings", &settings).await;
    let shared = Arc::new(Shared::default());
    let lanes: Vec<Caller> = (0..LANES).map(|lane| Caller::new(&cluster.api_addrs(), lane)).collect();
    let mut fleet = JoinSet::new();
    for number in 0..TASK_MANAGERS {
        fleet.spawn(live(number, lanes[number % LANES].clone(), shared.clone()));
    }
    wait_for_heartbeats(&shared, TASK_MANAGERS, &cluster).await;
    for _ in 0..2 {
        let leader = cluster.leader().await;
        cluster.kill(leader);
        // As long as the next leader waits before it declares anybody lost, and longer.
        wait_for_heartbeats(&shared, 6 * TASK_MANAGERS, &cluster).await;
        cluster.start_server(leader);
        cluster.wait_until_ready(SETTLE).await;
    }
    assert_eq!(lost_task_managers(&cluster).await, 0, "{}", cluster.all_logs());
    shared.is_over.store(true, Ordering::SeqCst);
    while let Some(ended) = fleet.join_next().await {
        ended.unwrap();
    }
    assert_eq!(shared.disowned.load(Ordering::SeqCst), 0, "a TaskManager was told that it is not known");
    assert_eq!(processes::violations(&mut cluster), Vec::<String>::new());
}
