//! The state: what every replica holds, and the questions that can be asked of it.
//!
//! What it promises: everything that decides a later outcome is encoded (counters, clock, idempotency table included);
//! what is derived (`indexes`) is not encoded and is rebuilt equal. What it must not do: hold rules; those are in
//! `apply` and `check`. Fields change only inside `domain`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::allocation::{Allocation, EndedAllocation};
use super::command::RequestKey;
use super::idempotency::IdempotencyTable;
use super::ids::{
    AllocationId, ClusterId, Epoch, FencingToken, JobId, LogicalTime, QueueName, Revision, SessionNumber,
    TaskManagerId,
};
use super::indexes::Indexes;
use super::job::Job;
use super::outcome::{ChainHash, Grant, Outcome};
use super::queue::Queue;
use super::settings::{FormerTimeout, SettingChanges, Settings};
use super::shared_map::SharedMap;
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

/// The whole replicated state. A clone shares what neither side changes, so it is cheap.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    pub(super) cluster: Option<ClusterId>,
    pub(super) revision: Revision,
    pub(super) session: SessionNumber,
    pub(super) session_node: u64,
    pub(super) now: LogicalTime,
    pub(super) chain: ChainHash,
    pub(super) counters: Counters,
    pub(super) settings: Settings,
    pub(super) task_managers: SharedMap<TaskManagerId, Arc<TaskManager>>,
    pub(super) jobs: SharedMap<JobId, Arc<Job>>,
    pub(super) queues: BTreeMap<QueueName, Queue>,
    pub(super) allocations: SharedMap<AllocationId, Arc<Allocation>>,
    pub(super) ended: VecDeque<Arc<EndedAllocation>>,
    pub(super) idempotency: IdempotencyTable,
    pub(super) minted_nodes: Vec<MintedNode>,
    /// Encoded beside the state (`replica/format.rs`), so that states of earlier logs keep their bytes and hashes.
    #[serde(skip)]
    pub(super) setting_changes: SettingChanges,
    /// Encoded beside the state, too.
    #[serde(skip)]
    pub(super) former_timeout: Option<FormerTimeout>,
    #[serde(skip)]
    pub(super) indexes: Indexes,
}

