//! What only a leader does: the round loop, leases, expiry.
//!
//! Every node runs this room; it sleeps until the node leads. Then a session opens: its `Begin` record goes through the
//! log, the state that it leaves is copied, and from there on the leader decides ahead of the log on its own copy. What
//! arrived while earlier rounds were on their way is decided together as one round, applied to the copy at once,
//! sealed into one entry and proposed; callers are answered when the entry is applied here.
//!
//! What it promises: an acknowledged answer is committed and applied; a caller that gets no answer knows whether
//! something may have happened; nobody's lease runs out earlier than it was told; a leader that was deposed decides
//! nothing and keeps nobody alive. What it must not do: name the Raft library, check placements (the state does), or let
//! anything grow without a bound. Tested in the files and, against an in-memory log, in `tests/leader`.

mod alarms;
mod answers;
mod barriers;
mod consensus_log;
mod deciding;
mod duties;
mod expiry;
mod fault;
mod handle;
mod held;
mod intent;
mod keeper;
mod lanes;
mod leading;
mod leases;
mod log;
mod placing;
mod planning;
mod queue;
mod rounds;
mod session;
mod shared;
mod speculation;
mod start_failures;
mod state_clock;
mod verdicts;
mod waiting;

pub use alarms::Alarm;
pub use consensus_log::{ConsensusLog, LogMinter};
pub use fault::{ChainText, LeaderFault};
pub use handle::{HeartbeatError, Leader, LeaderTask};
pub use intent::{AllocationRequest, Intent, Submission, SubmitError, WAIT_MAX_MS};
pub use keeper::{Heartbeat, HeartbeatAnswer};
pub use log::{BarrierFailed, LeaderAddress, Leadership, Log, NodeIdentity, ProposalError};
pub use shared::{LeaderOptions, LeaderSeams};
