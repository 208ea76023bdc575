//! The JSON shapes of the HTTP API, its units and its problem codes.
//!
//! What it promises: one shape for server and clients; requests refuse unknown and repeated members; answers may grow
//! members, and readers of answers ignore what they do not know. What it must not do: decide anything, or know any
//! domain type beyond ids and resources.

pub mod allocations;
pub mod cluster;
pub mod constraints;
pub mod headers;
pub mod jobs;
mod objects;
pub mod overview;
pub mod pages;
pub mod plan;
pub mod problem;
pub mod queues;
pub mod reasons;
pub mod requirements;
pub mod resources;
pub mod settings;
pub mod task_managers;
pub mod units;

/// The ids that the shapes are made of, for users of the shapes.
pub use crate::domain::ids;
pub use objects::Object;
pub use pages::Page;
pub use problem::{Problem, ProblemCode};
