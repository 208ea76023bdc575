//! The strategies that come with the program.
//!
//! What each promises: it depends on the view alone. What none must do: keep anything between two calls.
//! Tested in `tests/scheduler` against naive references and with Flink's own examples.

mod any_fit;
mod least_utilization;
mod most_utilization;

pub use any_fit::AnyFit;
pub use least_utilization::LeastUtilization;
pub use most_utilization::MostUtilization;
