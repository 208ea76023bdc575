//! Any TaskManager that fits, as Flink's mode `NONE`: stays on one for as long as it takes slots.
//!
//! What it promises: few TaskManagers per request. What it must not do: care which.

use super::super::strategy::{Candidate, Order, Strategy, View};

/// Fills the TaskManager of the last slot as far as it goes, then goes on with the least loaded one.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyFit;

impl Strategy for AnyFit {
    fn name(&self) -> &'static str {
        "any_fit"
    }

    fn choose<'v>(&self, view: &View<'v>) -> Option<Candidate<'v>> {
        view.last().or_else(|| view.candidates(Order::LeastLoaded).next())
    }
}
