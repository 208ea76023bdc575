//! The opinion: given the state and what is wanted, where slots should go.
//!
//! What it promises: pure functions of the state; whatever they propose passes the checks of `apply` against the same
//! state; a refusal says of every TaskManager why. Only decisions are replicated, so everything here may change from
//! release to release. What it must not do: change the state, read a clock, do I/O, draw random numbers or iterate in
//! the order of a hash. `tests/scheduler` compares it with naive references.
//!
//! The way of a request: [`plan_allocation`] (or [`RequirementWalk`] for declared lines) puts the request into words
//! (`need`), tries slot after slot on paper (`trial`), asks a [`Strategy`] for each where it goes, and if some are
//! missing counts the reasons (`explain`).

#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::iter_over_hash_type, missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod avoidance;
mod explain;
mod need;
mod planner;
mod registry;
mod request;
mod requirements;
mod strategies;
mod strategy;
mod trial;

pub use avoidance::Avoidance;
pub use planner::{Planner, plan_allocation};
pub use registry::Registry;
pub use request::{AllocationRequest, Plan};
pub use requirements::{RequirementWalk, WalkBudget, explain_requirement};
pub use strategies::{AnyFit, LeastUtilization, MostUtilization};
pub use strategy::{Candidate, Order, Strategy, View};
