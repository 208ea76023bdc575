//! What comes of a command: an answer or a refusal, the same on every replica.
//!
//! What it promises: variants are append-only (outcomes are stored in the idempotency table); each refusal has a stable
//! code. What it must not do: speak of anything outside the state (no leader, no network).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::allocation::AllocationPhase;
use super::event::Event;
use super::ids::{
    AllocationId, Epoch, FencingToken, Generation, JobId, QueueName, RequirementName, RequirementVersion,
    Revision, TaskManagerId,
};
use super::job::JobSummary;
use super::queue::Queue;
use super::resources::ResourceProfile;
use super::settings::{SettingChanges, SettingError, Settings};

/// What applying one record gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// The revision after it.
    pub revision: Revision,
    /// One per command, in order.
    pub outcomes: Vec<Outcome>,
    /// What changed, in order.
    pub events: Vec<Event>,
    /// Hash of everything that was ever applied, outcomes and events included.
    pub chain: ChainHash,
}

/// A running hash; equal on two replicas at one revision, or they have diverged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHash(pub [u8; 32]);

/// What came of one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The answer. Shared, because the idempotency table keeps it too.
    pub result: Arc<Result<Reply, Rejection>>,
    /// The revision at which it was first given.
    pub revision: Revision,
    /// Whether this is the first answer given again.
    pub replayed: bool,
}

/// A granted slot, as the job sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Which.
    pub id: AllocationId,
    /// For whom.
    pub job: JobId,
    /// Where.
    pub task_manager: TaskManagerId,
    /// Where jobs reach it.
    pub address: Arc<str>,
    /// Which slot there.
    pub slot_index: u32,
    /// What it has.
    pub profile: Arc<ResourceProfile>,
    /// What the holder shows.
    pub fencing_token: FencingToken,
    /// Whether it is confirmed.
    pub phase: AllocationPhase,
    /// The line it serves.
    pub requirement: Option<RequirementName>,
}

/// A requirement line, as the job sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequirementStatus {
    /// Which line.
    pub name: RequirementName,
    /// Slots it has.
    pub granted: u32,
    /// Slots it lacks.
    pub pending: u32,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing to tell but that it is done.
    Done,
    /// A TaskManager is registered.
    TaskManagerRegistered {
        /// Whether this is a new registration.
        created: bool,
        /// Its number.
        epoch: Epoch,
        /// The version of `allocations`.
        generation: Generation,
        /// What it should hold.
        allocations: Vec<Grant>,
    },
    /// What a TaskManager confirmed or failed; ids that it does not hold are only counted.
    Confirmed {
        /// Now active (also those that were before).
        active: u32,
        /// Ended because they could not start.
        failed: u32,
        /// Not held by it.
        unknown: u32,
    },
    /// A job is put.
    JobPut {
        /// Whether it is new.
        created: bool,
        /// The job.
        job: Box<JobSummary>,
    },
    /// Slots are granted.
    Allocated {
        /// Which.
        allocations: Vec<Grant>,
        /// How many of those asked for are missing (best effort only).
        missing: u32,
        /// Why they are missing.
        reasons: Vec<RefusalCount>,
    },
    /// Slots are given back.
    Released {
        /// These were held, or had been.
        released: Vec<AllocationId>,
        /// These the job never held.
        unknown: Vec<AllocationId>,
    },
    /// A declaration stands.
    RequirementsPut {
        /// Its version.
        version: RequirementVersion,
        /// Its lines.
        requirements: Vec<RequirementStatus>,
    },
    /// Slots were granted to a declaration.
    Fulfilled {
        /// Which.
        allocations: Vec<AllocationId>,
    },
    /// A queue is put.
    QueuePut {
        /// Whether it is new.
        created: bool,
        /// The queue.
        queue: Box<Queue>,
    },
    /// Settings are changed.
    SettingsPatched(Box<Settings>),
    /// What was due has ended.
    Expired {
        /// How many things.
        count: u32,
    },
    /// A node id.
    NodeId(u64),
    /// Settings are changed, or were so already.
    SettingsChanged {
        /// What holds.
        settings: Box<Settings>,
        /// When each was changed last.
        changes: Box<SettingChanges>,
    },
}

// Answers are remembered by the hundred thousand, and nearly all of them are small.
const _: () = assert!(size_of::<Result<Reply, Rejection>>() <= 64, "what is large in an answer is boxed");

/// Why one TaskManager does not serve a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RefusalReason {
    /// It has no free slot.
    NoFreeSlot,
    /// What is free there is less than asked for.
    NotEnoughFree,
    /// Even when empty it is too small.
    TooSmall,
    /// A constraint does not hold there.
    Constraint,
    /// The spread allows no more there.
    Spread,
    /// It takes no new slots (cordoned, draining, drained).
    NotAccepting,
    /// It is lost.
    Lost,
    /// It would do, but the queue's ceiling allows no more.
    QueueMaximum,
    /// It would do, but the queue is stopped.
    QueueStopped,
    /// It would do, but not all slots that were asked for found a place.
    NotEnoughInAll,
    /// It would do, but work of this job, or of everybody, failed to start there a moment ago.
    StartFailures,
}

