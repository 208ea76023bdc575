//! A TaskManager: it registers, reports that it is alive, and runs in its slots what the cluster grants.
//!
//! Promises: work runs only while the lease holds, and stops by itself at the deadline; late and deposed messages are
//! refused by epoch, generation and fencing token; a slot is clean before other work starts in it.
//! Must not: know how work is started and stopped (that is what [`Hooks`] are for), or trust an answer without asking
//! when its question was sent. `docs/agent.md` and `docs/fencing.md` say why.
//! Tested in `agent/slots/tests.rs` (decisions) and `tests/agent/` (against a scripted server).

mod actor;
mod command_hooks;
mod config;
mod contact;
mod handle;
mod hooks;
mod lease;
mod message;
mod runner;
mod slots;
mod socket;
mod view;
mod work;

pub use command_hooks::CommandHooks;
pub use config::{AgentConfig, Surroundings, new_session_id};
pub use handle::{Agent, AgentEnd, AgentHandle, AgentStartError};
pub use hooks::{HookFailure, Hooks, NoHooks};
pub use view::{AgentState, AgentView, SlotState, SlotView};
pub use work::{StopReason, Work};
