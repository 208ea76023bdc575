//! More requests than a cluster can serve: goodput, refusals, elections, memory, and how soon it is itself again.
//!
//! Promises: the capacity is measured in the same run; what the generator could not offer is told. Must not: count what was
//! never sent as refused.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::crowd::Crowd;
use crate::processes::load_average;
use crate::slotkeeper::{Slotkeeper, figures};

type Failed = Box<dyn Error>;

/// Clients of the load with which the capacity is found.
const CAPACITY_CLIENTS: u32 = 256;
/// A fleet that no step fills, because half of the requests give back.
const FLEET: [&str; 4] = ["--task-managers", "200", "--task-manager-slots", "512"];
/// How long one request may take.
const TIMEOUT: &str = "15s";

const GOODPUT_OF_CAPACITY_MIN: f64 = 0.7;
const ACCEPTED_P99_MS_MAX: f64 = 500.0;
const REFUSED_P99_MS_MAX: f64 = 50.0;
const MEMORY_MIB_MAX: u64 = 512;
/// What a server may take whatever the speed: this much, and so much for each key that it remembers.
const MEMORY_BASE_BYTES_MAX: u64 = 320 << 20;
const MEMORY_OF_A_KEY_BYTES_MAX: u64 = 1_536;
const ELECTIONS_MAX: u64 = 1;
/// Answers that say that nothing was done.
const REFUSALS: [&str; 4] = ["overloaded", "no_leader", "leadership_lost", "shutting_down"];
/// What a tenant may do to the others' p99.
const OTHERS_P99_MAX: f64 = 1.2;
const GREEDY_CONNECTIONS: usize = 20;
const GREEDY_BODY: &str = r#"{"slots":2}"#;

/// What is offered.
#[derive(Debug, clap::Args)]
pub struct Overload {
    /// The program `slotkeeper`
    #[arg(long, value_name = "FILE")]
    slotkeeper: PathBuf,
    /// Folder for the data
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Multiples of the capacity, one step each
    #[arg(long, value_delimiter = ',', default_value = "1,2,5,10")]
    factors: Vec<u32>,
    /// Connections of the open loop
    #[arg(long, default_value_t = 1_000)]
    clients: u32,
    /// Seconds of each step
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Connections that ask nothing during one more step
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Connections that take for ever to ask, in the same step
    #[arg(long, default_value_t = 2_000)]
    slow: usize,
    /// Judges what was served, lost, broken and remembered, and only prints what depends on the speed of the machine
    #[arg(long)]
    without_speed_bars: bool,
}

/// What one step gave.
struct Step {
    offered: f64,
    goodput: f64,
    accepted_p99_ms: f64,
    refused: u64,
    refused_p99_ms: f64,
    broken: u64,
    /// All that was not done, by code.
    errors: String,
    longest_gap_ms: f64,
    /// Whether the leader changed meanwhile, so that outcomes may be unknown.
    had_election: bool,
}

impl Overload {
    /// Runs all steps and prints them; fails if a bar is not met.
    pub async fn run(&self) -> Result<(), Failed> {
        let binary = Path::new(&self.slotkeeper).canonicalize()?;
        let folder = tempfile::Builder::new().prefix("overload-").tempdir_in(&self.folder)?;
        let mut cluster = Slotkeeper::start(binary, folder, &["idempotency_keys_max=4000000"]).await?;
        let (term, clients) = (term(&cluster).await?, CAPACITY_CLIENTS.to_string());
        let alone = figures(&cluster.bench(&self.arguments(&["--clients", &clients])).await?);
        // Half of the requests are allocations.
        let capacity = alone.per_second * 2.0;
        println!(
            "capacity: {capacity:.0} requests/s with {clients} clients, load average {}",
            load_average()
        );
        println!(
            "{:>6} {:>9} {:>9} {:>8} {:>13} {:>9} {:>12} {:>7} {:>8}",
            "FACTOR",
            "OFFERED/S",
            "GOODPUT/S",
            "OF CAP.",
            "ACCEPT P99 MS",
            "REFUSED",
            "REFUSE P99MS",
            "BROKEN",
            "GAP MS"
        );
        let mut missed = Vec::new();
        for factor in self.factors.iter().copied().chain([1]) {
            let step = self.step(&cluster, capacity * f64::from(factor)).await?;
            step.print(&factor.to_string(), capacity);
            missed.extend(self.missed_bars(&step, &format!("{factor} times the capacity"), capacity));
        }
        missed.extend(self.beside_a_crowd(&mut cluster, capacity).await?);
        missed.extend(self.beside_a_greedy_tenant(&mut cluster, capacity).await?);
        missed.extend(self.after(&mut cluster, term).await?);
        if missed.is_empty() { Ok(()) } else { Err(missed.join("; ").into()) }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["allocate", "--releases", "50", "--timeout", TIMEOUT, "--jobs", "64"];
        arguments.extend(FLEET);
        arguments.extend(more);
        arguments
    }

