//! How long a storm's cluster did not serve: the longest time without an acknowledged write during each fault, and until
//! the first one after it ended.
//!
//! What it promises: a fault that leaves no majority whose servers all hear each other is measured from its end alone; a
//! moment after which nothing was acknowledged has no time and is told as such. What it must not do: take a read or a
//! refusal for a write.

use std::fmt::Write;

use super::faults::FaultKind;
use crate::linear::operation::{Action, Operation, Outcome};

/// One fault on the clock of the history.
#[derive(Debug, Clone, Copy)]
pub struct Dealt {
    /// What it was.
    pub kind: FaultKind,
    /// Before it was made.
    pub began_ns: u64,
    /// After it was taken away.
    pub ended_ns: u64,
}

/// A time without an acknowledged write.
#[derive(Debug, Clone, Copy)]
struct Silence {
    kind: FaultKind,
    when: &'static str,
    milliseconds: Option<u64>,
}

const DURING: &str = "during";
const AFTER: &str = "after the end of";

/// All silences of a storm.
#[derive(Debug, Default)]
pub struct Service {
    silences: Vec<Silence>,
}

impl Service {
    /// What the history says about these faults.
    pub fn of(faults: &[Dealt], operations: &[Operation]) -> Self {
        let mut acknowledged_ns: Vec<u64> = operations.iter().filter_map(acknowledged).collect();
        acknowledged_ns.sort_unstable();
        let mut silences = Vec::new();
        for fault in faults {
            let mut note = |when, nanoseconds: Option<u64>| {
                let milliseconds = nanoseconds.map(|time| time / 1_000_000);
                silences.push(Silence { kind: fault.kind, when, milliseconds });
            };
            if fault.kind.leaves_a_majority() {
                note(DURING, longest_silence(&acknowledged_ns, fault.began_ns, fault.ended_ns));
            }
            note(AFTER, first_after(&acknowledged_ns, fault.ended_ns).map(|first| first - fault.ended_ns));
        }
        Self { silences }
    }

    /// Silences that were longer, or had no end.
    pub fn longer_than(&self, bar_ms: u64) -> Vec<String> {
        let long =
            self.silences.iter().filter(|silence| silence.milliseconds.is_none_or(|time| time > bar_ms));
        long.map(|silence| {
            let time = silence.milliseconds.map_or("for ever".to_owned(), |time| format!("for {time} ms"));
            format!("no write was acknowledged {time} {} {:?}", silence.when, silence.kind)
        })
        .collect()
    }

    /// The longest silence during and after faults, and the median of all.
    pub fn summary(&self) -> String {
        let mut times: Vec<u64> = self.silences.iter().filter_map(|silence| silence.milliseconds).collect();
        times.sort_unstable();
        let Some(median) = times.get(times.len() / 2) else { return "no silences".to_owned() };
        let mut text = format!("silence: median {median} ms");
        for when in [DURING, AFTER] {
            let those = self.silences.iter().filter(|silence| silence.when == when);
            if let Some(Silence { kind, milliseconds: Some(time), .. }) =
                those.max_by_key(|silence| silence.milliseconds)
            {
                write!(text, ", at most {time} ms {when} {kind:?}").expect("a string takes all");
            }
        }
        text
    }
}

/// The longest time between acknowledgements from one moment to the first of them after another; `None` if it has no end.
fn longest_silence(acknowledged_ns: &[u64], from_ns: u64, until_ns: u64) -> Option<u64> {
    let mut last_ns = from_ns;
    let mut longest = 0;
    let begin = acknowledged_ns.partition_point(|time_ns| *time_ns < from_ns);
    for time_ns in &acknowledged_ns[begin..] {
        longest = longest.max(time_ns - last_ns);
        if *time_ns >= until_ns {
            return Some(longest);
        }
        last_ns = *time_ns;
    }
    None
}

fn first_after(acknowledged_ns: &[u64], from_ns: u64) -> Option<u64> {
    let index = acknowledged_ns.partition_point(|time_ns| *time_ns < from_ns);
    acknowledged_ns.get(index).copied()
}

/// When a write was acknowledged.
fn acknowledged(operation: &Operation) -> Option<u64> {
    let is_write =
        !matches!(operation.action, Action::ReadJob { .. } | Action::ReadQueue | Action::Renew { .. });
    let is_done = !matches!(operation.outcome, Outcome::Refused | Outcome::Unknown);
    operation.ended_ns.filter(|_| is_write && is_done)
}
