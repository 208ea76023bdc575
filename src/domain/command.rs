//! What can be written to the log: decisions, never wishes.
//!
//! What it promises: variants are append-only and never reordered, because the stored form has no names (golden bytes
//! in the tests); every command carries all that `apply` needs. What it must not do: carry anything that `apply` would
//! have to look up outside the state.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::allocation::FailedWork;
use super::constraint::Labels;
use super::ids::{
    AllocationId, ClusterId, Epoch, IdempotencyKey, JobId, JobMasterId, LogicalTime, QueueName,
    RequirementName, RequirementVersion, Revision, SessionNumber, TaskManagerId, TaskManagerSession,
};
use super::job::Requirement;
use super::outcome::RefusalCount;
use super::queue::QueuePhase;
use super::resources::{ResourceLimit, ResourceProfile};
use super::settings::SettingsPatch;
use super::task_manager::Offer;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A node begins a leadership session; rounds of every older session are refused from here on.
    Begin(SessionStart),
    /// What one round of the leader decided, whatever was applied before it. Read from older logs; no longer written.
    Round(Batch),
    /// What one round of the leader decided on the state of exactly one revision.
    RoundAfter(RoundAfter),
}

/// A round that counts only on the state that it was decided on. Many rounds are proposed before the first is answered, and
/// one of them may not be taken into the log; those that were decided on top of it must then do nothing either.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundAfter {
    /// The revision of that state. If the state has another one, all commands are refused with `StaleSession`.
    pub after: Revision,
    /// What was decided.
    pub batch: Batch,
}

/// The beginning of a leadership session. Its number is the revision at which it is applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStart {
    /// The cluster; taken by the first record, checked by all others.
    pub cluster: ClusterId,
    /// The node that leads.
    pub node_id: u64,
    /// Its wall clock, which counts in the first record only; later ones repeat the time of the state.
    pub at: LogicalTime,
}

/// The commands of one round, applied in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The session that decided them. Another one than the state's: all are refused with `StaleSession`.
    pub session: SessionNumber,
    /// When the leader decided, on the state's clock (`leader/state_clock.rs`); `apply` clamps it.
    pub at: LogicalTime,
    /// What was decided.
    pub commands: Vec<KeyedCommand>,
}

/// A command and the key under which its answer is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyedCommand {
    /// The client's key, if it gave one.
    pub key: Option<RequestKey>,
    /// What to do.
    pub command: Command,
}

/// An idempotency key and what it was used for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestKey {
    /// The client's key.
    pub key: IdempotencyKey,
    /// Hash of method, path and body as the client sent them: the same key with another one is a mistake.
    pub fingerprint: [u8; 16],
}

/// Whether less than all will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AllocationMode {
    /// All slots or none.
    AllOrNothing,
    /// As many as there are, also none.
    BestEffort,
}

/// Where one slot goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// On which TaskManager.
    pub task_manager: TaskManagerId,
    /// In which of its registrations.
    pub epoch: Epoch,
}

/// A decided allocation request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allocate {
    /// For which job.
    pub job: JobId,
    /// The job leader that asks, if it said so; another one than the job's is refused.
    pub job_master_id: Option<JobMasterId>,
    /// How many slots were asked for.
    pub slots: u32,
    /// What each must have; `None` is the default slot of the TaskManager.
    pub profile: Option<ResourceProfile>,
    /// Whether less will do.
    pub mode: AllocationMode,
    /// The decision: empty refuses under `AllOrNothing`.
    pub placements: Vec<Placement>,
    /// Why not more, counted over the TaskManagers that were looked at.
    pub reasons: Vec<RefusalCount>,
}

/// A decided declaration of requirements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PutRequirements {
    /// Of which job.
    pub job: JobId,
    /// The job leader that declares, if it said so.
    pub job_master_id: Option<JobMasterId>,
    /// Version of the declaration.
    pub version: RequirementVersion,
    /// All lines; empty clears.
    pub requirements: Vec<Requirement>,
}

/// Slots for one requirement line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fulfil {
    /// Of which job.
    pub job: JobId,
    /// For which version; another one than the job's is refused.
    pub version: RequirementVersion,
    /// For which line.
    pub requirement: RequirementName,
    /// The decision.
    pub placements: Vec<Placement>,
}

