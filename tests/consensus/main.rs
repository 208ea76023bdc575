//! Tests of the consensus room: the engine's own suite on the real store, and clusters of real nodes in one process.
//!
//! Each file says what it proves. `cluster.rs` holds the set-up that they share: nodes on loopback with real data
//! directories, waited for by condition.

mod bootstrap;
mod churn;
mod cluster;
#[path = "../support/directories.rs"]
mod directories;
mod disks;
mod failover;
mod membership;
mod older_directory;
mod partitions;
mod proposals;
mod refusals;
mod single;
mod snapshots;
mod suite;
mod switch;
