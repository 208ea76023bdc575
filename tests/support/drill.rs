//! A drill: three real servers under the verifying workload of `chaos/`, one thing that happens to them, and the verdict.
//!
//! What it promises: the verdict is over the whole history and over every process that was started (`processes.rs`), and a
//! run that proves nothing fails as well; one cluster at a time in each test program; what fails prints its seed and the
//! command that repeats it. What it must not do: inject anything itself. Shared by several test programs, which bring
//! the modules of `chaos/` that it names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, SETTLE};
use crate::http::{Answer, Caller};
use crate::{history, processes, verdict, workload};

/// One cluster at a time: three servers and a workload are enough for two cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// For tests that need a cluster to themselves and no workload.
pub async fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().await
}

/// A cluster under load.
pub struct Drill {
    /// Its servers.
    pub cluster: Cluster,
    workload: JoinHandle<Result<usize, String>>,
    stop: Arc<AtomicBool>,
    /// Where the history goes.
    pub report: PathBuf,
    _repeat: Repeat,
    _turn: MutexGuard<'static, ()>,
}

/// The seed of the clients' choices, which is printed when the test fails. The threads' interleaving it can not fix.
struct Repeat {
    seed: u64,
}

impl Repeat {
    fn new() -> Self {
        let given =
            std::env::var("SLOTKEEPER_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"));
        let fresh =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| u64::from(now.subsec_micros()));
        Self { seed: given.unwrap_or_else(fresh) }
    }
}

impl Drop for Repeat {
    fn drop(&mut self) {
        let thread = std::thread::current();
        if let (true, Some(test)) = (std::thread::panicking(), thread.name()) {
            let (seed, program) = (self.seed, env!("CARGO_CRATE_NAME"));
            eprintln!(
                "seed {seed} failed; repeat it with\n  SLOTKEEPER_SEED={seed} cargo test --test {program} -- --exact {test}"
            );
        }
    }
}

impl Drill {
    /// Starts three servers and the workload, and waits until something has been acknowledged.
    pub async fn begin(extra: &[&str]) -> Self {
        Self::begin_with(extra, None).await
    }

    pub async fn begin_with(extra: &[&str], lose_one_after: Option<Duration>) -> Self {
        Self::begin_prepared(extra, lose_one_after, |_| ()).await.0
    }

    /// The same with disks made ready: `prepare` gets the cluster before its first server starts.
    pub async fn begin_prepared<T>(
        extra: &[&str],
        lose_one_after: Option<Duration>,
        prepare: impl FnOnce(&Cluster) -> T,
    ) -> (Self, T) {
        let turn = turn().await;
        let repeat = Repeat::new();
        let mut cluster = Cluster::empty(Path::new(env!("CARGO_BIN_EXE_slotkeeper")), extra);
        let prepared = prepare(&cluster);
        cluster.found(3).await;
        let report = cluster.folder().join("history.jsonl");
        let stop = Arc::new(AtomicBool::new(false));
        let plan = workload::Plan {
            servers: cluster.api_addrs(),
            stop: stop.clone(),
            clients: 6,
            task_managers: 6,
            lose_one_after,
            report: report.clone(),
            seed: repeat.seed,
        };
        let workload = tokio::spawn(workload::run(plan));
        let drill = Self { cluster, workload, stop, report, _repeat: repeat, _turn: turn };
        drill.wait_for_acknowledgements(50).await;
        (drill, prepared)
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
        let Self { mut cluster, workload, stop, report, _repeat, _turn } = self;
        stop.store(true, Ordering::SeqCst);
        let live = workload.await.expect("the workload does not panic");
        let live = live.unwrap_or_else(|why| panic!("the run is invalid: {why}\n{}", cluster.all_logs()));
        let verdict = verdict::judge(&cluster.api_addrs(), &report).await;
        let verdict = verdict.unwrap_or_else(|why| panic!("no verdict: {why}\n{}", cluster.all_logs()));
        println!("{:?}", verdict.counts);
        let violations = [verdict.violations, processes::violations(&mut cluster)].concat();
        assert!(violations.is_empty() && live == 0, "{violations:#?}\n{}", cluster.all_logs());
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
