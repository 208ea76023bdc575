//! A cluster that is filled slot by slot: what a slot costs, and what stays as fast as in a small cluster.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::figures::Figures;
use crate::processes::load_average;
use crate::slotkeeper::{Slotkeeper, figures};

type Failed = Box<dyn Error>;

/// Long leases, because nobody sends heartbeats for the slots that stay.
const SETTINGS: [&str; 3] = ["heartbeat_interval=1m", "heartbeat_timeout=1h", "idempotency_keys_max=4000000"];
/// Slots of each TaskManager.
const TASK_MANAGER_SLOTS: u32 = 16;
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
    #[arg(long, default_value_t = 1_000_000)]
    slots: u32,
    /// Clients of the loads
    #[arg(long, default_value_t = 64)]
    clients: u32,
    /// Seconds of each load; several snapshots should fit in
    #[arg(long, default_value_t = 30)]
    seconds: u32,
}

impl Scale {
    /// Runs everything and prints it.
    pub async fn run(&self) -> Result<(), Failed> {
        println!("{} slots, {} clients, load average {}", self.slots, self.clients, load_average());
        let binary = Path::new(&self.slotkeeper).canonicalize()?;
        let folder = tempfile::Builder::new().prefix("scale-").tempdir_in(&self.folder)?;
        let mut cluster = Slotkeeper::start(binary, folder, &SETTINGS).await?;
        let small = self.load(&cluster, "at 1,000 slots").await?;
        self.fill(&mut cluster).await?;
        let large = self.load(&cluster, "filled").await?;
        println!(
            "rate of the filled cluster against the small one: {:.2}",
            large.per_second / small.per_second
        );
        print_snapshots(&cluster.data_dir(0))?;
        self.restart(&mut cluster).await?;
        self.learn(&mut cluster, large.per_second).await
    }

    /// Fills the cluster, and says what a slot costs in memory.
    async fn fill(&self, cluster: &mut Slotkeeper) -> Result<(), Failed> {
        let before = memory(cluster);
        let (fill, fleet) = (self.slots.to_string(), self.slots.div_ceil(TASK_MANAGER_SLOTS).to_string());
        let slots = TASK_MANAGER_SLOTS.to_string();
        let begin = Instant::now();
        let args = [
            "heartbeats",
            "--fill",
            &fill,
            "--task-managers",
            &fleet,
            "--task-manager-slots",
            &slots,
            "--keep",
            "--duration",
            "1s",
            "--clients",
            "1",
            "--timeout",
            "60s",
        ];
        cluster.bench(&args).await?;
        println!("filled in {:.1} s", begin.elapsed().as_secs_f64());
        for (number, (before, after)) in before.into_iter().zip(memory(cluster)).enumerate() {
            let per_slot = after.saturating_sub(before) as f64 / f64::from(self.slots);
            println!(
                "server {number}: {} MiB, {per_slot:.0} bytes a slot, its TaskManager included",
                after >> 20
            );
        }
        Ok(())
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

    async fn load(&self, cluster: &Slotkeeper, name: &str) -> Result<Figures, Failed> {
        let (clients, duration) = (self.clients.to_string(), format!("{}s", self.seconds));
        let figures = figures(&cluster.bench(&self.load_args(&clients, &duration)).await?);
        println!(
            "{name}: {:.0} allocations/s, p50 {:.2} ms, p99 {:.2} ms, longest gap {:.0} ms, {} errors, load average {}",
            figures.per_second,
            figures.p50_ms,
            figures.p99_ms,
            figures.longest_gap_ms,
            figures.errors,
            load_average(),
        );
        Ok(figures)
    }

    /// Kills a follower and starts it again.
    async fn restart(&self, cluster: &mut Slotkeeper) -> Result<(), Failed> {
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
        println!("restart of a follower until it is ready: {:.2} s", begin.elapsed().as_secs_f64());
        Ok(())
    }

    /// Joins an empty server while clients write.
    async fn learn(&self, cluster: &mut Slotkeeper, alone_per_second: f64) -> Result<(), Failed> {
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
        println!(
            "an empty learner caught up after {:.1} s under load; meanwhile {:.0} allocations/s ({:.2} of before), \
             longest gap {:.0} ms",
            caught_up?.as_secs_f64(),
            figures.per_second,
            figures.per_second / alone_per_second,
            figures.longest_gap_ms,
        );
        Ok(())
    }
}

fn patience(begin: Instant, problem: &str) -> Result<(), Failed> {
    if begin.elapsed() > PATIENCE { Err(problem.into()) } else { Ok(()) }
}

fn memory(cluster: &mut Slotkeeper) -> Vec<u64> {
    let running = cluster.nodes().iter().filter_map(|node| node.process.as_ref());
    running.map(|process| process.memory_bytes()).collect()
}

/// Whether the member that joined last is at most a moment of entries behind.
fn has_caught_up(members: &Value, learner: usize) -> bool {
    let members = members["members"].as_array().or(members.as_array()).cloned().unwrap_or_default();
    let joined = members.get(learner).filter(|member| member["role"] == "learner");
    joined.and_then(|member| member["lag"].as_u64()).is_some_and(|lag| lag < 200)
}

fn print_snapshots(data_dir: &Path) -> Result<(), Failed> {
    for entry in std::fs::read_dir(data_dir.join("snapshots"))? {
        let entry = entry?;
        println!("snapshot {}: {} KiB", entry.file_name().display(), entry.metadata()?.len() >> 10);
    }
    Ok(())
}
