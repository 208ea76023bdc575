//! What is counted: latencies by operation, what went wrong by code, and the longest silence.
//!
//! Promises: counting an answer costs no lock and no memory. Must not: know the time; callers say how long something took.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::caller::Miss;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Allocate,
    Release,
    Declare,
    Heartbeat,
}

impl Operation {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allocate => "allocate",
            Self::Release => "release",
            Self::Declare => "declare",
            Self::Heartbeat => "heartbeat",
        }
    }
}

/// What one thread has counted. Latencies are in microseconds, with three digits.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) latencies_us: BTreeMap<Operation, Histogram<u64>>,
    /// The same from when a request was sent, in the open loop, where it may be due before.
    pub(super) service_us: BTreeMap<Operation, Histogram<u64>>,
    pub(super) misses: BTreeMap<String, u64>,
    /// How long misses took from when they were sent.
    pub(super) miss_latencies_us: Option<Histogram<u64>>,
    /// Processor time of the thread, if the system tells it.
    pub(super) cpu: Option<Duration>,
    /// All requests of the thread, those before the window included.
    pub(super) requests: u64,
}

/// An hour: longer than any request may take.
const LATENCY_US_MAX: u64 = 3_600_000_000;

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are a valid precision")
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, LATENCY_US_MAX);
    // Not `saturating_record`: that cuts at what the histogram has room for now, this makes it grow.
    histogram.record(took_us).expect("a histogram that grows by itself takes every latency up to the bound");
}

fn add_all(sums: &mut BTreeMap<Operation, Histogram<u64>>, others: BTreeMap<Operation, Histogram<u64>>) {
    for (operation, latencies) in others {
        let own = sums.entry(operation).or_insert_with(histogram);
        own.add(latencies).expect("a histogram that grows by itself takes every other");
    }
}

impl Tally {
    pub(super) fn done(&mut self, operation: Operation, took: Duration) {
        record(self.latencies_us.entry(operation).or_insert_with(histogram), took);
    }

    /// Beside [`Self::done`], in the open loop: how long it took from when it was sent.
    pub(super) fn served(&mut self, operation: Operation, took: Duration) {
        record(self.service_us.entry(operation).or_insert_with(histogram), took);
    }

    pub(super) fn missed(&mut self, miss: &Miss, took: Duration) {
        match self.misses.get_mut(&miss.code) {
            Some(count) => *count += 1,
            None => drop(self.misses.insert(miss.code.clone(), 1)),
        }
        record(self.miss_latencies_us.get_or_insert_with(histogram), took);
    }

    /// Adds what another thread has counted.
    pub(super) fn merge(&mut self, other: Self) {
        add_all(&mut self.latencies_us, other.latencies_us);
        add_all(&mut self.service_us, other.service_us);
        for (code, count) in other.misses {
            *self.misses.entry(code).or_default() += count;
        }
        if let Some(latencies) = other.miss_latencies_us {
            let own = self.miss_latencies_us.get_or_insert_with(histogram);
            own.add(latencies).expect("a histogram that grows by itself takes every other");
        }
        self.cpu = match (self.cpu, other.cpu) {
            (Some(own), Some(cpu)) => Some(own + cpu),
            (own, cpu) => own.or(cpu),
        };
        self.requests += other.requests;
    }
}

/// What all threads show while they run.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    done: AtomicU64,
    missed: AtomicU64,
    /// When the last success was, and the longest time between two, in microseconds since `began`.
    last_us: AtomicU64,
    longest_gap_us: AtomicU64,
}

impl Progress {
    /// Nothing is counted before `began`.
    pub(super) fn new(began: Instant) -> Self {
        let zero = || AtomicU64::new(0);
        Self { began, done: zero(), missed: zero(), last_us: zero(), longest_gap_us: zero() }
    }

    /// Counts a success at `now`.
    pub(super) fn done(&self, now: Instant) {
        self.done.fetch_add(1, Ordering::Relaxed);
        let now_us = self.since_us(now);
        let last_us = self.last_us.fetch_max(now_us, Ordering::Relaxed);
        self.longest_gap_us.fetch_max(now_us.saturating_sub(last_us), Ordering::Relaxed);
    }

    pub(super) fn missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Successes and misses so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.missed.load(Ordering::Relaxed))
    }

    /// The longest time without a success, the time since the last one until `end` included.
    pub(super) fn longest_gap(&self, end: Instant) -> Duration {
        let tail_us = self.since_us(end).saturating_sub(self.last_us.load(Ordering::Relaxed));
        Duration::from_micros(self.longest_gap_us.load(Ordering::Relaxed).max(tail_us))
    }

    fn since_us(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    #[test]
    fn the_longest_gap_counts_from_the_begin_and_until_the_end() {
        let began = SystemClock.now();
        let at = |ms| began + Duration::from_millis(ms);
        let progress = Progress::new(began);
        assert_eq!(progress.longest_gap(at(7)), Duration::from_millis(7), "nothing was ever done");
        for ms in [10, 15, 45, 50] {
            progress.done(at(ms));
        }
        assert_eq!(progress.longest_gap(at(60)), Duration::from_millis(30));
        assert_eq!(progress.longest_gap(at(100)), Duration::from_millis(50));
        assert_eq!(progress.counts(), (4, 0));
    }

    #[test]
    fn tallies_of_threads_add_up() {
        let miss = Miss { code: "overloaded".to_owned(), pause: Duration::ZERO };
        let mut sum = Tally::default();
        for took_ms in [1, 3] {
            let mut tally = Tally { requests: 2, ..Tally::default() };
            tally.done(Operation::Allocate, Duration::from_millis(took_ms));
            tally.missed(&miss, Duration::from_millis(9));
            sum.merge(tally);
        }
        assert_eq!(sum.latencies_us[&Operation::Allocate].len(), 2);
        assert_eq!(sum.latencies_us[&Operation::Allocate].min(), 1000);
        assert_eq!((sum.misses["overloaded"], sum.requests, sum.cpu), (2, 4, None));
    }
}
