//! Failover verification with real `slotkeeper server` processes on loopback.
//!
//! Each test runs the verifying workload of `chaos/` against three servers, does one thing to them, waits until they have
//! healed, and asks for the verdict over the whole history: no slot with two owners at any revision, every acknowledged
//! allocation present or ended with a recorded reason, tokens only grew, reads never went back, equal state hashes on all
//! replicas. The workload sends a part of its writes twice under the same key, across each fault.

#[path = "../../chaos/cluster.rs"]
#[allow(dead_code)]
mod cluster;
#[path = "../../chaos/history.rs"]
mod history;
#[path = "../../chaos/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../../chaos/task_managers.rs"]
mod task_managers;
#[path = "../../chaos/verdict.rs"]
mod verdict;
#[path = "../../chaos/workload.rs"]
mod workload;

mod faults;
mod membership;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster::{Cluster, SETTLE};
use http::{Answer, Caller};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

/// One cluster at a time: three servers and a workload are enough for two cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A cluster under load.
struct Drill {
    cluster: Cluster,
    workload: JoinHandle<Result<usize, String>>,
    stop: Arc<AtomicBool>,
    report: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Drill {
    /// Starts three servers and the workload, and waits until something has been acknowledged.
    async fn begin(extra: &[&str]) -> Self {
        Self::begin_with(extra, None).await
    }

    async fn begin_with(extra: &[&str], lose_one_after: Option<Duration>) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_slotkeeper")), 3, extra).await;
        let report = cluster.folder().join("history.jsonl");
        let stop = Arc::new(AtomicBool::new(false));
        let plan = workload::Plan {
            servers: cluster.api_addrs(),
            stop: stop.clone(),
            clients: 6,
            task_managers: 6,
            lose_one_after,
            report: report.clone(),
            seed: u64::from(std::process::id()),
        };
        let workload = tokio::spawn(workload::run(plan));
        let drill = Self { cluster, workload, stop, report, _turn: turn };
        drill.wait_for_acknowledgements(50).await;
        drill
    }

    /// Waits until so many more operations have been acknowledged.
    async fn wait_for_acknowledgements(&self, more: usize) {
        let lines = || history::load(&self.report).map_or(0, |lines| lines.len());
        let (deadline, least) = (Instant::now() + SETTLE, lines() + more);
        while lines() < least {
            assert!(!self.workload.is_finished(), "the workload ended early\n{}", self.cluster.all_logs());
            assert!(Instant::now() < deadline, "nothing is acknowledged\n{}", self.cluster.all_logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the cluster is whole and serves, ends the workload and asserts a clean verdict.
    async fn end(self) -> Cluster {
        self.cluster.wait_until_ready(SETTLE).await;
        self.wait_for_acknowledgements(100).await;
        let Self { cluster, workload, stop, report, _turn } = self;
        stop.store(true, Ordering::SeqCst);
        let live = workload.await.expect("the workload does not panic");
        let logs = || cluster.all_logs();
        let live = live.unwrap_or_else(|why| panic!("the run is invalid: {why}\n{}", logs()));
        let verdict = verdict::judge(&cluster.api_addrs(), &report).await;
        let verdict = verdict.unwrap_or_else(|why| panic!("no verdict: {why}\n{}", logs()));
        println!("{:?}", verdict.counts);
        assert!(verdict.violations.is_empty() && live == 0, "{:#?}\n{}", verdict.violations, logs());
        cluster
    }
}

/// A write that must succeed.
async fn must(caller: &mut Caller, call: (&str, &str), key: &str, body: &serde_json::Value) -> Answer {
    let answer = caller.write(call, key, body, SETTLE).await;
    let answer = answer.unwrap_or_else(|| panic!("{call:?} has no answer"));
    assert!(answer.is_done(), "{call:?}: {} {}", answer.status, answer.body);
    answer
}

/// The `/v1/cluster` document as one server sees it.
async fn cluster_document(caller: &mut Caller) -> serde_json::Value {
    caller.read("/v1/cluster", SETTLE).await.map_or(json!(null), |answer| answer.body)
}
