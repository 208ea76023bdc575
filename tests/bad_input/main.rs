//! Bad input of every kind that reaches a server: HTTP requests, peer messages, stored bytes, command lines, files.
//!
//! Each corpus is made from a fixed seed, so a failure names the case that repeats it. `SLOTKEEPER_BAD_INPUTS` multiplies
//! the sizes for longer runs. What is asserted everywhere: a refusal or a closed connection, no panic, no change.

#[path = "../../chaos/cluster.rs"]
#[allow(dead_code)]
mod cluster;
#[path = "../consensus/cluster.rs"]
#[allow(dead_code)]
mod consensus_cluster;
#[path = "../support/directories.rs"]
mod directories;
#[path = "../domain/generator.rs"]
#[allow(dead_code)]
mod generator;
#[path = "../../chaos/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../support/domain.rs"]
mod support;

mod command_line;
mod lies;
mod mutation;
mod peers;
mod requests;
mod seeds;
mod snapshots;
mod stored;
