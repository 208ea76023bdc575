//! A storm: real servers in network namespaces, clients that record what they were told, and faults drawn by a seed.
//!
//! What it promises: a run ends sound, with a violation, or invalid; a fault whose effect was not seen makes it invalid, and
//! so does a kind of fault that was asked for and did not come. What it must not do: judge by time, except that a whole
//! cluster must serve within a generous bound.

mod changes;
mod clients;
mod detour;
mod faults;
mod late;
mod leaders;
mod network;
mod parts;
mod relay;
mod run;
mod service;

pub use faults::FaultKind;
pub use run::{Plan, run};
