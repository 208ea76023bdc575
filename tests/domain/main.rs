//! The rules of the domain, told as sentences, and the properties that hold for every log.
//!
//! `rules_*` hold one resource each; `properties` replays, splits, restores and retries random logs made by `generator`;
//! `golden` compares stored bytes and hashes with those of earlier releases; `processes` replays in two processes.

#[path = "../support/domain.rs"]
mod support;

mod examples;
mod generator;
mod golden;
mod processes;
mod properties;
mod reach;
mod rules_allocations;
mod rules_expiry;
mod rules_idempotency;
mod rules_jobs;
mod rules_queues;
mod rules_requirements;
mod rules_sessions;
mod rules_task_managers;
mod story;
