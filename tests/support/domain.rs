//! A state and the log that led to it, with short names for what tests need.
//!
//! What it promises: every record goes through `State::apply`, and every invariant is checked after it. What it must not
//! do: reach into the state. Other test programs take it in with `#[path]`.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use slotkeeper::domain::{
    Allocate, AllocationId, AllocationMode, Applied, Batch, ClusterId, Command, Epoch, Event, Fulfil,
    Generation, Grant, IdempotencyKey, Job, JobId, JobMasterId, KeyedCommand, LogicalTime, Offer, Outcome,
    Placement, PlacementRules, PutRequirements, Queue, QueueName, QueuePhase, Record, Rejection, Reply,
    RequestKey, Requirement, RequirementName, RequirementVersion, ResourceLimit, ResourceProfile,
    SessionStart, SettingsPatch, State, TaskManager, TaskManagerId, TaskManagerSession,
};
use uuid::Uuid;

/// The wall clock when a ledger begins.
pub const START_MS: u64 = 1_700_000_000_000;

/// The cluster of every ledger.
pub fn cluster() -> ClusterId {
    ClusterId(Uuid::from_u64_pair(0x5107_5107_5107_5107, 1))
}

/// A state and how it came to be.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The state after the whole log.
    pub state: State,
    /// Every record so far.
    pub log: Vec<Record>,
    /// What each record gave.
    pub applied: Vec<Applied>,
    /// The wall clock of the leader.
    pub wall_ms: u64,
}

impl Ledger {
    /// Node 1 leads an empty cluster.
    pub fn new() -> Self {
        let mut ledger =
            Self { state: State::new(), log: Vec::new(), applied: Vec::new(), wall_ms: START_MS };
        ledger.begin(1);
        ledger
    }

    /// A node begins a session.
    pub fn begin(&mut self, node_id: u64) -> Applied {
        let at = LogicalTime(self.wall_ms);
        self.apply(Record::Begin(SessionStart { cluster: cluster(), node_id, at }))
    }

    /// Applies a record and checks every invariant.
    pub fn apply(&mut self, record: Record) -> Applied {
        let previous = self.state.clone();
        let applied = self.state.apply(&record);
        self.log.push(record);
        self.applied.push(applied.clone());
        assert_eq!(self.state.violations(), [], "after {:?}", self.log.last());
        assert_eq!(self.state.violations_since(&previous), [], "after {:?}", self.log.last());
        applied
    }

    /// One round of the session in force.
    pub fn round(&mut self, commands: Vec<KeyedCommand>) -> Applied {
        let at = LogicalTime(self.wall_ms);
        self.apply(Record::Round(Batch { session: self.state.session(), at, commands }))
    }

    /// One round with one command and perhaps a key.
    pub fn run(&mut self, key: Option<RequestKey>, command: Command) -> Outcome {
        self.round(vec![KeyedCommand { key, command }]).outcomes.remove(0)
    }

    /// The answer to a command that must not be refused.
    pub fn reply(&mut self, command: Command) -> Reply {
        let outcome = self.run(None, command.clone());
        match &*outcome.result {
            Ok(reply) => reply.clone(),
            Err(rejection) => panic!("{command:?} was refused: {rejection}"),
        }
    }

    /// The refusal of a command that must be refused; nothing but time, revision and chain may have changed.
    pub fn refusal(&mut self, command: Command) -> Rejection {
        let before = self.state.clone();
        let outcome = self.run(None, command.clone());
        assert_eq!(
            difference(&before, &self.state),
            None,
            "a refused command changed the state: {command:?}"
        );
        assert_eq!(self.events(), [], "a refused command has events: {command:?}");
        match &*outcome.result {
            Ok(reply) => panic!("{command:?} was not refused: {reply:?}"),
            Err(rejection) => rejection.clone(),
        }
    }

    /// The events of the last record.
    pub fn events(&self) -> Vec<Event> {
        self.applied.last().map(|applied| applied.events.clone()).unwrap_or_default()
    }

    /// Lets the leader's wall clock go on, a minute at a time, as the clamp of logical time demands.
    pub fn wait_ms(&mut self, mut milliseconds: u64) {
        while milliseconds > 0 {
            let step = milliseconds.min(60_000);
            self.wall_ms += step;
            milliseconds -= step;
            self.round(Vec::new());
        }
    }

