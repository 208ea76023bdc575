//! Log format and the metrics registry.
//!
//! What it promises: one [`Metrics`] value per node with a registry of its own, so that three nodes in one process do
//! not mix their figures; every metric has a name, a unit and a help text here and nowhere else. What it must not do:
//! know any other room, or decide anything from a figure. Only this room names the crates behind it.

mod groups;
pub mod log;
mod metrics;
mod timing;

pub use groups::{ConsensusMetrics, HttpMetrics, LeaseMetrics, RoundMetrics, StateMetrics, StorageMetrics};
pub use metrics::{Counter, FloatGauge, Gauge, Histogram, Metrics};
pub use timing::{COUNT_BUCKETS, LATENCY_BUCKETS};
