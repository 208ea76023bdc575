//! Tests of the storage room against real files: model, quarantine, faults, power cuts, order of durability.
//!
//! Each file says what it proves. `store.rs` holds the set-up that they share.

mod basics;
mod durability;
mod model;
mod quarantine;
mod store;
mod watched_disk;
