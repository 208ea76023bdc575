//! Drills: what `docs/operations.md` tells a person to do at night, done by its own words to real servers.
//!
//! The commands are read out of the document, so that a step that does not work fails here. Where the cluster is under load,
//! the verdict of `chaos/` is over its whole history; a full disk and a replica that differs are tried without.

#[path = "../../chaos/cluster.rs"]
#[allow(dead_code)]
mod cluster;
#[path = "../support/drill.rs"]
#[allow(dead_code)]
mod drill;
#[path = "../../chaos/history.rs"]
mod history;
#[path = "../../chaos/http.rs"]
#[allow(dead_code)]
mod http;
#[path = "../support/processes.rs"]
mod processes;
#[path = "../../chaos/task_managers.rs"]
mod task_managers;
#[path = "../../chaos/verdict.rs"]
mod verdict;
#[path = "../../chaos/workload.rs"]
mod workload;

mod damaged_disk;
mod full_disk;
mod lost_member;
mod lost_quorum;
mod replacement;
mod replica_differs;
mod runbook;