    async fn step(&self, cluster: &Slotkeeper, rate: f64) -> Result<Step, Failed> {
        let rate = format!("{:.0}", rate.clamp(1.0, 1e6));
        let (clients, duration) = (self.clients.to_string(), format!("{}s", self.seconds));
        let more = ["--rate", &rate, "--clients", &clients, "--duration", &duration];
        let before = term(cluster).await?;
        let report = cluster.bench(&self.arguments(&more)).await?;
        let had_election = term(cluster).await? != before;
        Ok(Step { had_election, ..Step::of(&report) })
    }

    /// The capacity again, while thousands of connections to the leader ask nothing or take for ever.
    async fn beside_a_crowd(&self, cluster: &mut Slotkeeper, capacity: f64) -> Result<Vec<String>, Failed> {
        let leader = cluster.leader().await?;
        let address = cluster.nodes()[leader].api_addr.clone();
        let crowd = Crowd::gather(&address, self.idle, self.slow).await?;
        let step = self.step(cluster, capacity).await?;
        step.print("crowd", capacity);
        let refused = crowd.failed();
        println!(
            "       beside {} idle and {} slow connections, {refused} could not be opened",
            self.idle, self.slow
        );
        let mut missed = self.missed_bars(&step, "1 times the capacity beside a crowd", capacity);
        if refused > 0 {
            missed.push("connections below the limit were refused".to_owned());
        }
        Ok(missed)
    }

    /// Half of the capacity, alone and while one tenant asks again and again for more than its queue may have.
    async fn beside_a_greedy_tenant(
        &self,
        cluster: &mut Slotkeeper,
        capacity: f64,
    ) -> Result<Vec<String>, Failed> {
        cluster.command(&["queues", "put", "greedy", "--maximum", "slots=1"]).await?;
        cluster.command(&["jobs", "put", "greedy", "--queue", "greedy"]).await?;
        let alone = self.step(cluster, capacity / 2.0).await?;
        alone.print("half", capacity);
        let leader = cluster.leader().await?;
        let address = cluster.nodes()[leader].api_addr.clone();
        let request = format!(
            "POST /v1/jobs/greedy/allocations HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{GREEDY_BODY}",
            GREEDY_BODY.len()
        );
        let greedy = Crowd::greedy(&address, &request, GREEDY_CONNECTIONS);
        let beside = self.step(cluster, capacity / 2.0).await?;
        beside.print("greedy", capacity);
        let ratio = beside.accepted_p99_ms / alone.accepted_p99_ms.max(0.001);
        let refused = greedy.served();
        println!(
            "       beside a tenant that was refused {refused} times; p99 of the others {ratio:.2} times"
        );
        let mut missed =
            self.missed_bars(&beside, "half of the capacity beside a greedy tenant", capacity / 2.0);
        if ratio > OTHERS_P99_MAX && !self.without_speed_bars {
            missed.push("a greedy tenant raises p99 of the others by more than 20 %".to_owned());
        }
        Ok(missed)
    }

