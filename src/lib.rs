//! Slotkeeper: a highly available resource manager whose state is a Raft log.
//!
//! TaskManagers offer slots, jobs hold them, and three or five replicas agree through a log on who holds what.
//! The modules are the rooms of the house; `docs/architecture.md` is the tour and `tests/architecture.rs` keeps
//! the rooms apart.

pub mod agent;
pub mod api;
mod background;
pub mod cli;
pub mod client;
pub mod clock;
pub mod codec;
pub mod consensus;
pub mod domain;
pub mod http;
pub mod leader;
pub mod replica;
pub mod scheduler;
pub mod server;
pub mod storage;
pub mod telemetry;
