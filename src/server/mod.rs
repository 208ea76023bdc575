//! One server: its configuration, its wiring, the order in which it stops, and `slotkeeper dev`.
//!
//! What it promises: `node.rs` is the only place that knows every room, and it is straight-line code; a server that
//! can not go on ends with the exit status of `exit.rs`. What it must not do: hold rules of any room.

mod agreement;
pub mod config;
mod consensus_view;
pub mod dev;
mod dev_ports;
mod directory_watch;
pub mod exit;
mod former_member;
mod joining;
pub mod node;
pub mod open_files;
pub mod options;
pub mod panic_hook;
pub mod recover;
mod replacing;
mod run;
pub mod signals;
mod soundness;
mod space_watch;
pub mod values;

pub use config::{ClusterStart, ConfigError, Endpoint, ServerConfig};
pub use dev_ports::DevServer;
pub use exit::ServerError;
pub use node::{Listeners, Node, NodeSeams};
pub use options::ServerOptions;
pub use run::run;
