//! More requests than a cluster can serve: goodput, refusals, elections, memory, and how soon it is itself again.
//!
//! Promises: the capacity is measured in the same run; what the generator could not offer is told. Must not: count what was
//! never sent as refused.

use std::cell::RefCell;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::json;

use crate::bars::Verdict;
use crate::crowd::Crowd;
use crate::overload_step::{Step, verdicts};
use crate::prober::{Refusals, probe};
use crate::processes::load_average;
use crate::record::Recording;
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
const MEMORY_BYTES_MAX: u64 = 512 << 20;
/// With more keys than servers remember by default, a server may take more by so much for each.
const KEYS_BY_DEFAULT: u64 = 1_000_000;
const MEMORY_OF_A_KEY_BYTES_MAX: u64 = 512;
/// What a server may take whatever the speed: this much, and so much for each key that it remembers, with the snapshot that
/// it writes.
const MEMORY_BASE_BYTES_MAX: u64 = 320 << 20;
const MEMORY_OF_A_KEY_AND_SNAPSHOT_BYTES_MAX: u64 = 768;
const KEYS: &str = "slotkeeper_idempotency_keys";
/// What idle and slow connections may do to the p99 of the others, and what they may take of memory.
const BESIDE_A_CROWD_P99_MAX: f64 = 2.0;
const CROWD_MIB_MAX: u64 = 64;
const ELECTIONS_MAX: u64 = 1;
/// What a tenant may do to the others' p99.
const OTHERS_P99_MAX: f64 = 1.2;
/// The load beside a crowd of connections: as much as the servers can do, from so few clients that nobody has to be turned away. What is
/// judged is what the crowd does to those who are served.
const CLIENTS_BESIDE_A_CROWD: u32 = 1_000;
const GREEDY_CONNECTIONS: usize = 20;
const GREEDY_BODY: &str = r#"{"slots":2}"#;
const PROBE_BODY: &str = r#"{"slots":1}"#;

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
    #[arg(long, default_value_t = 3_000)]
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
    /// Where to write what was measured, as JSON
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl Overload {
    /// Runs all steps and prints them; fails if a bar is not met.
    pub async fn run(&self) -> Result<(), Failed> {
        let recording = Recording::begin("overload", self.record.as_deref(), Some(&self.folder));
        let binary = Path::new(&self.slotkeeper).canonicalize()?;
        let folder = tempfile::Builder::new().prefix("overload-").tempdir_in(&self.folder)?;
        let mut cluster = Slotkeeper::start(binary, folder, &["idempotency_keys_max=4000000"]).await?;
        let (term, clients) = (cluster.term().await?, CAPACITY_CLIENTS.to_string());
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
        let (mut missed, mut steps) = (Vec::new(), Vec::new());
        for factor in self.factors.iter().copied().chain([1]) {
            let step = self.step(&mut cluster, capacity * f64::from(factor), self.clients).await?;
            step.print(&factor.to_string(), capacity);
            missed.extend(self.missed_bars(&step, &format!("{factor} times the capacity"), capacity));
            steps.push((factor, step));
        }
        missed.extend(self.beside_a_crowd(&mut cluster, capacity).await?);
        missed.extend(self.beside_a_greedy_tenant(&mut cluster, capacity).await?);
        let (after, last) = self.after(&mut cluster, term).await?;
        missed.extend(after);
        let results = json!({
            "capacity_per_second": capacity,
            "steps": steps.iter().map(|(factor, step)| step.json(&factor.to_string(), capacity)).collect::<Vec<_>>(),
            "missed": missed,
        });
        let samples = json!({ "seconds_of_a_step": self.seconds, "clients": self.clients });
        let all: Vec<Verdict> = verdicts(&steps, capacity).into_iter().chain(last).collect();
        recording.end(&samples, &results, &all)?;
        if missed.is_empty() { Ok(()) } else { Err(missed.join("; ").into()) }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["allocate", "--releases", "50", "--timeout", TIMEOUT, "--jobs", "64"];
        arguments.extend(FLEET);
        arguments.extend(more);
        arguments
    }

    async fn step(&self, cluster: &mut Slotkeeper, rate: f64, clients: u32) -> Result<Step, Failed> {
        let rate = format!("{:.0}", rate.clamp(1.0, 1e6));
        let (clients, duration) = (clients.to_string(), format!("{}s", self.seconds));
        let more = ["--rate", &rate, "--clients", &clients, "--duration", &duration];
        let before = cluster.term().await?;
        let leader = cluster.leader().await?;
        let address = cluster.nodes()[leader].api_addr.clone();
        let arguments = self.arguments(&more);
        let (request, probed) = (probe_request(&address), Rc::new(RefCell::new(Refusals::default())));
        let report = tokio::select! {
            report = cluster.bench(&arguments) => report?,
            () = probe(&address, &request, &probed) => return Err("the clients beside the load have stopped".into()),
        };
        let had_election = cluster.term().await? != before;
        Ok(Step { had_election, probed: probed.take(), ..Step::of(&report) })
    }

    /// The capacity again, while thousands of connections to the leader ask nothing or take for ever.
    /// The crowd's own processor time, on both sides, is missing to the load, so that what is judged is what the others
    /// wait, what the crowd takes of memory, and that nobody is turned away.
    async fn beside_a_crowd(&self, cluster: &mut Slotkeeper, capacity: f64) -> Result<Vec<String>, Failed> {
        let alone = self.step(cluster, capacity, CLIENTS_BESIDE_A_CROWD).await?;
        alone.print("alone", capacity);
        let leader = cluster.leader().await?;
        let address = cluster.nodes()[leader].api_addr.clone();
        let memory_of = |cluster: &Slotkeeper| cluster.memory().get(leader).copied().unwrap_or_default();
        let (memory, keys) = (memory_of(cluster), cluster.metric(KEYS).await? / 3);
        let crowd = Crowd::gather(&address, self.idle, self.slow).await?;
        let step = self.step(cluster, capacity, CLIENTS_BESIDE_A_CROWD).await?;
        let new_keys = (cluster.metric(KEYS).await? / 3).saturating_sub(keys);
        let of_keys = new_keys * MEMORY_OF_A_KEY_BYTES_MAX;
        let grown_mib = memory_of(cluster).saturating_sub(memory + of_keys) >> 20;
        step.print("crowd", capacity);
        let (refused, ratio) = (crowd.failed(), step.accepted_p99_ms / alone.accepted_p99_ms.max(0.001));
        println!(
            "       beside {} idle and {} slow connections, {refused} could not be opened; p99 {ratio:.2} times, memory \
             {grown_mib} MiB more than its {new_keys} new keys explain",
            self.idle, self.slow
        );
        let mut missed = self.missed_bars(&step, "1 times the capacity beside a crowd", 0.0);
        let is_slow = !self.without_speed_bars;
        let bars = [
            (refused > 0, "connections below the limit were refused"),
            (is_slow && ratio > BESIDE_A_CROWD_P99_MAX, "a crowd of connections more than doubles p99"),
            (is_slow && grown_mib > CROWD_MIB_MAX, "a crowd of connections takes more than 64 MiB"),
        ];
        missed.extend(bars.into_iter().filter(|(is_missed, _)| *is_missed).map(|(_, bar)| bar.to_owned()));
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
        let alone = self.step(cluster, capacity / 2.0, self.clients).await?;
        alone.print("half", capacity);
        let leader = cluster.leader().await?;
        let address = cluster.nodes()[leader].api_addr.clone();
        let request = format!(
            "POST /v1/jobs/greedy/allocations HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{GREEDY_BODY}",
            GREEDY_BODY.len()
        );
        let greedy = Crowd::greedy(&address, &request, GREEDY_CONNECTIONS);
        let beside = self.step(cluster, capacity / 2.0, self.clients).await?;
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
            (is_slow && step.probed.p99_ms() > REFUSED_P99_MS_MAX, "p99 of refusals is above 50 ms"),
            (
                step.broken > 0 && (is_slow || !step.had_election),
                "connections broke or outcomes were unknown",
            ),
            (step.goodput == 0.0, "nothing was served"),
            (step.probed.without_retry_after > 0, "a refusal did not say when to come again"),
        ];
        let missed = bars.into_iter().filter(|(is_missed, _)| *is_missed);
        missed.map(|(_, bar)| format!("at {at} {bar}")).collect()
    }

    /// Elections, memory and lost TaskManagers after all steps.
    async fn after(
        &self,
        cluster: &mut Slotkeeper,
        term_before: u64,
    ) -> Result<(Vec<String>, [Verdict; 3]), Failed> {
        let elections = cluster.term().await?.saturating_sub(term_before);
        let lost = cluster.metric("slotkeeper_task_managers_expired_total").await?;
        let keys = cluster.metric(KEYS).await? / 3;
        let memory = cluster.memory().into_iter().max().unwrap_or_default();
        let memory_bound = MEMORY_BASE_BYTES_MAX + keys * MEMORY_OF_A_KEY_AND_SNAPSHOT_BYTES_MAX;
        let memory_max = MEMORY_BYTES_MAX + keys.saturating_sub(KEYS_BY_DEFAULT) * MEMORY_OF_A_KEY_BYTES_MAX;
        let memory_mib = memory >> 20;
        println!(
            "elections: {elections}; TaskManagers lost: {lost}; most memory of a server: {memory_mib} MiB with {keys} remembered keys"
        );
        let bars = [
            (!self.without_speed_bars && elections > ELECTIONS_MAX, "more than one election"),
            (lost > 0, "a TaskManager was declared lost"),
            (
                !self.without_speed_bars && memory > memory_max,
                "a server takes more than 512 MiB and 512 bytes for each key beyond a million",
            ),
            (memory > memory_bound, "a server takes more than what it remembers explains"),
        ];
        let missed = bars.into_iter().filter(|(is_missed, _)| *is_missed).map(|(_, bar)| bar.to_owned());
        let verdicts = [
            Verdict::of("overload-memory", memory as f64 / memory_max as f64),
            Verdict::of("overload-elections", elections as f64),
            Verdict::of("overload-lost", lost as f64),
        ];
        Ok((missed.collect(), verdicts))
    }
}

/// What the client beside the load asks: a job that there is not, so that it takes no slot.
fn probe_request(address: &str) -> String {
    format!(
        "POST /v1/jobs/nobodys/allocations HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{PROBE_BODY}",
        PROBE_BODY.len()
    )
}
