//! The truth: a state and the function that applies commands to it.
//!
//! What it promises: [`State::apply`] is total and deterministic. The same records give the same state, outcomes and
//! hashes on every replica, in every process. Each command is checked as a whole before anything changes, so a
//! refused command changes nothing (see `apply` for what that means exactly).
//! What it must not do: read a clock, do I/O, draw random numbers, use floats, iterate in the order of a hash, log, or
//! know any other room but the one that turns values into bytes. The lints below and `tests/architecture.rs` see to that; `tests/domain` replays, splits and
//! restores logs to see that it holds.

#![deny(
    clippy::float_arithmetic,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::iter_over_hash_type,
    missing_docs
)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod allocation;
pub mod apply;
pub mod capacity;
pub mod check;
pub mod command;
pub mod constraint;
pub mod event;
pub mod hash;
pub mod idempotency;
pub mod ids;
pub mod indexes;
pub mod invariants;
pub mod job;
pub mod limits;
pub mod outcome;
mod packed;
pub mod queue;
pub mod recovery;
pub mod resources;
pub mod settings;
pub mod shared_map;
mod sharing;
pub mod state;
mod state_hash;
pub mod task_manager;

pub use allocation::{Allocation, AllocationPhase, EndReason, EndedAllocation, FailedWork, FailureCause};
pub use apply::RoundInProgress;
pub use command::{
    Allocate, AllocationMode, Batch, Command, Fulfil, KeyedCommand, Placement, PutRequirements, Record,
    RequestKey, RoundAfter, SessionStart,
};
pub use constraint::{Constraint, LabelOperator, Labels, PlacementRules, Preference};
pub use event::Event;
pub use ids::{
    AllocationId, ClusterId, Epoch, FencingToken, Generation, IdempotencyKey, JobId, JobMasterId,
    LogicalTime, Name, NameError, QueueName, RequirementName, RequirementVersion, Revision, SessionNumber,
    StrategyName, TaskManagerId, TaskManagerSession,
};
pub use indexes::{Indexes, PendingLine};
pub use invariants::Violation;
pub use job::{Job, JobEnd, JobPhase, JobSummary, Requirement, RequirementState};
pub use outcome::{
    Applied, ChainHash, Grant, Outcome, RefusalCount, RefusalReason, Rejection, Reply, RequirementStatus,
    StaleDecision,
};
pub use queue::{Queue, QueuePhase};
pub use recovery::RecoveryRefused;
pub use resources::{ResourceLimit, ResourceProfile, Usage};
pub use settings::{FormerTimeout, SettingChanges, SettingError, Settings, SettingsPatch};
pub use shared_map::SharedMap;
pub use state::{Counters, MintedNode, State};
pub use state_hash::StateHash;
pub use task_manager::{Condition, Offer, TaskManager};
