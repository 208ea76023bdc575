//! The typed client of the HTTP API: any program that talks to a cluster does it through here.
//!
//! Promises: a call either gives the typed answer or says which of three things happened: refused by the cluster,
//! nobody answered, or the outcome is not known (with the key under which the same call can be made again). Within the
//! deadline of a call every failure that a change of the leader or the death of a server can cause is tried again, at
//! another server, under the same idempotency key, so that a planned hand-over fails no call.
//! Must not: read a clock or draw randomness by itself (both are passed in as [`Seams`]), log, or know about the domain
//! beyond the shapes of `api`. The HTTP library is named only here.
//! Tested in `client/tests/mod.rs` against a scripted server on loopback; the pure parts beside their code.

mod allocations;
mod attempt;
mod backoff;
mod call;
mod cluster;
mod error;
mod health;
mod jobs;
mod lane;
mod options;
mod overview;
mod plan;
mod queues;
mod request;
mod requirements;
mod servers;
mod settings;
mod task_managers;
#[cfg(test)]
mod tests;

pub use allocations::AllocationFilter;
pub use call::Client;
pub use error::{ClientError, Failure};
pub use jobs::JobFilter;
pub use lane::{Lane, LaneRequest};
pub use options::{ClientOptions, Seams, ServerAddressError};
pub use task_managers::TaskManagerFilter;
