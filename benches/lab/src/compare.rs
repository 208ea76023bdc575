//! etcd and Slotkeeper by turns, on one disk: throughput and latency over clients, and the time of a fail-over.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bars::Verdict;
use crate::etcd::Etcd;
use crate::figures::{Figures, median};
use crate::processes::load_average;
use crate::record::Recording;
use crate::slotkeeper::Slotkeeper;

type Failed = Box<dyn Error>;

/// Long leases: the fleet is part of the load generator, and its heartbeats are not what is compared.
const SETTINGS: [&str; 3] =
    ["heartbeat_interval=1m", "heartbeat_timeout=30m", "idempotency_keys_max=4000000"];
/// Fail-overs that the bar asks for.
const KILLS_WANTED: usize = 30;
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
    #[arg(long, default_value_t = KILLS_WANTED)]
    kills: usize,
    /// Have Slotkeeper remember no answers; etcd has nothing like it
    #[arg(long)]
    without_keys: bool,
    /// Where to write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// The turns of both for one number of clients.
struct Row {
    clients: usize,
    slots: u32,
    theirs: Vec<Figures>,
    ours: Vec<Figures>,
    load: String,
}

/// The longest time without a success of each fail-over, in milliseconds.
#[derive(Default)]
struct FailOvers {
    theirs_ms: Vec<f64>,
    ours_ms: Vec<f64>,
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
        let recording = Recording::begin("compare-etcd", self.record.as_deref(), Some(&self.folder));
        let mut rows = Vec::new();
        for (clients, slots) in self.clients.iter().map(|clients| (*clients, 1)).chain([(64, 100)]) {
            let row = self.row(clients, slots).await?;
            row.print();
            rows.push(row);
        }
        let fail_overs = self.fail_overs().await?;
        fail_overs.print();
        let samples =
            json!({ "rounds": self.rounds, "seconds_of_a_turn": self.seconds, "kills": self.kills });
        let results = json!({
            "keys": !self.without_keys,
            "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
            "fail_over_ms": { "etcd": fail_overs.theirs_ms, "slotkeeper": fail_overs.ours_ms },
        });
        let mut verdicts = verdicts(&rows);
        verdicts.extend(fail_overs.verdicts());
        Ok(recording.end(&samples, &results, &verdicts)?)
    }

    async fn row(&self, clients: usize, slots: u32) -> Result<Row, Failed> {
        // New clusters for each row, so that no row pays for what an earlier one left behind.
        let (etcd, slotkeeper) = self.clusters().await?;
        let (clients_text, slots_text, duration) =
            (clients.to_string(), slots.to_string(), self.seconds_text());
        let args = self.bench_args(&clients_text, &slots_text, &duration);
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            theirs.push(etcd.load(clients, self.seconds, None).await?);
            let mut figures = slotkeeper.load(&args).await?;
            figures.per_second *= f64::from(slots);
            ours.push(figures);
        }
        Ok(Row { clients, slots, theirs, ours, load: load_average() })
    }

    async fn fail_overs(&self) -> Result<FailOvers, Failed> {
        let mut measured = FailOvers::default();
        if self.kills == 0 {
            return Ok(measured);
        }
        let (mut etcd, mut slotkeeper) = self.clusters().await?;
        let args = self.bench_args("16", "1", "6s");
        for _ in 0..self.kills {
            measured.theirs_ms.push(etcd.fail_over(16, 6.0).await?.longest_gap_ms);
            let figures = slotkeeper.fail_over(&args, Duration::from_millis(3500)).await?;
            measured.ours_ms.push(figures.longest_gap_ms);
        }
        Ok(measured)
    }
}

fn cpu_us(figures: &Figures) -> f64 {
    figures.server_cpu.as_secs_f64() * 1e6 / figures.count.max(1) as f64
}

