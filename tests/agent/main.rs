//! The agent against a scripted cluster: what it asks, what it runs, and when it stops by itself.
//!
//! Time for leases is a manual clock; everything else waits for conditions.

mod assignments;
mod command_hooks;
mod lease;
mod leaving;
mod registration;
#[path = "../../src/client/tests/scripted_server.rs"]
mod scripted_server;
mod stage;
