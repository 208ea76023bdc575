//! The check of a whole history: the invariants over all operations, then the search in every part.
//!
//! What it promises: a history is sound only if nothing was found and every search came to an end. What it must not do:
//! look at the cluster.

use std::fmt;
use std::time::{Duration, Instant};

use super::invariants;
use super::model::Part;
use super::operation::{Action, Operation, Outcome, Setting};
use super::search::{Finding, Limit, search};

/// Pairs of placed operations and state that the search of one part may remember.
const CONFIGURATIONS_MAX: usize = 20_000_000;
/// How long the search of one part may take.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(300);

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// What must never happen and did.
    pub violations: Vec<String>,
    /// Parts whose search reached a limit: neither a pass nor a violation.
    pub undecided: Vec<u16>,
    /// What was checked.
    pub counts: Counts,
}

/// The figures of a history.
#[derive(Debug, Default)]
pub struct Counts {
    /// Operations that were done.
    pub done: usize,
    /// Operations that were refused.
    pub refused: usize,
    /// Operations with an unknown outcome.
    pub unknown: usize,
    /// Completed operations that began or ended during a fault.
    pub in_fault: usize,
    /// Slots granted.
    pub slots_granted: usize,
    /// Parts.
    pub parts: usize,
    /// The most operations of one part that were under way at once.
    pub overlap_max: usize,
    /// How long the check took.
    pub time: Duration,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} completed ({} done, {} refused; {} during faults), {} unknown, {} slots granted, {} parts, \
             overlap at most {}, checked in {:.1?}",
            self.done + self.refused,
            self.done,
            self.refused,
            self.in_fault,
            self.unknown,
            self.slots_granted,
            self.parts,
            self.overlap_max,
            self.time
        )
    }
}

/// Checks a history.
pub fn check(setting: &Setting, operations: Vec<Operation>) -> Report {
    let began = Instant::now();
    let mut report = Report { counts: count(&operations), ..Report::default() };
    report.violations = invariants::broken(&operations);
    let mut parts: Vec<Vec<Operation>> = vec![Vec::new(); usize::from(setting.parts)];
    for operation in operations.into_iter().filter(is_of_consequence) {
        parts[usize::from(operation.part)].push(operation);
    }
    report.counts.parts = parts.len();
    for (number, operations) in (0..).zip(&parts) {
        report.counts.overlap_max = report.counts.overlap_max.max(longest_overlap(operations));
        let part = Part::new(setting, operations);
        let limit = Limit { configurations: CONFIGURATIONS_MAX, deadline: Instant::now() + SEARCH_TIME_MAX };
        match search(&part, operations, limit) {
            Finding::Linearizable => {}
            Finding::Violation(account) => {
                report.violations.push(format!("part {number} is not linearizable: {account}"));
            }
            Finding::Undecided => report.undecided.push(number),
        }
    }
    report.counts.time = began.elapsed();
    report
}

/// A read or a heartbeat without an answer says nothing.
fn is_of_consequence(operation: &Operation) -> bool {
    let changes =
        !matches!(operation.action, Action::ReadJob { .. } | Action::ReadQueue | Action::Renew { .. });
    changes || operation.is_known()
}

fn count(operations: &[Operation]) -> Counts {
    let mut counts = Counts::default();
    for operation in operations {
        match &operation.outcome {
            Outcome::Unknown => counts.unknown += 1,
            Outcome::Refused => counts.refused += 1,
            outcome => {
                counts.done += 1;
                if let Outcome::Granted { slots } = outcome {
                    counts.slots_granted += slots.len();
                }
            }
        }
        if operation.in_fault && operation.is_known() {
            counts.in_fault += 1;
        }
    }
    counts
}

/// The most operations under way at once; one without an end is under way from its beginning on.
fn longest_overlap(operations: &[Operation]) -> usize {
    let mut events: Vec<(u64, bool)> = Vec::with_capacity(operations.len() * 2);
    for operation in operations {
        events.push((operation.began_ns, false));
        events.extend(operation.ended_ns.map(|ended_ns| (ended_ns, true)));
    }
    events.sort_unstable();
    let (mut now, mut most) = (0usize, 0);
    for (_, ends) in events {
        if ends {
            now -= 1
        } else {
            now += 1
        }
        most = most.max(now);
    }
    most
}
