//! `slotkeeper-chaos`: the verifying workload and its verdict, storms and the check of their histories, and the measurement
//! of fail-overs and hand-overs.
//!
//! Exit status: 0 sound, 1 a violation, 2 an invalid run (which is not a pass).

// The tests use more of it than the measurement does.
#[allow(dead_code)]
mod cluster;
mod failover_time;
mod hand_over;
mod history;
mod http;
mod linear;
mod storm;
mod task_managers;
mod verdict;
mod workload;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use rustix::process::Signal;
use tokio::signal::unix::{Signal as TerminationSignal, SignalKind};

#[derive(Parser)]
#[command(about = "Checks a Slotkeeper cluster from outside while faults are injected")]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs TaskManagers and clients against a cluster and writes what they saw.
    Workload {
        /// API addresses of the servers, separated by commas.
        #[arg(long, value_delimiter = ',', required = true)]
        servers: Vec<String>,
        /// How long the clients go on; SIGTERM lets them finish what they are at and end sooner.
        #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
        duration: Duration,
        /// How many clients, each with a job of its own.
        #[arg(long, default_value_t = 8)]
        clients: usize,
        /// How many TaskManagers with four slots each.
        #[arg(long, default_value_t = 8)]
        task_managers: usize,
        /// After how long one TaskManager goes silent for good.
        #[arg(long, value_parser = humantime::parse_duration)]
        lose_one_after: Option<Duration>,
        /// Where the history goes.
        #[arg(long)]
        report: PathBuf,
        /// Seed of the clients' choices.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Judges a history against the cluster's final state.
    Verdict {
        /// API addresses of the servers, separated by commas.
        #[arg(long, value_delimiter = ',', required = true)]
        servers: Vec<String>,
        /// The history.
        #[arg(long)]
        report: PathBuf,
    },
    /// Runs servers in network namespaces, clients and faults, and checks that the history is linearizable.
    Storm(StormArguments),
    /// Checks the history of a storm again.
    Linearizability {
        /// The history.
        history: PathBuf,
    },
    /// Measures the longest time without an acknowledged write while leadership changes.
    FailoverTime {
        /// The program to measure.
        #[arg(long, default_value = "target/release/slotkeeper")]
        binary: PathBuf,
        /// How many fail-overs.
        #[arg(long, default_value_t = 30)]
        runs: usize,
        /// How the leader ends.
        #[arg(long, value_enum, default_value_t = Ending::Kill)]
        signal: Ending,
        /// Clients that allocate and release meanwhile.
        #[arg(long, default_value_t = 8)]
        clients: usize,
        /// A longer median is a violation.
        #[arg(long, value_parser = humantime::parse_duration)]
        median_within: Option<Duration>,
        /// A longer maximum is a violation.
        #[arg(long, value_parser = humantime::parse_duration)]
        all_within: Option<Duration>,
    },
    /// Measures what clients of the typed client notice of planned hand-overs.
    HandOver(HandOverArguments),
}

