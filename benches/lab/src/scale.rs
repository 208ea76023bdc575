//! A cluster that is filled slot by slot: what a slot costs, and what stays as fast as in a small cluster.
//!
//! Promises: memory is told before and after filling, on a cluster that has served nothing else, and without
//! idempotency keys unless they are asked for; what is not a slot's (the log in memory, remembered answers) is told beside it.
//! Must not: judge a bar at another size than the one that it names.

use std::cell::Cell;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bars::Verdict;
use crate::figures::Figures;
use crate::processes::load_average;
use crate::record::Recording;
use crate::slotkeeper::{Slotkeeper, figures};

type Failed = Box<dyn Error>;

/// Long leases, because nobody sends heartbeats for the slots that stay.
const SETTINGS: [&str; 3] = ["heartbeat_interval=1m", "heartbeat_timeout=1h", "idempotency_keys_max=4000000"];
const SNAPSHOT_INDEX: &str = "slotkeeper_raft_snapshot_index";
/// Between two looks at it.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Slots of each TaskManager.
const TASK_MANAGER_SLOTS: u32 = 16;
/// What the bars ask for.
const SLOTS_WANTED: u32 = 1_000_000;
/// How long a replica or a learner may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Scale {
    /// The program `slotkeeper`
    #[arg(long, value_name = "FILE")]
    slotkeeper: PathBuf,
    /// Folder for the data
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Slots to fill
    #[arg(long, default_value_t = SLOTS_WANTED)]
    slots: u32,
    /// Clients of the loads
    #[arg(long, default_value_t = 64)]
    clients: u32,
    /// Seconds of each load; several snapshots should fit in
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Fill under idempotency keys: the cluster then remembers an answer for each thousand slots
    #[arg(long)]
    with_keys: bool,
    /// Where to write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// A load, and what the leader did beside it.
struct Loaded {
    figures: Figures,
    snapshots: usize,
}

/// What the servers take.
struct Memory {
    resident: Vec<u64>,
    /// The part of the log that is held in memory.
    log: Vec<u64>,
    keys: u64,
}

impl Scale {
    /// Runs everything and prints it.
    pub async fn run(&self) -> Result<(), Failed> {
        println!("{} slots, {} clients, load average {}", self.slots, self.clients, load_average());
        let recording = Recording::begin("scale", self.record.as_deref(), Some(&self.folder));
        let small = {
            let cluster = self.cluster().await?;
            self.load(&cluster, "at 1,000 slots").await?
        };
        let mut cluster = self.cluster().await?;
        let memory = self.fill(&mut cluster).await?;
        let large = self.load(&cluster, "filled").await?;
        let large_rate = large.figures.per_second / small.figures.per_second;
        println!("rate of the filled cluster against the small one: {large_rate:.2}");
        let snapshot_bytes = print_snapshots(&cluster.data_dir(0))?;
        let restart_seconds = self.restart(&mut cluster).await?;
        let (learner_seconds, learner) = self.learn(&mut cluster).await?;
        let learner_rate = learner.per_second / large.figures.per_second;
        println!("writers kept {learner_rate:.2} of their rate meanwhile");
        let measured = [
            ("restart", restart_seconds),
            ("learner-time", learner_seconds),
            ("learner-rate", learner_rate),
            ("large-rate", large_rate),
        ];
        let (is_large, small_size) = (self.slots >= SLOTS_WANTED, format!("at {} slots", self.slots));
        let mut verdicts = vec![self.stall(&large)];
        verdicts.extend(measured.map(|(id, value)| Verdict::if_so(is_large, id, value, &small_size)));
        let samples = json!({
            "seconds_of_a_load": self.seconds, "restarts": 1, "learners": 1, "snapshots": large.snapshots,
        });
        let results = json!({
            "slots": self.slots,
            "clients": self.clients,
            "small": small.json(),
            "filled": large.json(),
            "memory": memory,
            "snapshot_bytes": snapshot_bytes,
            "restart_seconds": restart_seconds,
            "learner_seconds": learner_seconds,
            "learner_rate": learner_rate,
        });
        Ok(recording.end(&samples, &results, &verdicts)?)
    }

