//! The options of `slotkeeper bench`, and what can not be meant.

use std::time::Duration;

use super::super::failure::Failure;
use crate::api::units::DurationText;

/// Measures a cluster: how many requests it serves, and how long they take
#[derive(Debug, Clone, clap::Args)]
#[command(
    name = "bench",
    after_help = "It brings TaskManagers and jobs of its own, whose ids begin with `bench-`, and removes them at the end. \
                  See docs/performance.md."
)]
pub(in crate::cli) struct BenchOptions {
    /// What the clients ask for
    #[arg(value_enum, value_name = "WORKLOAD", default_value_t = Workload::Allocate)]
    pub(super) workload: Workload,
    /// Clients, each with one request at a time on a connection of its own
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(super) clients: u32,
    /// Requests per second, however long they take; latency counts from when a request was due [default: each client
    /// asks again as soon as it is answered]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) rate: Option<u32>,
    /// How long to measure
    #[arg(long, value_name = "DURATION", value_parser = DurationText::parse, default_value = "10s")]
    pub(super) duration: DurationText,
    /// How long to ask before it counts
    #[arg(long, value_name = "DURATION", value_parser = DurationText::parse, default_value = "1s")]
    pub(super) warm_up: DurationText,
    /// Slots of each allocation or declaration
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) slots: u32,
    /// How many of 100 requests give back what an earlier one got (`allocate` only)
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=50))]
    pub(super) releases: u32,
    /// Send no idempotency keys, also not with `--fill`: the cluster then remembers no answers
    #[arg(long)]
    pub(super) without_keys: bool,
    /// TaskManagers to register
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) task_managers: u32,
    /// Slots of each TaskManager
    #[arg(long, value_name = "COUNT", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) task_manager_slots: u32,
    /// Jobs that the clients share; with `requirements` each client has its own
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) jobs: u32,
    /// Slots that another job takes before the clients begin
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(super) fill: u32,
    /// Leave the TaskManagers and jobs behind: a cluster that is filled, until the heartbeat timeout
    #[arg(long, conflicts_with = "embedded")]
    pub(super) keep: bool,
    /// Threads that send; one is enough for most clusters
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) threads: u32,
    /// Measure three replicas in this process, on a temporary folder, in place of `--servers`
    #[arg(long)]
    pub(super) embedded: bool,
}

/// What the clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Workload {
    /// Slots, and with `--releases` give some back
    Allocate,
    /// Declare what a job wants: by turns `--slots` and nothing
    Requirements,
    /// Tell that TaskManagers are alive
    Heartbeats,
}

impl Workload {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allocate => "allocate",
            Self::Requirements => "requirements",
            Self::Heartbeats => "heartbeats",
        }
    }
}

impl BenchOptions {
    /// # Errors
    /// If the options contradict each other.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.duration.ms == 0 {
            return Err(Failure::usage("`--duration` must be longer than nothing"));
        }
        if self.releases > 0 && self.workload != Workload::Allocate {
            return Err(Failure::usage("`--releases` goes with the workload `allocate` only"));
        }
        if self.threads > self.clients {
            return Err(Failure::usage("`--threads` must not be more than `--clients`"));
        }
        let capacity = u64::from(self.task_managers) * u64::from(self.task_manager_slots);
        if u64::from(self.fill) > capacity {
            return Err(Failure::usage(format!("`--fill` is more than the {capacity} slots that there are"))
                .with_hint("`--task-managers` and `--task-manager-slots` say how many there are"));
        }
        Ok(())
    }

    pub(super) fn duration(&self) -> Duration {
        Duration::from_millis(self.duration.ms)
    }

    pub(super) fn warm_up(&self) -> Duration {
        Duration::from_millis(self.warm_up.ms)
    }
}