/// See `benches/hand-over`, which judges it.
#[derive(clap::Args)]
struct HandOverArguments {
    /// The program to measure.
    #[arg(long, default_value = "target/release/slotkeeper")]
    binary: PathBuf,
    /// How many hand-overs.
    #[arg(long, default_value_t = 30)]
    runs: usize,
    /// Clients that allocate and release meanwhile.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Where to write what they saw, as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// See `chaos/linearizability`, which makes the namespaces.
#[derive(clap::Args)]
struct StormArguments {
    /// The server's program.
    #[arg(long, default_value = "target/release/slotkeeper")]
    binary: PathBuf,
    /// What the namespaces are called before `-` and their number.
    #[arg(long)]
    namespaces: String,
    /// How many servers.
    #[arg(long, default_value_t = 3)]
    servers: usize,
    /// Namespaces beyond those, for servers that join.
    #[arg(long, default_value_t = 0)]
    spares: usize,
    /// How many clients.
    #[arg(long, default_value_t = 12)]
    clients: u16,
    /// How many independent parts they work on.
    #[arg(long, default_value_t = 4)]
    parts: u16,
    /// How long at least.
    #[arg(long, default_value = "45s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Which faults; each comes at least once. Missing: all that fit.
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Option<Vec<storm::FaultKind>>,
    /// No faults at all.
    #[arg(long, conflicts_with = "faults")]
    calm: bool,
    /// How long no write may be acknowledged during a fault, where a majority is left, and after it ended.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    service_within: Duration,
    /// Asks for reads that may be stale, to see that the check finds them.
    #[arg(long)]
    stale_reads: bool,
    /// Seed of faults and clients.
    #[arg(long)]
    seed: u64,
    /// Where history and logs go.
    #[arg(long)]
    folder: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Ending {
    /// kill -9
    Kill,
    /// SIGTERM
    Term,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(colours).init();
    match arguments.command {
        Verb::Workload { servers, duration, clients, task_managers, lose_one_after, report, seed } => {
            let stop = Arc::new(AtomicBool::new(false));
            let plan = workload::Plan {
                servers,
                stop: stop.clone(),
                clients,
                task_managers,
                lose_one_after,
                report,
                seed,
            };
            let asked = match tokio::signal::unix::signal(SignalKind::terminate()) {
                Ok(asked) => asked,
                Err(error) => return finish(Err(format!("SIGTERM can not be listened to: {error}"))),
            };
            tokio::spawn(stop_in_time(stop, duration, asked));
            finish(workload::run(plan).await.map(|violations| violations == 0))
        }
        Verb::Verdict { servers, report } => finish(verdict::judge(&servers, &report).await.map(|verdict| {
            for (what, count) in &verdict.counts {
                println!("{count:>8} {what}");
            }
            for violation in &verdict.violations {
                println!("VIOLATION {violation}");
            }
            verdict.violations.is_empty()
        })),
        Verb::Storm(arguments) => finish(run_storm(arguments).await),
        Verb::Linearizability { history } => finish(check_history(&history)),
        Verb::HandOver(arguments) => finish(run_hand_overs(&arguments).await),
        Verb::FailoverTime { binary, runs, signal, clients, median_within, all_within } => {
            let signal = if matches!(signal, Ending::Kill) { Signal::KILL } else { Signal::TERM };
            finish(failover_time::run(&binary, runs, signal, clients).await.map(|gaps| {
                let median = gaps.get(gaps.len() / 2).copied().unwrap_or_default();
                let least = gaps.first().copied().unwrap_or_default();
                let most = gaps.last().copied().unwrap_or_default();
                println!("{} runs: minimum {least:.1?}, median {median:.1?}, maximum {most:.1?}", gaps.len());
                median_within.is_none_or(|bar| median <= bar) && all_within.is_none_or(|bar| most <= bar)
            }))
        }
    }
}

async fn run_hand_overs(arguments: &HandOverArguments) -> Result<bool, String> {
    let seen = hand_over::run(&arguments.binary, arguments.runs, arguments.clients).await?;
    println!(
        "{} hand-overs: gap median {:.1} ms, maximum {:.1} ms; longest call {:.1} ms; {} calls done, {} failed {}",
        arguments.runs,
        seen["gap_ms_median"].as_f64().unwrap_or_default(),
        seen["gap_ms_max"].as_f64().unwrap_or_default(),
        seen["call_ms_max"].as_f64().unwrap_or_default(),
        seen["done"],
        seen["failed"],
        seen["failures"],
    );
    if let Some(file) = &arguments.report {
        std::fs::write(file, seen.to_string()).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(true)
}

async fn run_storm(arguments: StormArguments) -> Result<bool, String> {
    let fitting = storm::FaultKind::value_variants().iter().copied();
    let fitting = fitting.filter(|kind| kind.fits(arguments.servers));
    let fitting = fitting.filter(|kind| arguments.spares > 0 || *kind != storm::FaultKind::Replace);
    let faults =
        arguments.faults.unwrap_or_else(|| if arguments.calm { Vec::new() } else { fitting.collect() });
    if let Some(kind) = faults.iter().find(|kind| !kind.fits(arguments.servers)) {
        return Err(format!("{kind:?} needs five servers"));
    }
    let plan = storm::Plan {
        binary: arguments.binary,
        namespaces: arguments.namespaces,
        servers: arguments.servers,
        spares: arguments.spares,
        clients: arguments.clients,
        parts: arguments.parts,
        duration: arguments.duration,
        faults,
        service_within: arguments.service_within,
        stale_reads: arguments.stale_reads,
        seed: arguments.seed,
        folder: arguments.folder,
    };
    let result = storm::run(plan).await?;
    println!("{}", result.summary);
    for violation in &result.violations {
        println!("VIOLATION {violation}");
    }
    if result.violations.is_empty() && !result.shortfalls.is_empty() {
        return Err(result.shortfalls.join("; "));
    }
    Ok(result.violations.is_empty())
}

fn check_history(path: &std::path::Path) -> Result<bool, String> {
    let (setting, operations) = linear::operation::load(path)?;
    let report = linear::check::check(&setting, operations);
    println!("{}", report.counts);
    for violation in &report.violations {
        println!("VIOLATION {violation}");
    }
    if report.violations.is_empty() && !report.undecided.is_empty() {
        return Err(format!("the search reached its limit in the parts {:?}", report.undecided));
    }
    Ok(report.violations.is_empty())
}

async fn stop_in_time(stop: Arc<AtomicBool>, duration: Duration, mut asked: TerminationSignal) {
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        _ = asked.recv() => {}
    }
    stop.store(true, Ordering::SeqCst);
}

fn finish(result: Result<bool, String>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            tracing::error!("invalid run: {why}");
            ExitCode::from(2)
        }
    }
}
