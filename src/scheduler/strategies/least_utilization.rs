//! The least loaded TaskManager first, as Flink's mode `SLOTS`: spreads the load.
//!
//! What it promises: each slot goes where the dominant share of what is taken is smallest, extended resources
//! included. What it must not do: look ahead.

use super::super::strategy::{Candidate, Order, Strategy, View};

/// Spreads.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastUtilization;

impl Strategy for LeastUtilization {
    fn name(&self) -> &'static str {
        "least_utilization"
    }

    fn choose<'v>(&self, view: &View<'v>) -> Option<Candidate<'v>> {
        view.candidates(Order::LeastLoaded).next()
    }
}
