//! One step of an overload: what was offered, what was served, what was refused, and how the bars stand by it.
//!
//! Promises: what was never sent counts neither as served nor as refused. Must not: send anything.

use serde_json::{Value, json};

use crate::bars::Verdict;
use crate::prober::Refusals;

/// Answers that say that nothing was done.
const REFUSALS: [&str; 4] = ["overloaded", "no_leader", "leadership_lost", "shutting_down"];
/// The overload that the bars ask for.
const FACTOR_WANTED: u32 = 10;

/// What one step gave.
pub struct Step {
    pub offered: f64,
    pub goodput: f64,
    pub accepted_p99_ms: f64,
    pub refused: u64,
    pub refused_p99_ms: f64,
    pub broken: u64,
    /// All that was not done, by code.
    pub errors: String,
    pub longest_gap_ms: f64,
    /// Whether the leader changed meanwhile, so that outcomes may be unknown.
    pub had_election: bool,
    /// What clients beside the load saw of refusals.
    pub probed: Refusals,
}

impl Step {
    /// Reads the report of `slotkeeper bench`.
    pub fn of(report: &Value) -> Self {
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
            probed: Refusals::default(),
        }
    }

    /// One row of the table.
    pub fn print(&self, factor: &str, capacity: f64) {
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
            let (seen, p99_ms) = (self.probed.seen(), self.probed.p99_ms());
            println!(
                "       not done: {}; {seen} refusals beside the load with a p99 of {p99_ms:.1} ms",
                self.errors
            );
        }
    }

    /// The step for the record.
    pub fn json(&self, name: &str, capacity: f64) -> Value {
        json!({
            "step": name,
            "offered_per_second": self.offered,
            "goodput_per_second": self.goodput,
            "of_capacity": self.goodput / capacity,
            "accepted_p99_ms": self.accepted_p99_ms,
            "refused": self.refused,
            "refused_p99_ms": self.refused_p99_ms,
            "probed_refusals": self.probed.seen(),
            "probed_refusal_p99_ms": self.probed.p99_ms(),
            "probed_without_retry_after": self.probed.without_retry_after,
            "broken": self.broken,
            "longest_gap_ms": self.longest_gap_ms,
            "had_election": self.had_election,
        })
    }
}

fn counted<'report>((code, count): (&'report String, &Value)) -> (&'report String, u64) {
    (code, count.as_u64().unwrap_or_default())
}

/// How the bars stand by the steps of the open loop.
pub fn verdicts(steps: &[(u32, Step)], capacity: f64) -> Vec<Verdict> {
    let calm = steps.iter().filter(|(_, step)| !step.had_election);
    let broken: u64 = calm.map(|(_, step)| step.broken).sum();
    let seen: usize = steps.iter().map(|(_, step)| step.probed.seen()).sum();
    let without_retry_after: u64 = steps.iter().map(|(_, step)| step.probed.without_retry_after).sum();
    let header = match seen {
        0 => Verdict::aside("overload-header", None, "the clients beside the load were never refused"),
        _ => Verdict::of("overload-header", without_retry_after as f64),
    };
    let mut verdicts = vec![header, Verdict::of("overload-broken", broken as f64)];
    let ids = ["overload-goodput", "overload-refusal"];
    let Some((_, step)) = steps.iter().find(|(factor, _)| *factor >= FACTOR_WANTED) else {
        let why = format!("no step at {FACTOR_WANTED} times the capacity");
        verdicts.extend(ids.map(|id| Verdict::aside(id, None, why.clone())));
        return verdicts;
    };
    verdicts.push(Verdict::of(ids[0], step.goodput / capacity));
    verdicts.push(match step.probed.seen() {
        0 => Verdict::aside(ids[1], None, "the clients beside the load were never refused"),
        _ => Verdict::of(ids[1], step.probed.p99_ms()),
    });
    verdicts
}

#[cfg(test)]
mod tests {
    use super::{Refusals, Step, verdicts};
    use serde_json::json;

    fn step(refused: u64) -> Step {
        Step::of(&json!({
            "seconds": 10.0,
            "operations": [{"per_second": 900.0, "service_ms": {"p99": 20.0}}],
            "errors": {"overloaded": refused, "broken": 0},
            "error_latency_ms": {"p99": 12.0},
            "longest_gap_ms": 30.0,
        }))
    }

    #[test]
    fn what_was_refused_counts_as_offered_and_not_as_served() {
        let step = step(5_000);
        assert_eq!((step.goodput, step.offered, step.refused), (900.0, 1400.0, 5_000));
    }

    #[test]
    fn bars_of_what_did_not_happen_are_not_judged() {
        let of = |steps: &[(u32, Step)], id: &str| {
            let all = verdicts(steps, 1_000.0);
            all.into_iter().find(|verdict| verdict.id == id).unwrap().is_met()
        };
        let ten = [(10, step(5_000))];
        assert_eq!(of(&ten, "overload-goodput"), Some(true));
        assert_eq!(of(&ten, "overload-refusal"), None, "nobody looked at a refusal");
        assert_eq!(of(&ten, "overload-header"), None, "nobody looked at a refusal");
        for (took_ms, is_soon) in [(12.0, true), (80.0, false)] {
            let probed = Refusals { times_ms: vec![took_ms], ..Refusals::default() };
            let ten = [(10, Step { probed, ..step(5_000) })];
            assert_eq!(of(&ten, "overload-refusal"), Some(is_soon));
            assert_eq!(of(&ten, "overload-header"), Some(true));
        }
        assert_eq!(of(&[(10, step(0))], "overload-refusal"), None);
        assert_eq!(of(&[(2, step(0))], "overload-goodput"), None);
    }
}
