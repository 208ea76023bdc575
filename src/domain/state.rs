//! The state: what every replica holds, and the questions that can be asked of it.
//!
//! What it promises: everything that decides a later outcome is encoded (counters, clock, idempotency table included);
//! what is derived (`indexes`) is not encoded and is rebuilt equal. What it must not do: hold rules; those are in
//! `apply` and `check`. Fields change only inside `domain`.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::allocation::{Allocation, EndedAllocation};
use super::idempotency::IdempotencyTable;
use super::ids::{
    AllocationId, ClusterId, Epoch, FencingToken, JobId, LogicalTime, QueueName, Revision, SessionNumber,
    TaskManagerId,
};
use super::indexes::Indexes;
use super::job::Job;
use super::outcome::ChainHash;
use super::queue::Queue;
use super::settings::Settings;
use super::task_manager::TaskManager;

/// The last values of everything that the state mints. None of them ever falls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// The last allocation.
    pub allocation: u64,
    /// The last fencing token.
    pub fencing_token: FencingToken,
    /// The last epoch, of TaskManagers and of jobs.
    pub epoch: Epoch,
    /// The last node id.
    pub node_id: u64,
}

/// A node that was given its id by this log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintedNode {
    /// The id.
    pub node_id: u64,
    /// For which data directory.
    pub incarnation: uuid::Uuid,
    /// At which address.
    pub peer_addr: String,
}

/// The whole replicated state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    pub(super) cluster: Option<ClusterId>,
    pub(super) revision: Revision,
    pub(super) session: SessionNumber,
    pub(super) session_node: u64,
    pub(super) now: LogicalTime,
    pub(super) chain: ChainHash,
    pub(super) counters: Counters,
    pub(super) settings: Settings,
    pub(super) task_managers: BTreeMap<TaskManagerId, TaskManager>,
    pub(super) jobs: BTreeMap<JobId, Job>,
    pub(super) queues: BTreeMap<QueueName, Queue>,
    pub(super) allocations: BTreeMap<AllocationId, Allocation>,
    pub(super) ended: VecDeque<EndedAllocation>,
    pub(super) idempotency: IdempotencyTable,
    pub(super) minted_nodes: Vec<MintedNode>,
    #[serde(skip)]
    pub(super) indexes: Indexes,
}

impl State {
    /// The cluster, once the first session has begun.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// How many records have been applied.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The leadership session in force.
    pub fn session(&self) -> SessionNumber {
        self.session
    }

    /// The node that began the session in force.
    pub fn session_node(&self) -> u64 {
        self.session_node
    }

    /// The state's clock.
    pub fn now(&self) -> LogicalTime {
        self.now
    }

    /// Hash of everything that was ever applied.
    pub fn chain(&self) -> ChainHash {
        self.chain
    }

    /// The last minted values.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All TaskManagers, lost ones included.
    pub fn task_managers(&self) -> &BTreeMap<TaskManagerId, TaskManager> {
        &self.task_managers
    }

    /// All jobs, finished ones included.
    pub fn jobs(&self) -> &BTreeMap<JobId, Job> {
        &self.jobs
    }

    /// All queues.
    pub fn queues(&self) -> &BTreeMap<QueueName, Queue> {
        &self.queues
    }

    /// All living allocations.
    pub fn allocations(&self) -> &BTreeMap<AllocationId, Allocation> {
        &self.allocations
    }

    /// The last allocations that ended, oldest first.
    pub fn ended_allocations(&self) -> &VecDeque<EndedAllocation> {
        &self.ended
    }

    /// Answers that are remembered.
    pub fn idempotency(&self) -> &IdempotencyTable {
        &self.idempotency
    }

    /// Nodes that this log gave an id.
    pub fn minted_nodes(&self) -> &[MintedNode] {
        &self.minted_nodes
    }

    /// What is derived from the rest.
    pub fn indexes(&self) -> &Indexes {
        &self.indexes
    }
}
