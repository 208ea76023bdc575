//! What a run found, as a table for people and as JSON for scripts.
//!
//! Promises: the JSON has everything that is needed to judge the figures: hardware, configuration, errors, what the
//! generator itself cost. Must not: leave out what went wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::hardware::Hardware;
use super::options::BenchOptions;
use super::tally::{Operation, Tally};
use crate::cli::table::{Details, Table};

/// A run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    hardware: Hardware,
    configuration: Configuration,
    /// How long it was measured.
    seconds: f64,
    operations: Vec<OperationReport>,
    /// Requests that were not done, by code.
    errors: BTreeMap<String, u64>,
    /// How long those took from when they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    error_latency_ms: Option<Latency>,
    /// Requests of the open loop that were due and never sent, those of the warm-up included.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_sent: Option<u64>,
    /// The longest time in which no request was done.
    longest_gap_ms: f64,
    /// Processor time of the load generator per request.
    #[serde(skip_serializing_if = "Option::is_none")]
    generator_cpu_us_per_request: Option<f64>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
struct Configuration {
    workload: &'static str,
    servers: String,
    clients: u32,
    rate: Option<u32>,
    slots: u32,
    releases_percent: u32,
    keys: bool,
    task_managers: u32,
    task_manager_slots: u32,
    jobs: u32,
    fill: u32,
    threads: u32,
}

#[derive(Debug, Serialize)]
struct OperationReport {
    operation: &'static str,
    count: u64,
    per_second: f64,
    /// Slots given or taken back per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots_per_second: Option<f64>,
    /// Of successes; in the open loop from when they were due.
    latency_ms: Latency,
    /// In the open loop: from when they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_ms: Option<Latency>,
}

/// Latencies in milliseconds.
#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// What was measured beside the tally.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) hardware: Hardware,
    pub(super) servers: String,
    pub(super) lasted: Duration,
    pub(super) longest_gap: Duration,
    /// Requests of the open loop that were due.
    pub(super) due: Option<u64>,
}

impl Report {
    pub(super) fn new(options: &BenchOptions, measured: Measured, tally: &Tally) -> Self {
        let seconds = measured.lasted.as_secs_f64();
        let operations: Vec<_> = tally
            .latencies_us
            .iter()
            .map(|(operation, latencies)| {
                let service_us = tally.service_us.get(operation);
                operation_report(*operation, (latencies, service_us), options, seconds)
            })
            .collect();
        #[allow(clippy::cast_precision_loss)]
        let per_request = |cpu: Duration| cpu.as_secs_f64() * 1e6 / tally.requests.max(1) as f64;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            hardware: measured.hardware,
            configuration: configuration(options, measured.servers),
            seconds: rounded(seconds),
            operations,
            errors: tally.misses.clone(),
            error_latency_ms: tally.miss_latencies_us.as_ref().map(latency),
            not_sent: measured.due.map(|due| due.saturating_sub(tally.requests)),
            longest_gap_ms: rounded(measured.longest_gap.as_secs_f64() * 1e3),
            generator_cpu_us_per_request: tally.cpu.map(per_request).map(rounded),
        }
    }

    /// The table for people.
    pub(super) fn render(&self) -> String {
        let Hardware { cores, cpu, kernel, load_average } = &self.hardware;
        let configuration = &self.configuration;
        let loop_kind = match configuration.rate {
            Some(rate) => format!("open, {rate} requests/s"),
            None => "closed".to_owned(),
        };
        let workload = format!(
            "{}, {} slots a request, {} % releases, keys: {}",
            configuration.workload,
            configuration.slots,
            configuration.releases_percent,
            if configuration.keys { "yes" } else { "no" },
        );
        let fleet = format!(
            "{} TaskManagers with {} slots, {} slots taken before",
            configuration.task_managers, configuration.task_manager_slots, configuration.fill
        );
        let details = Details::default()
            .with("hardware", format!("{cores} cores, {cpu}, Linux {kernel}, load average {load_average}"))
            .with("servers", &configuration.servers)
            .with("workload", workload)
            .with("clients", format!("{}, {loop_kind}", configuration.clients))
            .with("fleet", fleet)
            .with("measured", format!("{:.1} s", self.seconds))
            .with("longest gap", format!("{:.1} ms without a success", self.longest_gap_ms))
            .with_some("not sent", self.not_sent.map(|count| format!("{count} requests that were due")))
            .with_some(
                "generator",
                self.generator_cpu_us_per_request
                    .map(|cpu| format!("{cpu:.1} µs of processor time a request")),
            );
        format!("{}\n{}{}", details.render(), self.operations_table(), self.errors_table())
    }

    fn operations_table(&self) -> String {
        let mut table = Table::new(&[
            "OPERATION",
            "COUNT",
            "PER SECOND",
            "SLOTS/S",
            "P50 MS",
            "P90 MS",
            "P99 MS",
            "P99.9 MS",
            "MAX MS",
        ]);
        for operation in &self.operations {
            let Latency { p50, p90, p99, p999, max, .. } = &operation.latency_ms;
            table.row([
                operation.operation.to_owned(),
                operation.count.to_string(),
                format!("{:.0}", operation.per_second),
                operation.slots_per_second.map_or(String::new(), |slots| format!("{slots:.0}")),
                format!("{p50:.2}"),
                format!("{p90:.2}"),
                format!("{p99:.2}"),
                format!("{p999:.2}"),
                format!("{max:.2}"),
            ]);
        }
        table.render()
    }

    fn errors_table(&self) -> String {
        if self.errors.is_empty() {
            return String::new();
        }
        let mut table = Table::new(&["ERROR", "COUNT"]);
        for (code, count) in &self.errors {
            table.row([code.clone(), count.to_string()]);
        }
        format!("\n{}", table.render())
    }
}

fn configuration(options: &BenchOptions, servers: String) -> Configuration {
    Configuration {
        workload: options.workload.as_str(),
        servers,
        clients: options.clients,
        rate: options.rate,
        slots: options.slots,
        releases_percent: options.releases,
        keys: !options.without_keys,
        task_managers: options.task_managers,
        task_manager_slots: options.task_manager_slots,
        jobs: super::workload::jobs(options),
        fill: options.fill,
        threads: options.threads,
    }
}

fn operation_report(
    operation: Operation,
    (latencies_us, service_us): (&Histogram<u64>, Option<&Histogram<u64>>),
    options: &BenchOptions,
    seconds: f64,
) -> OperationReport {
    let count = latencies_us.len();
    #[allow(clippy::cast_precision_loss)]
    let per_second = count as f64 / seconds.max(f64::MIN_POSITIVE);
    let moves_slots = matches!(operation, Operation::Allocate | Operation::Release);
    OperationReport {
        operation: operation.as_str(),
        count,
        per_second: rounded(per_second),
        slots_per_second: moves_slots.then(|| rounded(per_second * f64::from(options.slots))),
        latency_ms: latency(latencies_us),
        service_ms: service_us.map(latency),
    }
}

fn latency(latencies_us: &Histogram<u64>) -> Latency {
    #[allow(clippy::cast_precision_loss)]
    let at = |quantile| rounded(latencies_us.value_at_quantile(quantile) as f64 / 1e3);
    Latency {
        mean: rounded(latencies_us.mean() / 1e3),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
    }
}

/// Three digits behind the point: more than any measurement here has.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
