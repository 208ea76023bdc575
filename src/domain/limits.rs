//! Every bound of the state, with what happens beyond it.
//!
//! Nothing in the state grows without one of these. Limits that operators may want to move are settings
//! (`settings.rs`); the bounds here protect the format and the machine and are fixed for a release.

/// Bytes of a name. Beyond it: `invalid_request`.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of an idempotency key. Beyond it: `invalid_request`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// Bytes of an address. Beyond it: `invalid_request`.
pub const ADDRESS_BYTES_MAX: usize = 512;
/// Bytes of a label's value. Beyond it: `invalid_request`.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;
/// Labels of one TaskManager. Beyond it: `invalid_request`.
pub const LABELS_MAX: usize = 64;
/// Kinds of extended resources in one profile. Beyond it: `invalid_request`.
pub const EXTENDED_RESOURCES_MAX: usize = 16;
/// Slots of one TaskManager, cut dynamically or not. Beyond it: `invalid_request` or the next TaskManager.
pub const SLOTS_PER_TASK_MANAGER_MAX: u32 = 1024;
/// Slots of one allocation request. Beyond it: `invalid_request`.
pub const SLOTS_PER_REQUEST_MAX: u32 = 10_000;
/// Allocation ids in one release, confirmation or heartbeat. Beyond it: `invalid_request`.
pub const ALLOCATIONS_PER_REQUEST_MAX: usize = 10_000;
/// Lines of one declaration. Beyond it: `invalid_request`.
pub const REQUIREMENTS_PER_JOB_MAX: usize = 256;
/// Desired slots of one requirement line. Beyond it: `invalid_request`.
pub const DESIRED_SLOTS_MAX: u32 = 100_000;
/// Constraints of one request or requirement line. Beyond it: `invalid_request`.
pub const CONSTRAINTS_MAX: usize = 32;
/// Values of one constraint, and entries of one preference. Beyond it: `invalid_request`.
pub const CONSTRAINT_VALUES_MAX: usize = 256;
/// Known TaskManagers, lost ones included. Beyond it: `limit_reached`.
pub const TASK_MANAGERS_MAX: usize = 200_000;
/// Known jobs, finished ones included. Beyond it: `limit_reached`.
pub const JOBS_MAX: usize = 200_000;
/// Queues. Beyond it: `limit_reached`.
pub const QUEUES_MAX: usize = 1_000;
/// Ended allocations that are remembered with their reason. Beyond it the oldest is forgotten.
pub const ENDED_ALLOCATIONS_MAX: usize = 65_536;
/// Bytes of a reason that an agent gives. Beyond it the reason is cut.
pub const REASON_BYTES_MAX: usize = 256;
/// Commands of one batch. Beyond it: the next batch.
pub const COMMANDS_PER_BATCH_MAX: usize = 1024;
/// Things that one `ExpireDue` command ends. Beyond it: the next command.
pub const EXPIRED_PER_COMMAND_MAX: usize = 1024;
/// How far logical time may step forward in one entry, in milliseconds: one bad stamp can not expire the world. Leaders
/// keep within it by themselves (`leader/state_clock.rs`).
pub const TIME_STEP_MAX_MS: u64 = 60_000;
/// How long a leader may wait for the outcome of a proposal, in milliseconds, before its session ends. Beyond it the
/// timing of consensus is refused.
pub const PROPOSAL_TIMEOUT_MAX_MS: u64 = 60_000;
/// Node ids that are remembered with their data directory. Beyond it: `limit_reached`.
pub const MINTED_NODES_MAX: usize = 10_000;
/// Kinds of reasons in one refusal. Beyond it the decision is refused.
pub const REFUSAL_REASONS_MAX: usize = 64;
