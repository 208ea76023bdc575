//! etcd and Slotkeeper by turns, on one disk: throughput and latency over clients, and the time of a fail-over.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::etcd::Etcd;
use crate::figures::{Figures, median};
use crate::processes::load_average;
use crate::slotkeeper::Slotkeeper;

type Failed = Box<dyn Error>;

/// Long leases: the fleet is part of the load generator, and its heartbeats are not what is compared.
const SETTINGS: [&str; 3] =
    ["heartbeat_interval=1m", "heartbeat_timeout=30m", "idempotency_keys_max=4000000"];
/// A fleet that no run fills.
const FLEET: [&str; 4] = ["--task-managers", "2000", "--task-manager-slots", "512"];

/// What is compared.
#[derive(Debug, clap::Args)]
pub struct Compare {
    /// The program `slotkeeper`
    #[arg(long, value_name = "FILE")]
    slotkeeper: PathBuf,
    /// Folder for the data of both
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// How many clients, one row each
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256,1000")]
    clients: Vec<usize>,
    /// Turns of each for a row
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a turn
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Times that the leader of each is killed
    #[arg(long, default_value_t = 30)]
    kills: usize,
    /// Have Slotkeeper remember no answers; etcd has nothing like it
    #[arg(long)]
    without_keys: bool,
}

impl Compare {
    fn seconds_text(&self) -> String {
        format!("{}ms", (self.seconds * 1e3).round())
    }

    fn temporary(&self, name: &str) -> Result<TempDir, Failed> {
        Ok(tempfile::Builder::new().prefix(name).tempdir_in(&self.folder)?)
    }

    async fn clusters(&self) -> Result<(Etcd, Slotkeeper), Failed> {
        let binary = Path::new(&self.slotkeeper).canonicalize()?;
        let etcd = Etcd::start(self.temporary("compare-etcd-")?).await?;
        let slotkeeper = Slotkeeper::start(binary, self.temporary("compare-slotkeeper-")?, &SETTINGS).await?;
        Ok((etcd, slotkeeper))
    }

    fn bench_args<'a>(&self, clients: &'a str, slots: &'a str, duration: &'a str) -> Vec<&'a str> {
        let mut args = vec!["allocate", "--clients", clients, "--slots", slots, "--duration", duration];
        args.extend(FLEET);
        if self.without_keys {
            args.push("--without-keys");
        }
        args
    }

    /// Runs everything and prints it.
    pub async fn run(&self) -> Result<(), Failed> {
        println!(
            "medians of {} turns of {} s each, load average {}",
            self.rounds,
            self.seconds,
            load_average()
        );
        println!(
            "{:>8} {:>5} | {:>9} {:>8} {:>8} {:>7} | {:>9} {:>8} {:>8} {:>7} | {:>7} {:>7} {:>7} | load",
            "clients",
            "slots",
            "etcd/s",
            "p50 ms",
            "p99 ms",
            "µs cpu",
            "ours/s",
            "p50 ms",
            "p99 ms",
            "µs cpu",
            "ratio",
            "p50",
            "p99"
        );
        for clients in &self.clients {
            self.row(*clients, 1).await?;
        }
        self.row(64, 100).await?;
        self.fail_overs().await
    }

    async fn row(&self, clients: usize, slots: u32) -> Result<(), Failed> {
        // New clusters for each row, so that no row pays for what an earlier one left behind.
        let (etcd, slotkeeper) = self.clusters().await?;
        let (clients_text, slots_text, duration) =
            (clients.to_string(), slots.to_string(), self.seconds_text());
        let args = self.bench_args(&clients_text, &slots_text, &duration);
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            theirs.push(etcd.load(clients, self.seconds).await?);
            let mut figures = slotkeeper.load(&args).await?;
            figures.per_second *= f64::from(slots);
            ours.push(figures);
        }
        print_row(clients, slots, &theirs, &ours);
        Ok(())
    }

    async fn fail_overs(&self) -> Result<(), Failed> {
        if self.kills == 0 {
            return Ok(());
        }
        let (mut etcd, mut slotkeeper) = self.clusters().await?;
        let duration = "6s";
        let args = self.bench_args("16", "1", duration);
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..self.kills {
            theirs.push(etcd.fail_over(16, 6.0).await?.longest_gap_ms);
            let figures = slotkeeper.fail_over(&args, Duration::from_millis(3500)).await?;
            ours.push(figures.longest_gap_ms);
        }
        println!(
            "kill -9 of the leader under 16 clients: longest time without a success, {} kills",
            self.kills
        );
        for (name, gaps) in [("etcd", theirs), ("slotkeeper", ours)] {
            let (least, most) =
                gaps.iter().fold((f64::MAX, 0.0_f64), |(least, most), gap| (least.min(*gap), most.max(*gap)));
            let all: Vec<String> = gaps.iter().map(|gap| format!("{gap:.0}")).collect();
            println!("  {name:10} median {:.0} ms, {least:.0} to {most:.0}: {}", median(gaps), all.join(" "));
        }
        Ok(())
    }
}

fn print_row(clients: usize, slots: u32, theirs: &[Figures], ours: &[Figures]) {
    let of = |figures: &[Figures], value: fn(&Figures) -> f64| median(figures.iter().map(value));
    let cpu = |figures: &Figures| figures.server_cpu.as_secs_f64() * 1e6 / figures.count.max(1) as f64;
    let pairs = || ours.iter().zip(theirs);
    let errors: u64 = ours.iter().chain(theirs).map(|figures| figures.errors).sum();
    print!("{clients:>8} {slots:>5} |");
    for figures in [theirs, ours] {
        print!(
            " {:>9.0} {:>8.2} {:>8.2} {:>7.0} |",
            of(figures, |f| f.per_second),
            of(figures, |f| f.p50_ms),
            of(figures, |f| f.p99_ms),
            of(figures, cpu),
        );
    }
    print!(
        " {:>7.2} {:>7.2} {:>7.2} | {}",
        median(pairs().map(|(ours, theirs)| ours.per_second / theirs.per_second)),
        median(pairs().map(|(ours, theirs)| ours.p50_ms / theirs.p50_ms)),
        median(pairs().map(|(ours, theirs)| ours.p99_ms / theirs.p99_ms)),
        load_average(),
    );
    println!("{}", if errors > 0 { format!(", {errors} ERRORS") } else { String::new() });
}
