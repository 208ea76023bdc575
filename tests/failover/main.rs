//! Failover verification with real `slotkeeper server` processes on loopback.
//!
//! Each test runs the verifying workload of `chaos/` against three servers, does one thing to them, waits until they have
//! healed, and asks for the verdict over the whole history: no slot with two owners at any revision, every acknowledged
//! allocation present or ended with a recorded reason, tokens only grew, reads never went back, equal state hashes on all
//! replicas. The workload sends a part of its writes twice under the same key, across each fault. A fleet of a thousand
//! TaskManagers and an agent that sleeps are tried without that workload.

#[path = "../../chaos/cluster.rs"]
#[allow(dead_code)]
mod cluster;
#[path = "../support/drill.rs"]
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

mod clocks;
mod faults;
mod fleet;
mod limits;
mod membership;
mod sleeping_agent;
