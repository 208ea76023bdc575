//! The registry of one node and its text form.
//!
//! What it promises: cloning is cheap and every clone counts into the same registry; encoding never blocks who counts
//! for longer than one figure. What it must not do: be global; two nodes in one process have two registries.

use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::registry::{Metric, Registry};

use super::groups::{
    ConsensusMetrics, HttpMetrics, LeaseMetrics, RoundMetrics, StateMetrics, StorageMetrics,
};

/// Counts events; only grows.
pub type Counter = prometheus_client::metrics::counter::Counter;
/// A figure that goes up and down.
pub type Gauge = prometheus_client::metrics::gauge::Gauge;
/// A figure that is no whole number, for example seconds.
pub type FloatGauge = prometheus_client::metrics::gauge::Gauge<f64, std::sync::atomic::AtomicU64>;
/// A distribution over fixed bounds.
pub type Histogram = prometheus_client::metrics::histogram::Histogram;

/// The media type of [`Metrics::encode`].
const TEXT_MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All figures of one node, grouped by the room that counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Counted by the leader's round loop.
    pub rounds: RoundMetrics,
    /// Counted by the leader's leases.
    pub leases: LeaseMetrics,
    /// Set from the Raft engine when somebody reads the figures.
    pub consensus: ConsensusMetrics,
    /// Set from the writer of the log when somebody reads the figures.
    pub storage: StorageMetrics,
    /// Counted by the HTTP server.
    pub http: HttpMetrics,
    /// Set from the replicated state when somebody reads the figures.
    pub state: StateMetrics,
    registry: Arc<Registry>,
}

impl Metrics {
    /// A new registry with every metric at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registration = Registration(Registry::with_prefix("slotkeeper"));
        Self {
            rounds: RoundMetrics::register(&mut registration),
            leases: LeaseMetrics::register(&mut registration),
            consensus: ConsensusMetrics::register(&mut registration),
            storage: StorageMetrics::register(&mut registration),
            http: HttpMetrics::register(&mut registration),
            state: StateMetrics::register(&mut registration),
            registry: Arc::new(registration.0),
        }
    }

    /// The figures in the OpenMetrics text form ([`Metrics::media_type`]).
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        text::encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }

    /// The media type of [`Metrics::encode`].
    #[must_use]
    pub fn media_type() -> &'static str {
        TEXT_MEDIA_TYPE
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Registers metrics and hands them back, so that a group names each of its metrics once.
pub(super) struct Registration(Registry);

impl Registration {
    /// Adds `metric` under `name` with `help`; counters get the suffix `_total` in the text.
    pub(super) fn add<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    /// A counter at zero.
    pub(super) fn counter(&mut self, name: &str, help: &str) -> Counter {
        self.add(name, help, Counter::default())
    }

    /// A gauge at zero.
    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        self.add(name, help, Gauge::default())
    }

    /// A gauge of seconds at zero.
    pub(super) fn float_gauge(&mut self, name: &str, help: &str) -> FloatGauge {
        self.add(name, help, FloatGauge::default())
    }

    /// An empty histogram.
    pub(super) fn histogram(&mut self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        self.add(name, help, Histogram::new(bounds.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_in_one_process_do_not_mix_their_figures() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.rounds.proposed.inc();
        assert!(one.encode().contains("slotkeeper_rounds_proposed_total 1\n"));
        assert!(other.encode().contains("slotkeeper_rounds_proposed_total 0\n"));
    }

    #[test]
    fn a_clone_counts_into_the_same_registry() {
        let metrics = Metrics::new();
        metrics.clone().http.observe("GET", "/v1/jobs", 200, 0.002);
        let text = metrics.encode();
        let line = "slotkeeper_http_requests_total{method=\"GET\",route=\"/v1/jobs\",status=\"200\"} 1\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn the_text_ends_as_the_format_demands() {
        assert!(Metrics::new().encode().ends_with("# EOF\n"));
    }
}
