//! The server side of the HTTP API.
//!
//! What it promises: any replica takes any request and either serves it or sends it on to the leader, once; bad input is
//! refused before it becomes an entry of the log; every wait and every buffer is bounded (`options.rs`). What it must
//! not do: decide anything about slots; it turns requests into intents and outcomes into answers.
//!
//! `routes.rs` is the table of everything that is served. `dispatch.rs` decides where a request is served; one file
//! per resource holds its handlers. Tested in `tests/http` against real connections.

mod admission;
mod allocations;
mod answer;
mod answers;
mod app;
mod body;
mod cluster;
mod cluster_view;
mod connection;
mod dispatch;
mod extract;
mod forward;
mod guests;
mod health;
mod heartbeats;
mod idempotency;
mod index;
mod job_allocations;
mod jobs;
mod long_polls;
mod members;
mod metrics;
mod openapi;
mod options;
mod overview;
mod pages;
mod panics;
mod plan;
mod queues;
mod reads;
mod refusal;
mod requests;
mod requirements;
mod routes;
mod serve;
mod settings;
mod slot_counts;
mod task_managers;

pub use app::{App, Services};
pub use cluster_view::{
    BarrierFailure, CONTACT_AGE_MAX, ClusterFigures, ClusterMember, ClusterPicture, ClusterView,
    MemberReport, MembershipFailure,
};
#[cfg(fuzzing)]
pub use extract::read_body;
pub use openapi::openapi_json;
pub use options::HttpOptions;
pub use panics::{Panicked, contain, is_contained};
pub use serve::serve;
