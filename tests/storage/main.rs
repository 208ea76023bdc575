//! Tests of the storage room against real files: model, quarantine, faults, power cuts, order of durability.
//!
//! Each file says what it proves. `store.rs` holds the set-up that they share.

mod basics;
mod child;
mod crash_points;
#[path = "../support/directories.rs"]
mod directories;
mod durability;
mod faults;
mod full_disk;
mod kill;
#[path = "../support/loop_device.rs"]
mod loop_device;
mod lying_write;
mod model;
mod power_cut;
mod quarantine;
mod script;
mod snapshots;
mod store;
mod watched_disk;
