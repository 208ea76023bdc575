//! The Raft engine behind one handle: the only asynchronous gate to the log.
//!
//! The way through the room: [`Consensus`] is what everyone else holds (`handle.rs`, `start.rs`); proposals, barriers,
//! membership and status are its parts. Below it the engine sees our log (`log_store.rs`), our replica
//! (`state_machine.rs`) and our network: `network.rs` and `append_stream.rs` send over the connections of `peers.rs`,
//! `server.rs` and its receivers answer, `messages.rs` says what goes over the wire. `bootstrap.rs` founds a cluster
//! or joins one, `founder.rs` asks on for who was left out; `fast_path.rs` makes fail-over fast; `recovery.rs` begins anew when a
//! majority of the disks is lost.
//!
//! What it promises: what is acknowledged is on the disks of a majority and applied; order is kept; leadership is
//! proved, never assumed; a node takes part only under the id and the data directory that it joined with. What it must
//! not do: look into what is proposed. This is the only room that names the engine's crate. Tested in
//! `tests/consensus`.

mod acknowledged;
mod append_receiver;
mod append_stream;
mod barrier;
mod bootstrap;
mod connection;
mod contacts;
mod entry_bytes;
mod errors;
mod fast_path;
mod founder;
mod handle;
mod heartbeat_receiver;
mod local_node;
mod log_store;
mod membership;
mod messages;
mod network;
mod older_directory;
mod options;
mod peers;
mod proposals;
mod received;
mod recovery;
mod server;
mod snapshot_disk;
mod snapshot_pace;
mod snapshot_receiver;
mod snapshot_sender;
mod start;
mod state_machine;
mod status;
mod timing;
mod transport;
mod types;

pub use bootstrap::{Bootstrap, FIRST_MEMBERS_MAX, RequestMembership};
#[cfg(fuzzing)]
pub use connection::is_peer_message;
pub use errors::{BarrierError, MembershipConflict, MembershipError, ProposeError, StartError, StopReason};
pub use handle::Consensus;
pub use log_store::LogAdapter;
pub use membership::NodeIdMinter;
pub use messages::{AppliedChain, PeerReport, Refusal};
pub use options::ConsensusOptions;
pub use proposals::RECORD_BYTES_MAX;
pub use received::ReceivedCounts;
pub use recovery::{FreshBits, Recovery, RecoveryError, RecoveryPlan, Survivor, recover};
pub use state_machine::StateMachine;
pub use status::{Member, MemberRole, Role, Status};
pub use timing::{LogRetention, Timing, TimingError};
pub use transport::{BoxedStream, ByteStream, PeerListener, TcpTransport, Transport};
pub use types::TypeConfig;