/// The name of the queue that always exists.
pub const DEFAULT_QUEUE: &str = "default";

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The state before the first record: no cluster, default settings, the default queue without a maximum.
    pub fn new() -> Self {
        let default_queue = QueueName::new(DEFAULT_QUEUE).expect("the default queue has a valid name");
        Self {
            cluster: None,
            revision: Revision::default(),
            session: SessionNumber::default(),
            session_node: 0,
            now: LogicalTime::default(),
            chain: ChainHash::default(),
            counters: Counters::default(),
            settings: Settings::default(),
            task_managers: SharedMap::new(),
            jobs: SharedMap::new(),
            queues: BTreeMap::from([(default_queue, Queue::default())]),
            allocations: SharedMap::new(),
            ended: VecDeque::new(),
            idempotency: IdempotencyTable::default(),
            minted_nodes: Vec::new(),
            setting_changes: SettingChanges::default(),
            former_timeout: None,
            indexes: Indexes::default(),
        }
    }

    /// A clone without the indexes: all that a snapshot needs, at the least cost. Not to be applied to.
    #[must_use]
    pub fn without_indexes(&self) -> Self {
        Self {
            cluster: self.cluster,
            revision: self.revision,
            session: self.session,
            session_node: self.session_node,
            now: self.now,
            chain: self.chain,
            counters: self.counters.clone(),
            settings: self.settings.clone(),
            task_managers: self.task_managers.clone(),
            jobs: self.jobs.clone(),
            queues: self.queues.clone(),
            allocations: self.allocations.clone(),
            ended: self.ended.clone(),
            idempotency: self.idempotency.clone(),
            minted_nodes: self.minted_nodes.clone(),
            setting_changes: self.setting_changes.clone(),
            former_timeout: self.former_timeout,
            indexes: Indexes::default(),
        }
    }

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

    /// When each setting was changed last.
    pub fn setting_changes(&self) -> &SettingChanges {
        &self.setting_changes
    }

    /// The heartbeat timeout before it was lowered the last time, if it was ever; also when nobody counts on it any more.
    pub fn former_timeout(&self) -> Option<FormerTimeout> {
        self.former_timeout
    }

    /// The longest time that any TaskManager may have been told to go on for and may not have used up.
    pub fn promised_timeout_ms(&self) -> u64 {
        let former = self.former_timeout.filter(|former| self.now <= former.until);
        former.map_or(0, |former| former.timeout_ms).max(self.settings.heartbeat_timeout_ms)
    }

    /// This state with what was encoded beside it; needed once after decoding a state.
    #[must_use]
    pub fn with(mut self, changes: SettingChanges, former_timeout: Option<FormerTimeout>) -> Self {
        (self.setting_changes, self.former_timeout) = (changes, former_timeout);
        self
    }

    /// All TaskManagers, lost ones included.
    pub fn task_managers(&self) -> &SharedMap<TaskManagerId, Arc<TaskManager>> {
        &self.task_managers
    }

    /// All jobs, finished ones included.
    pub fn jobs(&self) -> &SharedMap<JobId, Arc<Job>> {
        &self.jobs
    }

    /// All queues.
    pub fn queues(&self) -> &BTreeMap<QueueName, Queue> {
        &self.queues
    }

    /// All living allocations.
    pub fn allocations(&self) -> &SharedMap<AllocationId, Arc<Allocation>> {
        &self.allocations
    }

    /// The last allocations that ended, oldest first.
    pub fn ended_allocations(&self) -> &VecDeque<Arc<EndedAllocation>> {
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

    /// Derives the indexes anew; needed once after decoding a state.
    pub fn rebuild_indexes(&mut self) {
        self.indexes = Indexes::rebuilt(self);
    }

    /// When the next drain deadline, confirmation or tombstone is due, so that `Command::ExpireDue` has work.
    pub fn due_at(&self) -> Option<LogicalTime> {
        self.indexes.due_at(self)
    }

    /// A living allocation as answers show it.
    pub fn grant(&self, id: AllocationId) -> Option<Grant> {
        let allocation = self.allocations.get(&id)?;
        let task_manager = self.task_managers.get(&allocation.task_manager)?;
        Some(Grant {
            id,
            job: allocation.job.clone(),
            task_manager: allocation.task_manager.clone(),
            address: task_manager.address.clone(),
            slot_index: allocation.slot_index,
            profile: allocation.profile.clone(),
            fencing_token: allocation.fencing_token,
            phase: allocation.phase,
            requirement: allocation.requirement.clone(),
        })
    }

    /// What a TaskManager should hold, in the order of its slots.
    pub fn assigned(&self, id: &TaskManagerId) -> Vec<Grant> {
        let slots = self.task_managers.get(id).map(|task_manager| &task_manager.slots);
        slots.into_iter().flatten().filter_map(|(_, allocation)| self.grant(*allocation)).collect()
    }

    /// An allocation that ended and is still remembered.
    pub fn ended_allocation(&self, id: AllocationId) -> Option<&EndedAllocation> {
        self.indexes.ended_by_id.get(&id).map(|ended| &**ended)
    }

    /// Whether this cluster ever minted the id, also if the allocation is long forgotten.
    pub fn was_ever_allocated(&self, id: AllocationId) -> bool {
        let counter = self.cluster.and_then(|cluster| id.counter_in(cluster));
        counter.is_some_and(|counter| (1..=self.counters.allocation).contains(&counter))
    }

    /// The answer that is remembered for `key`, or the refusal because the key was used for another request. `None`
    /// means that the key is new.
    pub fn replay(&self, key: &RequestKey) -> Option<Outcome> {
        self.idempotency.replay(key)
    }
}