/// What can be done to the state. Append only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// A TaskManager registers, or registers again.
    RegisterTaskManager {
        /// Which.
        id: TaskManagerId,
        /// Which process of it.
        session: TaskManagerSession,
        /// Where jobs reach it.
        address: Arc<str>,
        /// What it offers.
        offer: Offer,
        /// What it is like.
        labels: Labels,
    },
    /// A TaskManager leaves.
    DeregisterTaskManager {
        /// Which.
        id: TaskManagerId,
    },
    /// The verdict that a TaskManager is lost.
    ExpireTaskManager {
        /// Which.
        id: TaskManagerId,
        /// In which registration it was judged; refused if it has registered again.
        epoch: Epoch,
    },
    /// No new slots.
    Cordon {
        /// Which.
        id: TaskManagerId,
    },
    /// New slots again; also ends a drain.
    Uncordon {
        /// Which.
        id: TaskManagerId,
    },
    /// No new slots, and an end to the old ones.
    Drain {
        /// Which.
        id: TaskManagerId,
        /// After how long the rest is released; `None` waits for ever.
        deadline_ms: Option<u64>,
    },
    /// A TaskManager says what it has started and what it could not start.
    Confirm {
        /// Which.
        id: TaskManagerId,
        /// In which registration.
        epoch: Epoch,
        /// What runs.
        started: Vec<AllocationId>,
        /// What does not, with the reason.
        failed: Vec<(AllocationId, Arc<str>)>,
    },
    /// A job is put.
    PutJob {
        /// Which.
        id: JobId,
        /// Who pays.
        queue: QueueName,
        /// Higher goes first.
        priority: i32,
        /// The job leader that may speak for it.
        job_master_id: Option<JobMasterId>,
        /// How long it lives without a heartbeat.
        lease_ms: Option<u64>,
    },
    /// A job ends.
    DeleteJob {
        /// Which.
        id: JobId,
    },
    /// The verdict that a job's lease ran out.
    ExpireJob {
        /// Which.
        id: JobId,
        /// In which declaration it was judged.
        epoch: Epoch,
    },
    /// An allocation request, decided.
    Allocate(Allocate),
    /// A job gives slots back. Unknown ids are named in the answer.
    Release {
        /// Which job.
        job: JobId,
        /// Which slots.
        allocations: Vec<AllocationId>,
    },
    /// A declaration. What it no longer wants is released at once, the newest grants first.
    PutRequirements(PutRequirements),
    /// Slots for a declaration.
    Fulfil(Fulfil),
    /// A queue is put.
    PutQueue {
        /// Which.
        name: QueueName,
        /// The hard ceiling; refused if the queue already holds more.
        maximum: ResourceLimit,
        /// Whether it takes new grants.
        phase: QueuePhase,
    },
    /// A queue goes; refused while it has jobs.
    DeleteQueue {
        /// Which.
        name: QueueName,
    },
    /// Settings change. Of logs before `ChangeSettings`; notes a change even if there is none.
    PatchSettings(SettingsPatch),
    /// Ends what is due by the state's own clock: drains, unconfirmed grants, tombstones.
    ExpireDue,
    /// Mints a node id that no node ever had.
    MintNodeId {
        /// The address of the node that asks; the same address and incarnation get the same id again.
        peer_addr: Arc<str>,
        /// The node's data directory.
        incarnation: uuid::Uuid,
    },
    /// A TaskManager leaves by itself. What has registered under its id meanwhile stays.
    LeaveTaskManager {
        /// Which.
        id: TaskManagerId,
        /// Which registration of it.
        epoch: Epoch,
    },
    /// A TaskManager says what it has started, what it does not run and why. Takes the place of `Confirm`, which old logs
    /// hold.
    Report {
        /// Which.
        id: TaskManagerId,
        /// In which registration.
        epoch: Epoch,
        /// What runs.
        started: Vec<AllocationId>,
        /// What does not.
        failed: Vec<FailedWork>,
    },
    /// The verdict that a TaskManager does not hold what it had confirmed. What has ended meanwhile is left alone.
    EndNotHeld {
        /// Which.
        id: TaskManagerId,
        /// In which registration it was judged.
        epoch: Epoch,
        /// What it does not hold.
        allocations: Vec<AllocationId>,
    },
    /// Settings change; what keeps its value counts as unchanged.
    ChangeSettings(SettingsPatch),
}

impl Command {
    /// Whether it only ends things: it makes room, its entry in the log is small, and done twice it is done once. Served also
    /// where a disk or the table of keys is full.
    pub fn is_release(&self) -> bool {
        matches!(
            self,
            Self::Release { .. }
                | Self::DeleteJob { .. }
                | Self::DeleteQueue { .. }
                | Self::DeregisterTaskManager { .. }
                | Self::LeaveTaskManager { .. }
        )
    }
}
