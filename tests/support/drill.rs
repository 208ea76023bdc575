//! A drill: three real servers under the verifying workload of `chaos/`, one thing that happens to them, and the verdict.
//!
//! What it promises: the verdict is over the whole history, and a run that proves nothing fails as well; one cluster at
//! a time in each test program. What it must not do: inject anything itself. Shared by `tests/failover`,
//! `tests/durability` and `tests/drills`, which bring the modules of `chaos/` that it names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, SETTLE};
use crate::http::{Answer, Caller};
use crate::{history, verdict, workload};

/// One cluster at a time: three servers and a workload are enough for two cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A cluster under load.
pub struct Drill {
    /// Its servers.
    pub cluster: Cluster,
    workload: JoinHandle<Result<usize, String>>,
    stop: Arc<AtomicBool>,
    /// Where the history goes.
    pub report: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Drill {
    /// Starts three servers and the workload, and waits until something has been acknowledged.
    pub async fn begin(extra: &[&str]) -> Self {
        Self::begin_with(extra, None).await
    }

    pub async fn begin_with(extra: &[&str], lose_one_after: Option<Duration>) -> Self {
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
    pub async fn wait_for_acknowledgements(&self, more: usize) {
        let lines = || history::load(&self.report).map_or(0, |lines| lines.len());
        let (deadline, least) = (Instant::now() + SETTLE, lines() + more);
        while lines() < least {
            assert!(!self.workload.is_finished(), "the workload ended early\n{}", self.cluster.all_logs());
            assert!(Instant::now() < deadline, "nothing is acknowledged\n{}", self.cluster.all_logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the cluster is whole and serves, ends the workload and asserts a clean verdict.
    pub async fn end(self) -> Cluster {
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
pub async fn must(caller: &mut Caller, call: (&str, &str), key: &str, body: &Value) -> Answer {
    let answer = caller.write(call, key, body, SETTLE).await;
    let answer = answer.unwrap_or_else(|| panic!("{call:?} has no answer"));
    assert!(answer.is_done(), "{call:?}: {} {}", answer.status, answer.body);
    answer
}

/// The `/v1/cluster` document as one server sees it.
pub async fn cluster_document(caller: &mut Caller) -> Value {
    caller.read("/v1/cluster", SETTLE).await.map_or(json!(null), |answer| answer.body)
}

/// The id and role of the member at `api_addr`.
pub fn member(document: &Value, api_addr: &str) -> Option<(u64, String)> {
    let members = document["members"].as_array()?;
    let member = members.iter().find(|member| member["api_addr"] == api_addr)?;
    Some((member["node_id"].as_u64()?, member["role"].as_str()?.to_owned()))
}

/// Waits until the server at `api_addr` has this role; gives its id.
pub async fn wait_for_member(caller: &mut Caller, api_addr: &str, role: &str) -> u64 {
    let deadline = Instant::now() + SETTLE;
    loop {
        let document = cluster_document(caller).await;
        if let Some((id, _)) = member(&document, api_addr).filter(|(_, found)| found == role) {
            return id;
        }
        assert!(Instant::now() < deadline, "`{api_addr}` does not become a {role}: {document}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
