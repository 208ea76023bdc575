//! What was found, for the record, and how the bars stand by it.
//!
//! Must not: measure.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bars::Verdict;

/// The fleets that the bars are about.
const SMALL: u32 = 100;
const MIDDLE: u32 = 10_000;
const LARGE: u32 = 100_000;
/// The least that Flink's decision for one slot takes with 10,000 TaskManagers, in microseconds.
const FLINK_US: f64 = 13_000.0;
/// Beginnings of the cases that are decisions for one plain slot.
const ONE_SLOT: [&str; 3] = ["1 slot, any_fit", "1 slot, least_utilization", "1 slot, most_utilization"];

/// Decisions of one case.
pub struct Decision {
    pub task_managers: u32,
    pub case: String,
    pub times: u32,
    pub p50: Duration,
    pub p99: Duration,
    pub apply: Duration,
}

/// Everything that is recorded.
#[derive(Default)]
pub struct Found {
    pub decisions: Vec<Decision>,
    /// Fleets, and slots a second of a full replan.
    pub replans: Vec<(u32, f64)>,
}

fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

impl Found {
    /// The figures.
    pub fn json(&self) -> Value {
        let decision = |found: &Decision| {
            json!({
                "task_managers": found.task_managers,
                "case": found.case,
                "count": found.times,
                "plan_p50_us": us(found.p50),
                "plan_p99_us": us(found.p99),
                "apply_mean_us": us(found.apply),
            })
        };
        let replan = |(fleet, rate): &(u32, f64)| json!({ "task_managers": fleet, "slots_per_second": rate });
        json!({
            "decisions": self.decisions.iter().map(decision).collect::<Vec<_>>(),
            "replans": self.replans.iter().map(replan).collect::<Vec<_>>(),
        })
    }

    /// How many decisions there were.
    pub fn samples(&self) -> Value {
        json!({ "decisions": self.decisions.iter().map(|found| u64::from(found.times)).sum::<u64>() })
    }

    /// The slowest strategy's figure for one slot.
    fn worst(&self, fleet: u32, value: fn(&Decision) -> Duration) -> Option<f64> {
        let those = self.decisions.iter().filter(|found| found.task_managers == fleet);
        let those = those.filter(|found| ONE_SLOT.contains(&found.case.as_str()));
        those.map(|found| us(value(found))).max_by(f64::total_cmp)
    }

    /// The most that one strategy's p99 grows from the small fleet to the large one.
    fn growth(&self) -> Option<f64> {
        let p99 = |fleet: u32, case: &str| {
            let found =
                self.decisions.iter().find(|found| found.task_managers == fleet && found.case == case);
            found.map(|found| us(found.p99))
        };
        let of = |case: &&str| Some(p99(LARGE, case)? / p99(SMALL, case)?);
        ONE_SLOT.iter().filter_map(of).max_by(f64::total_cmp)
    }

    /// How the bars stand.
    pub fn verdicts(&self) -> [Verdict; 4] {
        let of = |id: &str, measured: Option<f64>| match measured {
            Some(measured) => Verdict::of(id, measured),
            None => Verdict::aside(id, None, "that fleet was not measured"),
        };
        let replan = self.replans.iter().find(|(fleet, _)| *fleet == MIDDLE).map(|(_, rate)| *rate);
        [
            of("decision-p99", self.worst(LARGE, |found| found.p99)),
            of("decision-growth", self.growth()),
            of("decision-flink", self.worst(MIDDLE, |found| found.p50).map(|worst| FLINK_US / worst)),
            of("replan", replan),
        ]
    }
}