    fn stall(&self, filled: &Loaded) -> Verdict {
        let is_judged = self.slots >= SLOTS_WANTED && filled.snapshots > 0;
        let why = format!("at {} slots with {} snapshots", self.slots, filled.snapshots);
        Verdict::if_so(is_judged, "snapshot-stall", filled.figures.longest_gap_ms, &why)
    }

    async fn cluster(&self) -> Result<Slotkeeper, Failed> {
        let binary = Path::new(&self.slotkeeper).canonicalize()?;
        let folder = tempfile::Builder::new().prefix("scale-").tempdir_in(&self.folder)?;
        Slotkeeper::start(binary, folder, &SETTINGS).await
    }

    /// Fills the cluster, and says what a slot costs in memory.
    async fn fill(&self, cluster: &mut Slotkeeper) -> Result<Value, Failed> {
        let before = Memory::of(cluster).await?;
        let (fill, fleet) = (self.slots.to_string(), self.slots.div_ceil(TASK_MANAGER_SLOTS).to_string());
        let slots = TASK_MANAGER_SLOTS.to_string();
        let begin = Instant::now();
        let mut args = vec!["heartbeats", "--fill", &fill, "--task-managers", &fleet];
        args.extend(["--task-manager-slots", &slots, "--keep", "--duration", "1s", "--clients", "1"]);
        args.extend(["--timeout", "60s"]);
        if !self.with_keys {
            args.push("--without-keys");
        }
        cluster.bench(&args).await?;
        println!("filled in {:.1} s", begin.elapsed().as_secs_f64());
        let after = Memory::of(cluster).await?;
        Ok(self.told(&before, &after))
    }

    /// Prints what filling took, split into what can be told apart from outside.
    fn told(&self, before: &Memory, after: &Memory) -> Value {
        let per_slot = |bytes: u64| bytes as f64 / f64::from(self.slots);
        let mut servers = Vec::new();
        for number in 0..before.resident.len().min(after.resident.len()) {
            let (empty, full) = (before.resident[number], after.resident[number]);
            let grown = full.saturating_sub(empty);
            let log = after.log[number].saturating_sub(before.log[number]);
            let rest = grown.saturating_sub(log);
            println!(
                "server {number}: {} MiB empty, {} MiB filled: {:.0} bytes a slot, of which {:.0} the log in memory, {:.0} state \
                 (TaskManagers included), sled's cache and what the allocator holds",
                empty >> 20,
                full >> 20,
                per_slot(grown),
                per_slot(log),
                per_slot(rest),
            );
            servers.push(json!({
                "empty_bytes": empty, "filled_bytes": full, "log_bytes": log, "bytes_a_slot": per_slot(grown),
                "bytes_a_slot_without_log": per_slot(rest),
            }));
        }
        let keys = after.keys.saturating_sub(before.keys);
        println!(
            "{keys} answers were remembered by filling; the state alone: `cargo bench --bench scheduler -- --memory`"
        );
        json!({ "servers": servers, "keys": keys, "filled_with_keys": self.with_keys })
    }

    fn load_args<'a>(&self, clients: &'a str, duration: &'a str) -> Vec<&'a str> {
        let mut args = vec!["allocate", "--clients", clients, "--duration", duration, "--releases", "50"];
        args.extend([
            "--task-managers",
            "63",
            "--task-manager-slots",
            "16",
            "--jobs",
            "64",
            "--timeout",
            "60s",
        ]);
        args
    }

    async fn load(&self, cluster: &Slotkeeper, name: &str) -> Result<Loaded, Failed> {
        let (clients, duration) = (self.clients.to_string(), format!("{}s", self.seconds));
        let args = self.load_args(&clients, &duration);
        let leader = cluster.leader().await?;
        let before = cluster.metric_at(leader, SNAPSHOT_INDEX).await?;
        let snapshots = Cell::new(0);
        let report = tokio::select! {
            report = cluster.bench(&args) => report,
            never = snapshots_of(cluster, leader, before, &snapshots) => match never {},
        };
        let (figures, snapshots) = (figures(&report?), snapshots.get());
        println!(
            "{name}: {:.0} allocations/s, p50 {:.2} ms, p99 {:.2} ms, longest gap {:.0} ms, {snapshots} snapshots, {} errors, \
             load average {}",
            figures.per_second,
            figures.p50_ms,
            figures.p99_ms,
            figures.longest_gap_ms,
            figures.errors,
            load_average(),
        );
        Ok(Loaded { figures, snapshots })
    }

