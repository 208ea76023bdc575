//! The bars: what has to be reached, which command measures it, and whether a measurement reaches it.
//!
//! Promises: a bar is judged only by a measurement under the conditions that it names; anything else is told and not
//! judged. Must not: measure.

/// Which side of its limit a figure has to be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    AtLeast,
    AtMost,
}

/// One thing that has to be reached.
#[derive(Debug, Clone, Copy)]
pub struct Bar {
    pub id: &'static str,
    /// What is measured, under which conditions.
    pub what: &'static str,
    pub side: Side,
    pub limit: f64,
    pub unit: &'static str,
    /// The kind of the record that has it.
    pub record: &'static str,
}

const fn least(id: &'static str, limit: f64, unit: &'static str, of: (&'static str, &'static str)) -> Bar {
    Bar { id, what: of.1, side: Side::AtLeast, limit, unit, record: of.0 }
}

const fn most(id: &'static str, limit: f64, unit: &'static str, of: (&'static str, &'static str)) -> Bar {
    Bar { id, what: of.1, side: Side::AtMost, limit, unit, record: of.0 }
}

const COMPARE: &str = "compare-etcd";
const DECISIONS: &str = "scheduler";
const SCALE: &str = "scale";
const OVERLOAD: &str = "overload";

/// All bars, in the order in which they are told.
pub const BARS: [Bar; 29] = [
    least(
        "rate-256",
        10.0,
        "x etcd",
        (COMPARE, "single allocations over HTTP, 256 clients, three durable replicas"),
    ),
    least("slots-100", 100.0, "x etcd", (COMPARE, "slots per second, 100 slots a request, 64 clients")),
    most("p50-1", 1.0, "x etcd", (COMPARE, "one client, p50 of an allocation")),
    most("p99-256", 0.2, "x etcd", (COMPARE, "p99 of an allocation, 256 clients")),
    most("half-load-p99", 10.0, "ms", ("latency", "p99 of an open loop at half of the capacity")),
    most("fail-over-median", 1.0 / 3.0, "x etcd", (COMPARE, "kill -9 of the leader, median of 30 runs")),
    most("fail-over-maximum", 1.0, "x etcd's median", (COMPARE, "kill -9 of the leader, maximum of 30 runs")),
    most("elections", 0.0, "elections", ("endure", "10 minutes of full load without faults")),
    most("hand-over-gap", 100.0, "ms", ("hand-over", "planned hand-over under load, longest gap")),
    most(
        "hand-over-failed",
        0.0,
        "requests",
        ("hand-over", "planned hand-over under load, failed calls of `client`"),
    ),
    most(
        "decision-p99",
        20.0,
        "µs",
        (DECISIONS, "decision for one slot at 100,000 TaskManagers, p99, every strategy"),
    ),
    most("decision-growth", 3.0, "x", (DECISIONS, "that p99 against the one at 100 TaskManagers")),
    least(
        "decision-flink",
        500.0,
        "x",
        (DECISIONS, "one slot at 10,000 TaskManagers against the 13 ms of Flink"),
    ),
    least(
        "replan",
        1e6,
        "slots/s",
        (DECISIONS, "160,000 slots at once at 10,000 TaskManagers, decided and applied"),
    ),
    most(
        "memory-slot",
        300.0,
        "bytes",
        ("memory", "memory per allocated slot at 1,000,000, all indexes, without keys"),
    ),
    most(
        "snapshot-stall",
        50.0,
        "ms",
        (SCALE, "longest stall of acknowledgements with snapshots at 1,000,000 slots"),
    ),
    most("restart", 5.0, "s", (SCALE, "restart of a replica at 1,000,000 slots until it serves reads")),
    most("learner-time", 20.0, "s", (SCALE, "empty learner caught up at 1,000,000 slots, under load")),
    least("learner-rate", 0.8, "of the rate", (SCALE, "what writers keep while the learner catches up")),
    least("large-rate", 0.8, "of the rate", (SCALE, "allocations at 1,000,000 slots against those at 1,000")),
    most(
        "heartbeat-core",
        0.15,
        "of a core",
        ("heartbeats", "leader, 10,000 TaskManagers heartbeating every 5 s"),
    ),
    most(
        "heartbeat-entries",
        0.0,
        "entries",
        ("heartbeats", "log entries beyond those of an idle cluster meanwhile"),
    ),
    least("overload-goodput", 0.8, "of capacity", (OVERLOAD, "goodput at 10 times the capacity, open loop")),
    most("overload-refusal", 50.0, "ms", (OVERLOAD, "p99 of a refusal at 10 times the capacity")),
    most("overload-header", 0.0, "refusals", (OVERLOAD, "refusals without Retry-After")),
    most(
        "overload-memory",
        1.0,
        "of the bound",
        (OVERLOAD, "memory of a server: 512 MiB, and 512 bytes for each key beyond a million"),
    ),
    most("overload-elections", 1.0, "elections", (OVERLOAD, "elections during all steps")),
    most("overload-lost", 0.0, "TaskManagers", (OVERLOAD, "TaskManagers declared lost during all steps")),
    most(
        "overload-broken",
        0.0,
        "requests",
        (OVERLOAD, "broken connections and unknown outcomes in the steps without an election"),
    ),
];

