//! Latency over load: an open loop at shares of the capacity, etcd beside Slotkeeper.
//!
//! Promises: the capacity of each is found in the same run, with a closed loop; a latency counts from when a request was due,
//! so the requests that a stall holds up count. Must not: compare the two at the same rate; each has its own capacity.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bars::Verdict;
use crate::etcd::Etcd;
use crate::figures::Figures;
use crate::processes::load_average;
use crate::record::Recording;
use crate::slotkeeper::{Slotkeeper, figures};

type Failed = Box<dyn Error>;

/// Long leases, and room for every key of the run.
const SETTINGS: [&str; 3] =
    ["heartbeat_interval=1m", "heartbeat_timeout=30m", "idempotency_keys_max=4000000"];
/// A fleet that no run fills.
const FLEET: [&str; 4] = ["--task-managers", "2000", "--task-manager-slots", "512"];
/// Clients of the closed loop that finds the capacity.
const CAPACITY_CLIENTS: usize = 256;
/// The share of the capacity at which the bar is.
const HALF: f64 = 0.5;

/// What is offered.
#[derive(Debug, clap::Args)]
pub struct Latency {
    /// The program `slotkeeper`
    #[arg(long, value_name = "FILE")]
    slotkeeper: PathBuf,
    /// Folder for the data
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Shares of the capacity, one step each
    #[arg(long, value_delimiter = ',', default_value = "0.1,0.25,0.5,0.75,0.9")]
    shares: Vec<f64>,
    /// Clients of the open loop
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// Seconds of each step
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Only Slotkeeper
    #[arg(long)]
    without_etcd: bool,
    /// Where to write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl Latency {
    /// Runs all steps and prints them.
    pub async fn run(&self) -> Result<(), Failed> {
        let recording = Recording::begin("latency", self.record.as_deref(), Some(&self.folder));
        println!(
            "{:>12} {:>6} {:>9} {:>9} {:>9} {:>9} {:>7}",
            "", "SHARE", "ASKED/S", "DONE/S", "P50 MS", "P99 MS", "ERRORS"
        );
        let theirs = if self.without_etcd { Value::Null } else { self.etcd().await? };
        let ours = self.slotkeeper().await?;
        let verdict = match half(&ours) {
            Some(p99) => Verdict::of("half-load-p99", p99),
            None => Verdict::aside("half-load-p99", None, "no step at half of the capacity"),
        };
        let samples = json!({ "seconds_of_a_step": self.seconds, "clients": self.clients });
        let results = json!({ "etcd": theirs, "slotkeeper": ours });
        Ok(recording.end(&samples, &results, &[verdict])?)
    }

    fn temporary(&self) -> Result<TempDir, Failed> {
        Ok(tempfile::Builder::new().prefix("latency-").tempdir_in(&self.folder)?)
    }

    async fn etcd(&self) -> Result<Value, Failed> {
        let etcd = Etcd::start(self.temporary()?).await?;
        let capacity = etcd.load(CAPACITY_CLIENTS, self.seconds, None).await?.per_second;
        println!(
            "etcd: capacity {capacity:.0}/s with {CAPACITY_CLIENTS} clients, load average {}",
            load_average()
        );
        let mut steps = Vec::new();
        for share in &self.shares {
            let figures = etcd.load(self.clients, self.seconds, Some(capacity * share)).await?;
            steps.push(step("etcd", *share, capacity * share, &figures));
        }
        Ok(json!({ "capacity": capacity, "steps": steps }))
    }

    async fn slotkeeper(&self) -> Result<Value, Failed> {
        let binary = Path::new(&self.slotkeeper).canonicalize()?;
        let cluster = Slotkeeper::start(binary, self.temporary()?, &SETTINGS).await?;
        let closed = self.load(&cluster, CAPACITY_CLIENTS, None).await?;
        let capacity = closed.per_second;
        println!(
            "slotkeeper: capacity {capacity:.0}/s with {CAPACITY_CLIENTS} clients, load average {}",
            load_average()
        );
        let mut steps = Vec::new();
        for share in &self.shares {
            let figures = self.load(&cluster, self.clients, Some(capacity * share)).await?;
            steps.push(step("slotkeeper", *share, capacity * share, &figures));
        }
        Ok(json!({ "capacity": capacity, "steps": steps }))
    }

    async fn load(&self, cluster: &Slotkeeper, clients: usize, rate: Option<f64>) -> Result<Figures, Failed> {
        let (clients, duration) = (clients.to_string(), format!("{}ms", (self.seconds * 1e3).round()));
        let rate = rate.map(|rate| format!("{:.0}", rate.clamp(1.0, 1e6)));
        let mut args = vec!["allocate", "--clients", &clients, "--duration", &duration];
        args.extend(FLEET);
        if let Some(rate) = &rate {
            args.extend(["--rate", rate]);
        }
        Ok(figures(&cluster.bench(&args).await?))
    }
}

fn step(name: &str, share: f64, asked: f64, figures: &Figures) -> Value {
    println!(
        "{name:>12} {share:>6.2} {asked:>9.0} {:>9.0} {:>9.2} {:>9.2} {:>7}",
        figures.per_second, figures.p50_ms, figures.p99_ms, figures.errors
    );
    json!({
        "share": share,
        "asked_per_second": asked,
        "per_second": figures.per_second,
        "p50_ms": figures.p50_ms,
        "p99_ms": figures.p99_ms,
        "count": figures.count,
        "errors": figures.errors,
    })
}

/// p99 of the step at half of the capacity, if there is one.
fn half(ours: &Value) -> Option<f64> {
    let steps = ours["steps"].as_array()?;
    let at_half = |step: &&Value| step["share"].as_f64().is_some_and(|share| (share - HALF).abs() < 1e-9);
    steps.iter().find(at_half)?["p99_ms"].as_f64()
}
