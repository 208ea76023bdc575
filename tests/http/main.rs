//! The HTTP server over real connections on loopback, with the real leader and the real state behind it. Only the
//! Raft log is replaced: `cluster.rs` applies to every replica at once what the leader proposes.

mod api;
mod bad_input;
mod cluster;
mod forwarding;
mod hostile_names;
mod limits;
mod paging;
mod panics;
mod problems;
mod resources;
mod routes;
mod servers;
