//! The program as a supervisor sees it: exit statuses, signals, and a whole development cluster.
//!
//! Real processes on loopback with data in temporary folders; each test ends what it started.

mod dev;
mod endings;
mod process;