/// The command that makes a record of a kind.
pub fn command(kind: &str) -> String {
    let file = format!("docs/measurements/{kind}.json");
    match kind {
        "scheduler" => format!("cargo bench --bench scheduler -- --record $PWD/{file}"),
        "memory" => format!("cargo bench --bench scheduler -- --memory 1000000 --record $PWD/{file}"),
        kind => format!("benches/{kind} --record {file}"),
    }
}

/// What came of a bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub id: String,
    /// What was measured, as far as it was.
    pub measured: Option<f64>,
    /// Why it is not judged.
    pub not_judged: Option<String>,
}

impl Bar {
    /// Whether `measured` is on the right side.
    pub fn is_met_by(&self, measured: f64) -> bool {
        match self.side {
            Side::AtLeast => measured >= self.limit,
            Side::AtMost => measured <= self.limit,
        }
    }

    /// The limit with its unit.
    pub fn aim(&self) -> String {
        let sign = if self.side == Side::AtLeast { "≥" } else { "≤" };
        format!("{sign} {} {}", short(self.limit), self.unit)
    }
}

/// The bar with this id.
pub fn bar(id: &str) -> Option<&'static Bar> {
    BARS.iter().find(|bar| bar.id == id)
}

impl Verdict {
    /// A figure that was measured as the bar wants it.
    pub fn of(id: &str, measured: f64) -> Self {
        Self { id: id.to_owned(), measured: Some(measured), not_judged: None }
    }

    /// A figure that says something, but was not measured as the bar wants it.
    pub fn aside(id: &str, measured: Option<f64>, why: impl Into<String>) -> Self {
        Self { id: id.to_owned(), measured, not_judged: Some(why.into()) }
    }

    /// [`Self::of`] if the conditions hold, else [`Self::aside`].
    pub fn if_so(is_so: bool, id: &str, measured: f64, otherwise: &str) -> Self {
        if is_so { Self::of(id, measured) } else { Self::aside(id, Some(measured), otherwise) }
    }

    /// Whether the bar is met; `None` if it is not judged.
    pub fn is_met(&self) -> Option<bool> {
        let measured = self.measured.filter(|_| self.not_judged.is_none())?;
        Some(bar(&self.id)?.is_met_by(measured))
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let Some(bar) = bar(&self.id) else { return format!("unknown bar {}", self.id) };
        let state = match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not judged",
        };
        let measured =
            self.measured.map_or("nothing".to_owned(), |value| format!("{} {}", short(value), bar.unit));
        let why = self.not_judged.as_ref().map_or(String::new(), |why| format!(" ({why})"));
        format!("bar {state:10} {:24} {measured}, wanted {}: {}{why}", bar.id, bar.aim(), bar.what)
    }
}

/// A figure with no more digits than mean something.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size == 0.0 || size >= 1_000.0 || (value.fract() == 0.0 && size >= 1.0) => {
            format!("{value:.0}")
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{BARS, Verdict, bar, command, short};

    #[test]
    fn every_bar_has_an_id_of_its_own_and_a_command() {
        for (number, bar) in BARS.iter().enumerate() {
            assert!(BARS[..number].iter().all(|earlier| earlier.id != bar.id), "{} is there twice", bar.id);
            assert!(command(bar.record).contains(bar.record), "{}", bar.id);
        }
    }

    #[test]
    fn a_limit_itself_is_on_the_right_side() {
        assert!(bar("rate-256").unwrap().is_met_by(10.0));
        assert!(!bar("rate-256").unwrap().is_met_by(9.99));
        assert!(bar("restart").unwrap().is_met_by(5.0));
        assert!(!bar("restart").unwrap().is_met_by(5.01));
    }

    #[test]
    fn what_was_measured_under_other_conditions_is_told_and_not_judged() {
        let verdict = Verdict::if_so(false, "restart", 0.1, "at 1,000 slots");
        assert_eq!(verdict.is_met(), None);
        assert!(
            verdict.line().contains("not judged") && verdict.line().contains("0.100 s"),
            "{}",
            verdict.line()
        );
        assert_eq!(Verdict::of("restart", 0.1).is_met(), Some(true));
        assert_eq!(Verdict::of("restart", 9.0).is_met(), Some(false));
        assert_eq!(Verdict::aside("restart", None, "no replica").is_met(), None);
    }

    #[test]
    fn figures_are_short() {
        let shown: Vec<String> = [0.0, 0.123_4, 3.0, 3.456, 34.56, 345.6, 34_567.8].map(short).into();
        assert_eq!(shown, ["0", "0.123", "3", "3.46", "34.6", "346", "34568"]);
    }
}
