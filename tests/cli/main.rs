//! Recorded runs of the program against a scripted server: what it prints where, and how it ends.

mod agent;
mod alloc;
mod answers;
mod bench;
mod cluster;
mod failures;
mod jobs;
mod queues_and_settings;
mod requirements;
mod run;
#[path = "../../src/client/tests/scripted_server.rs"]
mod scripted_server;
mod task_managers;
mod usage;
mod watch;
