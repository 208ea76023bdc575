//! What changed. Events are told, never obeyed: the state does not depend on them.
//!
//! Variants are append-only: events are part of the chain hash and of the event stream.

use serde::{Deserialize, Serialize};

use super::allocation::EndReason;
use super::ids::{
    AllocationId, Epoch, FencingToken, JobId, QueueName, RequirementVersion, SessionNumber, TaskManagerId,
};
use super::job::JobEnd;
use super::task_manager::Condition;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A node leads.
    SessionBegan {
        /// The session.
        session: SessionNumber,
        /// The node.
        node_id: u64,
    },
    /// A TaskManager registered.
    TaskManagerRegistered {
        /// Which.
        id: TaskManagerId,
        /// Under which number.
        epoch: Epoch,
    },
    /// A TaskManager's condition changed.
    TaskManagerChanged {
        /// Which.
        id: TaskManagerId,
        /// To what.
        condition: Condition,
    },
    /// A TaskManager is no longer known.
    TaskManagerRemoved {
        /// Which.
        id: TaskManagerId,
    },
    /// A job was put.
    JobPut {
        /// Which.
        id: JobId,
    },
    /// A job ended.
    JobFinished {
        /// Which.
        id: JobId,
        /// Why.
        reason: JobEnd,
    },
    /// A finished job is no longer listed.
    JobForgotten {
        /// Which.
        id: JobId,
    },
    /// A slot was granted.
    AllocationGranted {
        /// Which.
        id: AllocationId,
        /// To whom.
        job: JobId,
        /// Where.
        task_manager: TaskManagerId,
        /// Which slot there.
        slot_index: u32,
        /// What the holder shows.
        fencing_token: FencingToken,
    },
    /// A TaskManager confirmed an allocation.
    AllocationActive {
        /// Which.
        id: AllocationId,
    },
    /// An allocation ended.
    AllocationEnded {
        /// Which.
        id: AllocationId,
        /// Whose.
        job: JobId,
        /// Where.
        task_manager: TaskManagerId,
        /// Why.
        reason: EndReason,
    },
    /// A job declared requirements.
    RequirementsPut {
        /// Which job.
        job: JobId,
        /// Their version.
        version: RequirementVersion,
    },
    /// A queue was put.
    QueuePut {
        /// Which.
        name: QueueName,
    },
    /// A queue went.
    QueueDeleted {
        /// Which.
        name: QueueName,
    },
    /// Settings changed.
    SettingsChanged,
    /// A node id was minted.
    NodeIdMinted {
        /// Which.
        node_id: u64,
    },
}