impl Row {
    /// The median, over neighbouring turns, of ours against theirs.
    fn ratio(&self, value: fn(&Figures) -> f64) -> f64 {
        median(self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| value(ours) / value(theirs)))
    }

    fn errors(&self) -> u64 {
        self.ours.iter().chain(&self.theirs).map(|figures| figures.errors).sum()
    }

    fn print(&self) {
        print!("{:>8} {:>5} |", self.clients, self.slots);
        for figures in [&self.theirs, &self.ours] {
            let of = |value: fn(&Figures) -> f64| median(figures.iter().map(value));
            print!(
                " {:>9.0} {:>8.2} {:>8.2} {:>7.0} |",
                of(|f| f.per_second),
                of(|f| f.p50_ms),
                of(|f| f.p99_ms),
                of(cpu_us),
            );
        }
        print!(
            " {:>7.2} {:>7.2} {:>7.2} | {}",
            self.ratio(|f| f.per_second),
            self.ratio(|f| f.p50_ms),
            self.ratio(|f| f.p99_ms),
            self.load,
        );
        println!("{}", if self.errors() > 0 { format!(", {} ERRORS", self.errors()) } else { String::new() });
    }

    fn json(&self) -> Value {
        json!({
            "clients": self.clients,
            "slots": self.slots,
            "etcd": turns(&self.theirs),
            "slotkeeper": turns(&self.ours),
            "ratio": {
                "per_second": self.ratio(|f| f.per_second),
                "p50": self.ratio(|f| f.p50_ms),
                "p99": self.ratio(|f| f.p99_ms),
            },
            "errors": self.errors(),
            "load": self.load,
        })
    }
}

/// Medians of some turns, and each of them.
fn turns(figures: &[Figures]) -> Value {
    let of = |value: fn(&Figures) -> f64| median(figures.iter().map(value));
    json!({
        "slots_per_second": of(|f| f.per_second),
        "p50_ms": of(|f| f.p50_ms),
        "p99_ms": of(|f| f.p99_ms),
        "cpu_us": of(cpu_us),
        "turns": figures.iter().map(|figures| json!({
            "slots_per_second": figures.per_second,
            "p50_ms": figures.p50_ms,
            "p99_ms": figures.p99_ms,
            "count": figures.count,
        })).collect::<Vec<_>>(),
    })
}

fn verdicts(rows: &[Row]) -> Vec<Verdict> {
    let of = |id: &str, clients: usize, slots: u32, value: fn(&Figures) -> f64| {
        let found = rows.iter().find(|row| row.clients == clients && row.slots == slots);
        match found {
            Some(row) => Verdict::of(id, row.ratio(value)),
            None => Verdict::aside(id, None, format!("no row with {clients} clients")),
        }
    };
    vec![
        of("rate-256", 256, 1, |f| f.per_second),
        of("slots-100", 64, 100, |f| f.per_second),
        of("p50-1", 1, 1, |f| f.p50_ms),
        of("p99-256", 256, 1, |f| f.p99_ms),
    ]
}

impl FailOvers {
    fn print(&self) {
        if self.ours_ms.is_empty() {
            return;
        }
        println!(
            "kill -9 of the leader under 16 clients: longest time without a success, {} kills",
            self.ours_ms.len()
        );
        for (name, gaps) in [("etcd", &self.theirs_ms), ("slotkeeper", &self.ours_ms)] {
            let all: Vec<String> = gaps.iter().map(|gap| format!("{gap:.0}")).collect();
            let least = gaps.iter().copied().fold(f64::MAX, f64::min);
            println!(
                "  {name:10} median {:.0} ms, {least:.0} to {:.0}: {}",
                median(gaps.iter().copied()),
                largest(gaps),
                all.join(" ")
            );
        }
    }

    fn verdicts(&self) -> [Verdict; 2] {
        let ids = ["fail-over-median", "fail-over-maximum"];
        if self.ours_ms.is_empty() {
            return ids.map(|id| Verdict::aside(id, None, "nobody was killed"));
        }
        let theirs = median(self.theirs_ms.iter().copied());
        let ratios = [median(self.ours_ms.iter().copied()) / theirs, largest(&self.ours_ms) / theirs];
        let is_enough = self.ours_ms.len() >= KILLS_WANTED;
        let few = format!("{} kills instead of {KILLS_WANTED}", self.ours_ms.len());
        [0, 1].map(|number| Verdict::if_so(is_enough, ids[number], ratios[number], &few))
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}