    /// Kills a follower and starts it again.
    async fn restart(&self, cluster: &mut Slotkeeper) -> Result<f64, Failed> {
        let follower = (cluster.leader().await? + 1) % 3;
        if let Some(mut process) = cluster.nodes()[follower].process.take() {
            process.kill();
        }
        let begin = Instant::now();
        cluster.start_node(follower)?;
        let address = cluster.nodes()[follower].api_addr.clone();
        while cluster.command_at(&address, &["status", "--local"]).await.is_err() {
            patience(begin, "the restarted server does not serve")?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = begin.elapsed().as_secs_f64();
        println!("restart of a follower until it is ready: {took:.2} s");
        Ok(took)
    }

    /// Joins an empty server while clients write.
    async fn learn(&self, cluster: &mut Slotkeeper) -> Result<(f64, Figures), Failed> {
        let (clients, duration) = (self.clients.to_string(), format!("{}s", self.seconds));
        let args = self.load_args(&clients, &duration);
        let learner = cluster.join()?;
        let cluster = &*cluster;
        let begin = Instant::now();
        let (report, caught_up) = tokio::join!(cluster.bench(&args), async {
            loop {
                let members = cluster.command(&["members", "list"]).await?;
                if has_caught_up(&members, learner) {
                    return Ok::<_, Failed>(begin.elapsed());
                }
                patience(begin, "the learner does not catch up")?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let figures = figures(&report?);
        let caught_up = caught_up?.as_secs_f64();
        println!(
            "an empty learner caught up after {caught_up:.1} s under load; meanwhile {:.0} allocations/s, longest gap {:.0} ms",
            figures.per_second, figures.longest_gap_ms,
        );
        Ok((caught_up, figures))
    }
}

impl Loaded {
    fn json(&self) -> Value {
        json!({
            "allocations_per_second": self.figures.per_second,
            "p50_ms": self.figures.p50_ms,
            "p99_ms": self.figures.p99_ms,
            "longest_gap_ms": self.figures.longest_gap_ms,
            "count": self.figures.count,
            "errors": self.figures.errors,
            "snapshots": self.snapshots,
        })
    }
}

impl Memory {
    async fn of(cluster: &Slotkeeper) -> Result<Self, Failed> {
        let (resident, mut log, mut keys) = (cluster.memory(), Vec::new(), 0);
        for number in 0..resident.len() {
            log.push(cluster.metric_at(number, "slotkeeper_log_mirror_bytes").await?);
            keys = keys.max(cluster.metric_at(number, "slotkeeper_idempotency_keys").await?);
        }
        Ok(Self { resident, log, keys })
    }
}

/// Counts the snapshots that a server takes, until this is dropped.
async fn snapshots_of(
    cluster: &Slotkeeper,
    number: usize,
    before: u64,
    count: &Cell<usize>,
) -> std::convert::Infallible {
    let mut last = before;
    loop {
        tokio::time::sleep(LOOK_PAUSE).await;
        if let Ok(index) = cluster.metric_at(number, SNAPSHOT_INDEX).await
            && index > last
        {
            last = index;
            count.set(count.get() + 1);
        }
    }
}

fn patience(begin: Instant, problem: &str) -> Result<(), Failed> {
    if begin.elapsed() > PATIENCE { Err(problem.into()) } else { Ok(()) }
}

/// Whether the member that joined last is at most a moment of entries behind.
fn has_caught_up(members: &Value, learner: usize) -> bool {
    let members = members["members"].as_array().or(members.as_array()).cloned().unwrap_or_default();
    let joined = members.get(learner).filter(|member| member["role"] == "learner");
    joined.and_then(|member| member["lag"].as_u64()).is_some_and(|lag| lag < 200)
}

/// Prints the snapshots of a server and gives the size of the largest.
fn print_snapshots(data_dir: &Path) -> Result<u64, Failed> {
    let mut largest = 0;
    for entry in std::fs::read_dir(data_dir.join("snapshots"))? {
        let entry = entry?;
        let bytes = entry.metadata()?.len();
        println!("snapshot {}: {} KiB", entry.file_name().display(), bytes >> 10);
        largest = largest.max(bytes);
    }
    Ok(largest)
}
