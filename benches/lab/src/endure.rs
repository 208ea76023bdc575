//! Full load for minutes, without faults: nobody is elected, nothing fails.
//!
//! Promises: the load is a closed loop, so the cluster is at its capacity all the time. Must not: inject anything.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::bars::Verdict;
use crate::processes::load_average;
use crate::record::Recording;
use crate::slotkeeper::{Slotkeeper, figures};

type Failed = Box<dyn Error>;

/// A fleet that no run fills, because half of the requests give back.
const FLEET: [&str; 4] = ["--task-managers", "200", "--task-manager-slots", "512"];
/// What the bar asks for.
const SECONDS_WANTED: u32 = 600;

/// What is offered.
#[derive(Debug, clap::Args)]
pub struct Endure {
    /// The program `slotkeeper`
    #[arg(long, value_name = "FILE")]
    slotkeeper: PathBuf,
    /// Folder for the data
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Clients
    #[arg(long, default_value_t = 256)]
    clients: u32,
    /// Seconds of load
    #[arg(long, default_value_t = SECONDS_WANTED)]
    seconds: u32,
    /// Where to write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl Endure {
    /// Runs the load and prints what came of it.
    pub async fn run(&self) -> Result<(), Failed> {
        let recording = Recording::begin("endure", self.record.as_deref(), Some(&self.folder));
        let binary = Path::new(&self.slotkeeper).canonicalize()?;
        let folder = tempfile::Builder::new().prefix("endure-").tempdir_in(&self.folder)?;
        let cluster = Slotkeeper::start(binary, folder, &[]).await?;
        let before = cluster.term().await?;
        let (clients, duration) = (self.clients.to_string(), format!("{}s", self.seconds));
        // Without keys: ten minutes of them are more than a cluster remembers by default.
        let mut args = vec!["allocate", "--without-keys", "--releases", "50", "--jobs", "64"];
        args.extend(["--clients", &clients, "--duration", &duration]);
        args.extend(FLEET);
        let figures = figures(&cluster.bench(&args).await?);
        let elections = cluster.term().await?.saturating_sub(before);
        let most = cluster.memory().into_iter().max().unwrap_or_default();
        println!(
            "{} s with {} clients: {:.0} allocations/s and as many releases, p99 {:.2} ms, longest gap {:.0} ms, {} errors, \
             {elections} elections, most memory of a server {} MiB, load average {}",
            self.seconds,
            self.clients,
            figures.per_second,
            figures.p99_ms,
            figures.longest_gap_ms,
            figures.errors,
            most >> 20,
            load_average(),
        );
        let is_long = self.seconds >= SECONDS_WANTED;
        let short = format!("{} s instead of {SECONDS_WANTED}", self.seconds);
        let verdict = Verdict::if_so(is_long, "elections", elections as f64, &short);
        let samples = json!({ "allocations": figures.count, "seconds": self.seconds });
        let results = json!({
            "clients": self.clients,
            "allocations_per_second": figures.per_second,
            "p99_ms": figures.p99_ms,
            "longest_gap_ms": figures.longest_gap_ms,
            "errors": figures.errors,
            "elections": elections,
            "memory_bytes_max": most,
        });
        Ok(recording.end(&samples, &results, &[verdict])?)
    }
}