    /// Registers a TaskManager with equal slots of one core and 1 GiB of heap.
    pub fn static_task_manager(&mut self, id: &str, slots: u32) -> Epoch {
        self.register(id, "first", Offer::Static { slots, slot_profile: profile(1000, 1 << 30) })
    }

    /// Registers a TaskManager that cuts slots of one core and 1 GiB from `cores` times that.
    pub fn dynamic_task_manager(&mut self, id: &str, cores: u64) -> Epoch {
        let total = profile(1000 * cores, cores << 30);
        self.register(id, "first", Offer::Dynamic { total, slot_profile: profile(1000, 1 << 30) })
    }

    /// Registers a TaskManager.
    pub fn register(&mut self, id: &str, session: &str, offer: Offer) -> Epoch {
        match self.reply(register(id, session, offer)) {
            Reply::TaskManagerRegistered { epoch, .. } => epoch,
            other => panic!("{other:?}"),
        }
    }

    /// Puts a job into the default queue.
    pub fn job(&mut self, id: &str) {
        self.reply(put_job(id, "default"));
    }

    /// Placements on these TaskManagers in their current registrations.
    pub fn placements(&self, task_managers: &[&str]) -> Vec<Placement> {
        let place = |id: &&str| Placement {
            task_manager: task_manager(id),
            epoch: self.state.task_managers().get(&task_manager(id)).map_or(Epoch(0), |known| known.epoch),
        };
        task_managers.iter().map(place).collect()
    }

    /// A request for as many slots as there are places, all or nothing.
    pub fn allocation(&self, job_id: &str, places: &[&str]) -> Allocate {
        Allocate {
            job: job(job_id),
            job_master_id: None,
            slots: u32::try_from(places.len()).unwrap(),
            profile: None,
            mode: AllocationMode::AllOrNothing,
            placements: self.placements(places),
            reasons: Vec::new(),
        }
    }

