//! The leader against an in-memory log: rounds, waiting, leases, and the end of leadership.
//!
//! The log applies to a real replica, at once or when a test lets it; the clock moves when a test says so. Nothing here
//! touches a disk, a socket or another process.

mod clock;
mod duties;
mod ends;
mod held;
mod keys;
mod leases;
mod loopback;
mod rig;
mod rounds;
mod start_failures;
mod waits;
