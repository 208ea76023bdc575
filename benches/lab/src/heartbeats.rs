//! A fleet that only says that it is alive: what that takes of the leader, and that it leaves nothing in the log.
//!
//! Promises: processor time and log entries are those of a window in which every TaskManager is registered and nothing but
//! heartbeats comes; an idle window before shows what is no heartbeat's. Must not: count registrations.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bars::Verdict;
use crate::processes::load_average;
use crate::record::Recording;
use crate::slotkeeper::Slotkeeper;

type Failed = Box<dyn Error>;

const TASK_MANAGERS_WANTED: u32 = 10_000;
const INTERVAL_SECONDS_WANTED: u32 = 5;
/// How long registering may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// Seconds that the load goes on beyond the window, on either side of it.
const MARGIN: u32 = 3;

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Heartbeats {
    /// The program `slotkeeper`
    #[arg(long, value_name = "FILE")]
    slotkeeper: PathBuf,
    /// Folder for the data
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// TaskManagers
    #[arg(long, default_value_t = TASK_MANAGERS_WANTED)]
    task_managers: u32,
    /// Seconds between two heartbeats of one
    #[arg(long, default_value_t = INTERVAL_SECONDS_WANTED)]
    interval: u32,
    /// Connections that they share
    #[arg(long, default_value_t = 256)]
    clients: u32,
    /// Seconds of a window
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Where to write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// What one window took of the leader.
struct Window {
    core_share: f64,
    entries: u64,
    heartbeats: u64,
}

impl Heartbeats {
    /// Runs both windows and prints them.
    pub async fn run(&self) -> Result<(), Failed> {
        let recording = Recording::begin("heartbeats", self.record.as_deref(), Some(&self.folder));
        let binary = Path::new(&self.slotkeeper).canonicalize()?;
        let folder = tempfile::Builder::new().prefix("heartbeats-").tempdir_in(&self.folder)?;
        let interval = format!("heartbeat_interval={}s", self.interval);
        let timeout = format!("heartbeat_timeout={}s", self.interval * 10);
        let mut cluster = Slotkeeper::start(binary, folder, &[&interval, &timeout]).await?;
        let leader = cluster.leader().await?;
        let idle = self.window(&mut cluster, leader).await?;
        println!("idle: {}", idle.text());
        let busy = self.under_heartbeats(&mut cluster, leader).await?;
        let asked = f64::from(self.task_managers) / f64::from(self.interval);
        println!(
            "{} TaskManagers, one heartbeat each in {} s ({asked:.0} a second): {}, load average {}",
            self.task_managers,
            self.interval,
            busy.text(),
            load_average()
        );
        let samples = json!({ "heartbeats": busy.heartbeats, "seconds_of_a_window": self.seconds });
        let results = json!({
            "task_managers": self.task_managers,
            "interval_seconds": self.interval,
            "idle": idle.json(),
            "heartbeats": busy.json(),
        });
        Ok(recording.end(&samples, &results, &self.verdicts(&idle, &busy, asked))?)
    }

    fn verdicts(&self, idle: &Window, busy: &Window, asked: f64) -> [Verdict; 2] {
        let served = busy.heartbeats as f64 / f64::from(self.seconds);
        let is_full = self.task_managers == TASK_MANAGERS_WANTED && self.interval == INTERVAL_SECONDS_WANTED;
        let is_as_wanted = is_full && served >= asked * 0.95;
        let why = format!("{} TaskManagers, {served:.0} heartbeats a second came", self.task_managers);
        let more = busy.entries.saturating_sub(idle.entries);
        [
            Verdict::if_so(is_as_wanted, "heartbeat-core", busy.core_share, &why),
            Verdict::if_so(is_as_wanted, "heartbeat-entries", more as f64, &why),
        ]
    }

    /// A window in the middle of a load of heartbeats.
    async fn under_heartbeats(&self, cluster: &mut Slotkeeper, leader: usize) -> Result<Window, Failed> {
        let rate = (self.task_managers / self.interval.max(1)).max(1);
        // Each connection is used within a second: a server closes one on which nothing ever begins.
        let (clients, rate) = (self.clients.min(rate).to_string(), rate.to_string());
        let fleet = self.task_managers.to_string();
        let duration = format!("{}s", self.seconds + 2 * MARGIN);
        let mut args = vec!["heartbeats", "--clients", &clients, "--task-managers", &fleet, "--rate", &rate];
        args.extend(["--task-manager-slots", "16", "--duration", &duration, "--keep", "--timeout", "60s"]);
        let load = cluster.started_bench(&args)?;
        self.wait_until_beating(cluster, leader).await?;
        let window = self.window(cluster, leader).await?;
        let report = Slotkeeper::report_of(load).await?;
        if report["errors"].as_object().is_some_and(|errors| !errors.is_empty()) {
            return Err(format!("heartbeats failed: {}", report["errors"]).into());
        }
        Ok(window)
    }

    /// Waits until all are registered and heartbeats have come for some seconds.
    async fn wait_until_beating(&self, cluster: &Slotkeeper, leader: usize) -> Result<(), Failed> {
        let begun = Instant::now();
        let enough = u64::from(self.task_managers / self.interval.max(1) * MARGIN).max(1);
        loop {
            let registered = cluster.metric_at(leader, "slotkeeper_leases_tracked").await?;
            let came = cluster.metric_at(leader, "slotkeeper_heartbeats_total").await?;
            if registered >= u64::from(self.task_managers) && came >= enough {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(
                    format!("{registered} registered and {came} heartbeats after {PATIENCE:?}").into()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn window(&self, cluster: &mut Slotkeeper, leader: usize) -> Result<Window, Failed> {
        let heartbeats = cluster.metric_at(leader, "slotkeeper_heartbeats_total").await?;
        let entries = cluster.metric_at(leader, "slotkeeper_raft_last_log_index").await?;
        let (cpu, begun) = (cpu(cluster, leader), Instant::now());
        tokio::time::sleep(Duration::from_secs(u64::from(self.seconds))).await;
        let took = cpu_since(cluster, leader, cpu);
        let core_share = took.as_secs_f64() / begun.elapsed().as_secs_f64();
        let entries_after = cluster.metric_at(leader, "slotkeeper_raft_last_log_index").await?;
        let heartbeats_after = cluster.metric_at(leader, "slotkeeper_heartbeats_total").await?;
        Ok(Window { core_share, entries: entries_after - entries, heartbeats: heartbeats_after - heartbeats })
    }
}

impl Window {
    fn text(&self) -> String {
        let Self { core_share, entries, heartbeats } = self;
        format!(
            "{:.1} % of a core on the leader, {entries} log entries, {heartbeats} heartbeats",
            core_share * 100.0
        )
    }

    fn json(&self) -> Value {
        json!({ "core_share": self.core_share, "entries": self.entries, "heartbeats": self.heartbeats })
    }
}

fn cpu(cluster: &mut Slotkeeper, leader: usize) -> Duration {
    cluster.nodes()[leader].process.as_ref().map(crate::processes::Process::cpu).unwrap_or_default()
}

fn cpu_since(cluster: &mut Slotkeeper, leader: usize, before: Duration) -> Duration {
    cpu(cluster, leader).saturating_sub(before)
}
