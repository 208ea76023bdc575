//! Simulations: whole clusters in one thread, on clocks, networks and disks that a seed decides about.
//!
//! `domain.rs` runs state, scheduler and leader over an ideal log; `cluster.rs` runs the Raft engine below them. Around
//! both are the same clients, TaskManagers and oracle (`world.rs`). How to run more seeds or one: `chaos/README.md`.

mod agents;
mod calls;
mod clients;
mod cluster;
mod disk;
mod domain;
mod draw;
mod entropy;
mod ideal_log;
mod losses;
mod machine;
mod network;
mod node;
mod operator;
mod oracle;
mod planted;
mod runner;
mod trace;
mod trouble;
mod witness;
mod world;

#[test]
fn jobs_and_task_managers_get_what_they_were_told_whoever_leads() {
    runner::run_seeds("jobs_and_task_managers_get_what_they_were_told_whoever_leads", 500, domain::run);
}

#[test]
fn nothing_acknowledged_is_lost_and_all_is_well_after_the_last_fault() {
    runner::run_seeds("nothing_acknowledged_is_lost_and_all_is_well_after_the_last_fault", 500, cluster::run);
}
