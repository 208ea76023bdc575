//! The most loaded TaskManager that fits first, as Flink's mode `MIN_RESOURCES`: packs, so that others stay empty.
//!
//! What it promises: each slot goes where the dominant share of what is taken is largest and still leaves room for it.
//! What it must not do: look ahead.

use super::super::strategy::{Candidate, Order, Strategy, View};

/// Packs.
#[derive(Debug, Clone, Copy, Default)]
pub struct MostUtilization;

impl Strategy for MostUtilization {
    fn name(&self) -> &'static str {
        "most_utilization"
    }

    fn choose<'v>(&self, view: &View<'v>) -> Option<Candidate<'v>> {
        view.candidates(Order::MostLoaded).next()
    }
}
