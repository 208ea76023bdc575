//! Linearizability of the real cluster: a recorded history, a model, and the search for an order that explains it.
//!
//! What it promises: a history passes only if, part by part, one order of all operations exists that respects real time and
//! in which the model gives every answer that was seen; a search that reaches its limit is a failure. What it must not do:
//! share code with the product, or take a timeout for "did not happen".

pub mod check;
pub mod invariants;
pub mod model;
pub mod operation;
pub mod search;
