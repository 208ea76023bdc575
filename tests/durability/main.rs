//! Durability of real `slotkeeper server` processes: what they promise about disks, seen from outside.
//!
//! The system calls of whole clusters are traced with `strace` and every acknowledgement is held against the syncs
//! before it; disks are made to refuse and to hang under running servers; data directories are shared; servers are killed
//! while they open. Where a cluster is under load, the verdict of `chaos/` must be clean; a restart without a leader is tried
//! without load. What a person does about damage is tried in `tests/drills`.
//! `tests/run` installs `strace`; without it the tests that need it fail, unless `SLOTKEEPER_WITHOUT_STRACE=1` says that
//! this is known.

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
#[path = "../support/loop_device.rs"]
mod loop_device;
#[path = "../support/processes.rs"]
mod processes;
#[path = "../../chaos/task_managers.rs"]
mod task_managers;
#[path = "../../chaos/verdict.rs"]
mod verdict;
#[path = "../../chaos/workload.rs"]
mod workload;

mod acknowledgements;
mod configuration;
mod disk_errors;
mod lost_disk;
mod power_cut;
mod program;
mod proof;
mod restart;
mod slow_disk;
mod small_disk;
mod start;
mod strace;
mod trace;