    fn missed_bars(&self, step: &Step, at: &str, capacity: f64) -> Vec<String> {
        let is_slow = !self.without_speed_bars;
        let bars = [
            (
                is_slow && step.goodput < capacity * GOODPUT_OF_CAPACITY_MIN,
                "goodput is below 70 % of the capacity",
            ),
            (
                is_slow && step.accepted_p99_ms > ACCEPTED_P99_MS_MAX,
                "p99 of what was accepted is above 500 ms",
            ),
            (
                is_slow && step.refused > 0 && step.refused_p99_ms > REFUSED_P99_MS_MAX,
                "p99 of refusals is above 50 ms",
            ),
            (
                step.broken > 0 && (is_slow || !step.had_election),
                "connections broke or outcomes were unknown",
            ),
            (step.goodput == 0.0, "nothing was served"),
        ];
        let missed = bars.into_iter().filter(|(is_missed, _)| *is_missed);
        missed.map(|(_, bar)| format!("at {at} {bar}")).collect()
    }

    /// Elections, memory and lost TaskManagers after all steps.
    async fn after(&self, cluster: &mut Slotkeeper, term_before: u64) -> Result<Vec<String>, Failed> {
        let elections = term(cluster).await?.saturating_sub(term_before);
        let lost = cluster.metric("slotkeeper_task_managers_expired_total").await?;
        let keys = cluster.metric("slotkeeper_idempotency_keys").await? / 3;
        let running = cluster.nodes().iter().filter_map(|node| node.process.as_ref());
        let memory = running.map(|process| process.memory_bytes()).max().unwrap_or_default();
        let memory_mib = memory >> 20;
        println!(
            "elections: {elections}; TaskManagers lost: {lost}; most memory of a server: {memory_mib} MiB with {keys} remembered keys"
        );
        let bars = [
            (!self.without_speed_bars && elections > ELECTIONS_MAX, "more than one election"),
            (lost > 0, "a TaskManager was declared lost"),
            (!self.without_speed_bars && memory_mib > MEMORY_MIB_MAX, "a server takes more than 512 MiB"),
            (
                memory > MEMORY_BASE_BYTES_MAX + keys * MEMORY_OF_A_KEY_BYTES_MAX,
                "a server takes more than what it remembers explains",
            ),
        ];
        Ok(bars.into_iter().filter(|(is_missed, _)| *is_missed).map(|(_, bar)| bar.to_owned()).collect())
    }
}

impl Step {
    fn of(report: &Value) -> Self {
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        let operations = report["operations"].as_array().map(Vec::as_slice).unwrap_or_default();
        let errors: Vec<(&String, u64)> =
            report["errors"].as_object().into_iter().flatten().map(counted).collect();
        let of = |is_refusal: bool| -> u64 {
            let those = errors.iter().filter(|(code, _)| REFUSALS.contains(&code.as_str()) == is_refusal);
            those.map(|(_, count)| count).sum()
        };
        let goodput: f64 = operations.iter().map(|operation| number(&operation["per_second"])).sum();
        let accepted = operations.iter().map(|operation| number(&operation["service_ms"]["p99"]));
        let missed = (of(true) + of(false)) as f64 / number(&report["seconds"]).max(1e-3);
        Self {
            offered: goodput + missed,
            goodput,
            accepted_p99_ms: accepted.fold(0.0, f64::max),
            refused: of(true),
            refused_p99_ms: number(&report["error_latency_ms"]["p99"]),
            broken: of(false),
            errors: report["errors"].to_string(),
            longest_gap_ms: number(&report["longest_gap_ms"]),
            had_election: false,
        }
    }

    fn print(&self, factor: &str, capacity: f64) {
        println!(
            "{factor:>6} {:>9.0} {:>9.0} {:>8.2} {:>13.1} {:>9} {:>12.1} {:>7} {:>8.0}",
            self.offered,
            self.goodput,
            self.goodput / capacity,
            self.accepted_p99_ms,
            self.refused,
            self.refused_p99_ms,
            self.broken,
            self.longest_gap_ms,
        );
        if self.refused + self.broken > 0 {
            println!("       not done: {}", self.errors);
        }
    }
}

fn counted<'report>((code, count): (&'report String, &Value)) -> (&'report String, u64) {
    (code, count.as_u64().unwrap_or_default())
}

async fn term(cluster: &Slotkeeper) -> Result<u64, Failed> {
    let status = cluster.command(&["status"]).await?;
    status["cluster"]["term"].as_u64().ok_or_else(|| "the status has no term".into())
}
