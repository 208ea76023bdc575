//! How soon a storm's cluster served again: the first acknowledged write after each fault began, and after it ended.
//!
//! What it promises: only a write that was first sent after that moment counts; a fault that leaves no majority whose
//! servers all hear each other is measured from its end alone; a moment after which nothing was acknowledged has no time
//! and is told as such. What it must not do: take a read or a refusal for a write.

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

/// The longest wait for a write after some fault.
#[derive(Debug, Clone, Copy)]
struct Wait {
    kind: FaultKind,
    side: &'static str,
    milliseconds: Option<u64>,
}

/// All waits of a storm.
#[derive(Debug, Default)]
pub struct Service {
    waits: Vec<Wait>,
}

impl Service {
    /// What the history says about these faults.
    pub fn of(faults: &[Dealt], operations: &[Operation]) -> Self {
        let writes = Writes::of(operations);
        let mut waits = Vec::new();
        for fault in faults {
            let wait = |side, from_ns| Wait {
                kind: fault.kind,
                side,
                milliseconds: writes.first_after(from_ns).map(|ended_ns| (ended_ns - from_ns) / 1_000_000),
            };
            if fault.kind.leaves_a_majority() {
                waits.push(wait("the beginning", fault.began_ns));
            }
            waits.push(wait("the end", fault.ended_ns));
        }
        Self { waits }
    }

    /// Waits that were longer, or had no end.
    pub fn longer_than(&self, bar_ms: u64) -> Vec<String> {
        let long = self.waits.iter().filter(|wait| wait.milliseconds.is_none_or(|time| time > bar_ms));
        long.map(|wait| {
            let time = wait.milliseconds.map_or("for ever".to_owned(), |time| format!("for {time} ms"));
            format!("no write was acknowledged {time} after {} of {:?}", wait.side, wait.kind)
        })
        .collect()
    }

    /// The longest wait after the beginning and the end of each kind, and the median of all.
    pub fn summary(&self) -> String {
        let mut times: Vec<u64> = self.waits.iter().filter_map(|wait| wait.milliseconds).collect();
        times.sort_unstable();
        let Some(median) = times.get(times.len() / 2) else { return "no waits".to_owned() };
        let mut text = format!("next write after a fault's beginning or end: median {median} ms");
        for side in ["the beginning", "the end"] {
            let worst =
                self.waits.iter().filter(|wait| wait.side == side).max_by_key(|wait| wait.milliseconds);
            if let Some(Wait { kind, milliseconds: Some(time), .. }) = worst {
                write!(text, ", at most {time} ms after {side} ({kind:?})").expect("a string takes all");
            }
        }
        text
    }
}

/// When acknowledged writes began and ended, by beginning.
struct Writes {
    began_ns: Vec<u64>,
    /// The earliest end among this write and all that began later.
    first_end_ns: Vec<u64>,
}

impl Writes {
    fn of(operations: &[Operation]) -> Self {
        let mut spans: Vec<(u64, u64)> = operations.iter().filter_map(acknowledged).collect();
        spans.sort_unstable();
        let mut first_end_ns: Vec<u64> = spans.iter().map(|(_, ended_ns)| *ended_ns).collect();
        for index in (1..first_end_ns.len()).rev() {
            first_end_ns[index - 1] = first_end_ns[index - 1].min(first_end_ns[index]);
        }
        Self { began_ns: spans.into_iter().map(|(began_ns, _)| began_ns).collect(), first_end_ns }
    }

    fn first_after(&self, from_ns: u64) -> Option<u64> {
        let index = self.began_ns.partition_point(|began_ns| *began_ns < from_ns);
        self.first_end_ns.get(index).copied()
    }
}

fn acknowledged(operation: &Operation) -> Option<(u64, u64)> {
    let is_write =
        !matches!(operation.action, Action::ReadJob { .. } | Action::ReadQueue | Action::Renew { .. });
    let is_done = !matches!(operation.outcome, Outcome::Refused | Outcome::Unknown);
    operation.ended_ns.filter(|_| is_write && is_done).map(|ended_ns| (operation.began_ns, ended_ns))
}