    /// Grants slots that must fit.
    pub fn allocate(&mut self, job_id: &str, places: &[&str]) -> Vec<AllocationId> {
        let request = self.allocation(job_id, places);
        match self.reply(Command::Allocate(request)) {
            Reply::Allocated { allocations, missing: 0, .. } => {
                allocations.iter().map(|grant| grant.id).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// A fulfilment of a line of the version that stands.
    pub fn fulfilment(&self, job_id: &str, line: &str, places: &[&str]) -> Fulfil {
        let version = self.find_job(job_id).requirements_version;
        Fulfil {
            job: job(job_id),
            version,
            requirement: requirement_name(line),
            placements: self.placements(places),
        }
    }

    /// Grants slots to a line; they must fit.
    pub fn fulfil(&mut self, job_id: &str, line: &str, places: &[&str]) -> Vec<AllocationId> {
        let fulfilment = self.fulfilment(job_id, line, places);
        match self.reply(Command::Fulfil(fulfilment)) {
            Reply::Fulfilled { allocations } => allocations,
            other => panic!("{other:?}"),
        }
    }

    /// Declares lines of `(name, min, desired)`.
    pub fn declare(&mut self, job_id: &str, version: u64, lines: &[(&str, u32, u32)]) -> Reply {
        let lines = lines.iter().map(|(name, min, desired)| requirement(name, *min, *desired)).collect();
        self.reply(declaration(job_id, version, lines))
    }

    /// Changes settings.
    pub fn patch(&mut self, patch: SettingsPatch) {
        self.reply(Command::PatchSettings(patch));
    }

    /// A TaskManager that must be known.
    pub fn find(&self, id: &str) -> &TaskManager {
        self.state.task_managers().get(&task_manager(id)).expect("the TaskManager is known")
    }

    /// A job that must be known.
    pub fn find_job(&self, id: &str) -> &Job {
        self.state.jobs().get(&job(id)).expect("the job is known")
    }

    /// A queue that must be known.
    pub fn find_queue(&self, name: &str) -> &Queue {
        self.state.queues().get(&queue(name)).expect("the queue is known")
    }

    /// A living allocation as answers show it.
    pub fn grant(&self, id: AllocationId) -> Grant {
        self.state.grant(id).expect("the allocation lives")
    }

    /// The code of the reason for which an allocation ended.
    pub fn end_of(&self, id: AllocationId) -> Option<&'static str> {
        self.state.ended_allocation(id).map(|ended| ended.reason.code())
    }

    /// The version of what a TaskManager should hold.
    pub fn generation(&self, id: &str) -> Generation {
        self.find(id).generation
    }
}

/// The first part in which two states differ, apart from what every command and every round moves: time, revision,
/// chain and the idempotency table.
pub fn difference(left: &State, right: &State) -> Option<&'static str> {
    let parts = [
        ("cluster", left.cluster() == right.cluster()),
        ("session", left.session() == right.session() && left.session_node() == right.session_node()),
        ("counters", left.counters() == right.counters()),
        ("settings", left.settings() == right.settings()),
        ("former timeout", left.former_timeout() == right.former_timeout()),
        ("task_managers", left.task_managers() == right.task_managers()),
        ("jobs", left.jobs() == right.jobs()),
        ("queues", left.queues() == right.queues()),
        ("allocations", left.allocations() == right.allocations()),
        ("ended", left.ended_allocations() == right.ended_allocations()),
        ("minted_nodes", left.minted_nodes() == right.minted_nodes()),
        ("indexes", left.indexes() == right.indexes()),
    ];
    parts.iter().find(|(_, is_equal)| !is_equal).map(|(part, _)| *part)
}

/// The id of a TaskManager.
pub fn task_manager(id: &str) -> TaskManagerId {
    TaskManagerId::new(id).unwrap()
}

/// The id of a job.
pub fn job(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

/// The id of a job leader.
pub fn job_master(id: &str) -> JobMasterId {
    JobMasterId::new(id).unwrap()
}

/// The name of a queue.
pub fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

/// The name of a requirement line.
pub fn requirement_name(name: &str) -> RequirementName {
    RequirementName::new(name).unwrap()
}

/// A profile of CPU and heap.
pub fn profile(cpu_millis: u64, task_heap_bytes: u64) -> ResourceProfile {
    ResourceProfile::from_plain([cpu_millis, task_heap_bytes, 0, 0, 0])
}

/// A line without profile and rules.
pub fn requirement(name: &str, min: u32, desired: u32) -> Requirement {
    let rules = PlacementRules::default();
    Requirement { name: requirement_name(name), profile: None, min, desired, rules }
}

/// An idempotency key and what it is used for.
pub fn request_key(key: &str, fingerprint: u8) -> RequestKey {
    RequestKey { key: IdempotencyKey::new(key).unwrap(), fingerprint: [fingerprint; 16] }
}

/// The command that registers a TaskManager without labels.
pub fn register(id: &str, session: &str, offer: Offer) -> Command {
    Command::RegisterTaskManager {
        id: task_manager(id),
        session: TaskManagerSession::new(session).unwrap(),
        address: Arc::from(format!("{id}.example:6122")),
        offer,
        labels: BTreeMap::new(),
    }
}

/// The verdict on one registration.
pub fn expire(id: &str, epoch: Epoch) -> Command {
    Command::ExpireTaskManager { id: task_manager(id), epoch }
}

/// The command that puts a job without leader and lease.
pub fn put_job(id: &str, queue_name: &str) -> Command {
    Command::PutJob {
        id: job(id),
        queue: queue(queue_name),
        priority: 0,
        job_master_id: None,
        lease_ms: None,
    }
}

/// The command that declares lines.
pub fn declaration(job_id: &str, version: u64, requirements: Vec<Requirement>) -> Command {
    let version = RequirementVersion(version);
    Command::PutRequirements(PutRequirements { job: job(job_id), job_master_id: None, version, requirements })
}

/// The command that gives slots back.
pub fn release(job_id: &str, allocations: &[AllocationId]) -> Command {
    Command::Release { job: job(job_id), allocations: allocations.to_vec() }
}

/// The command that puts a queue with a ceiling of slots.
pub fn put_queue(name: &str, slots: Option<u64>, phase: QueuePhase) -> Command {
    Command::PutQueue { name: queue(name), maximum: ResourceLimit { slots, ..Default::default() }, phase }
}

/// A confirmation of what has started.
pub fn confirm(id: &str, epoch: Epoch, started: &[AllocationId]) -> Command {
    Command::Confirm { id: task_manager(id), epoch, started: started.to_vec(), failed: Vec::new() }
}

/// A confirmation of what could not start.
pub fn fail(id: &str, epoch: Epoch, failed: &[AllocationId], reason: &str) -> Command {
    let failed = failed.iter().map(|allocation| (*allocation, Arc::from(reason))).collect();
    Command::Confirm { id: task_manager(id), epoch, started: Vec::new(), failed }
}