impl RefusalReason {
    /// The stable name of the reason in answers.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoFreeSlot => "no_free_slot",
            Self::NotEnoughFree => "not_enough_free",
            Self::TooSmall => "too_small",
            Self::Constraint => "constraint",
            Self::Spread => "spread",
            Self::NotAccepting => "not_accepting",
            Self::Lost => "lost",
            Self::QueueMaximum => "queue_maximum",
            Self::QueueStopped => "queue_stopped",
            Self::NotEnoughInAll => "not_enough_in_all",
            Self::StartFailures => "recent_start_failures",
        }
    }
}

/// How many TaskManagers refuse for one reason. Over one request the counts add up to the TaskManagers looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalCount {
    /// Why.
    pub reason: RefusalReason,
    /// How many.
    pub task_managers: u32,
}

/// A refusal: deterministic, with a stable code; it leaves the state as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The round was decided by a session that has been replaced. Nothing was done.
    #[error("the leader changed before this was decided; nothing was done")]
    StaleSession,
    /// The key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// No room to remember another key.
    #[error("the table of idempotency keys is full of keys younger than the retention")]
    IdempotencyTableFull,
    /// No such TaskManager.
    #[error("no TaskManager `{0}` is registered")]
    UnknownTaskManager(TaskManagerId),
    /// The registration is not the current one.
    #[error("epoch {given} is not the current registration {current}")]
    StaleEpoch {
        /// What was given.
        given: Epoch,
        /// What is current.
        current: Epoch,
    },
    /// No such job, or it is finished.
    #[error("no job `{0}` is running")]
    UnknownJob(JobId),
    /// Another job leader speaks for the job.
    #[error("another job master speaks for job `{0}`")]
    StaleJobMaster(JobId),
    /// The job holds slots in another queue.
    #[error("job `{0}` holds slots and can not change its queue")]
    JobHoldsSlots(JobId),
    /// No such queue.
    #[error("no queue `{0}` exists")]
    UnknownQueue(QueueName),
    /// The queue still has jobs.
    #[error("queue `{0}` still has jobs")]
    QueueInUse(QueueName),
    /// The queue holds more than the new maximum.
    #[error("queue `{0}` holds more than the maximum asked for")]
    QueueAboveMaximum(QueueName),
    /// The default queue can not go.
    #[error("the queue `{0}` can not be deleted")]
    QueueProtected(QueueName),
    /// Not enough slots.
    #[error("not enough slots")]
    InsufficientResources {
        /// Why, counted.
        reasons: Vec<RefusalCount>,
    },
    /// The decision no longer fits the state. Nothing was done.
    #[error("the decision no longer fits: {0}")]
    StaleDecision(StaleDecision),
    /// The version is not above the last one.
    #[error("version {given} is below version {current}, which stands")]
    StaleVersion {
        /// What was given.
        given: RequirementVersion,
        /// What stands.
        current: RequirementVersion,
    },
    /// The version stands with other lines.
    #[error("version {0} stands with other lines; a change needs a higher version")]
    VersionReused(RequirementVersion),
    /// The job never held the allocation.
    #[error("no allocation `{0}` of this job ever existed")]
    UnknownAllocation(AllocationId),
    /// A bound of the state is reached.
    #[error("the limit of {limit} {what} is reached")]
    LimitReached {
        /// Of what.
        what: String,
        /// How many.
        limit: u64,
    },
    /// A setting is out of its range.
    #[error(transparent)]
    InvalidSetting(SettingError),
    /// The command can not be meant (wrong shape); the edges refuse it before it gets here.
    #[error("{field}: {problem}")]
    InvalidCommand {
        /// The field, as the API names it.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The log is of another cluster.
    #[error("the record belongs to another cluster")]
    WrongCluster,
}

/// Which check of a placement failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StaleDecision {
    /// The TaskManager has gone, was replaced, or takes no slots.
    #[error("the TaskManager has gone or takes no slots")]
    TaskManager,
    /// It has no free slot.
    #[error("the TaskManager has no free slot")]
    Slot,
    /// What is free there is less.
    #[error("the TaskManager has too little free")]
    Resources,
    /// The queue's ceiling.
    #[error("the queue's maximum would be exceeded")]
    QueueMaximum,
    /// The queue is stopped.
    #[error("the queue is stopped")]
    QueueStopped,
    /// More slots than are wanted.
    #[error("more slots than are wanted")]
    TooMany,
    /// Fewer slots than the least that is useful.
    #[error("fewer slots than the least that is wanted")]
    TooFew,
}
