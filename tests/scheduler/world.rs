//! A state to plan against, made by commands as the leader would make it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use slotkeeper::domain::*;
use slotkeeper::scheduler::{AllocationRequest, Avoidance, Plan, Registry, plan_allocation};

pub struct World {
    pub state: State,
    pub registry: Registry,
    pub avoidance: Avoidance,
    /// What `avoidance` was told.
    pub avoided: BTreeSet<(TaskManagerId, Option<JobId>)>,
}

pub fn cpu(cpu_millis: u64) -> ResourceProfile {
    profile(cpu_millis, 0, 0)
}

pub fn profile(cpu_millis: u64, managed_bytes: u64, gpus: u64) -> ResourceProfile {
    let mut profile = ResourceProfile::default();
    profile.cpu_millis = cpu_millis;
    profile.managed_bytes = managed_bytes;
    profile.with_extended(name("gpu"), gpus)
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn tm(text: &str) -> TaskManagerId {
    TaskManagerId::new(text).unwrap()
}

pub fn job(text: &str) -> JobId {
    JobId::new(text).unwrap()
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| (name(key), (*value).to_owned())).collect()
}

pub fn static_offer(slots: u32) -> Offer {
    Offer::Static { slots, slot_profile: cpu(1000) }
}

pub fn request(of: &str, slots: u32, strategy: &str) -> AllocationRequest {
    AllocationRequest {
        job: job(of),
        job_master_id: None,
        slots,
        profile: None,
        mode: AllocationMode::AllOrNothing,
        rules: PlacementRules { strategy: Some(StrategyName::new(strategy).unwrap()), ..Default::default() },
    }
}

impl World {
    pub fn new() -> Self {
        let mut state = State::new();
        let cluster = ClusterId(uuid::Uuid::from_u128(7 << 64));
        state.apply(&Record::Begin(SessionStart { cluster, node_id: 1, at: LogicalTime(1_000) }));
        Self {
            state,
            registry: Registry::default(),
            avoidance: Avoidance::default(),
            avoided: BTreeSet::new(),
        }
    }

    /// A world with TaskManagers of equal offers and a job `job`.
    pub fn with(names: &[&str], offer: &Offer) -> Self {
        let mut world = Self::new();
        for name in names {
            world.register(name, offer, Labels::new());
        }
        world.put_job("job", "default", 0);
        world
    }

    pub fn try_apply(&mut self, command: Command) -> Result<Reply, Rejection> {
        let batch = Batch {
            session: self.state.session(),
            at: self.state.now(),
            commands: vec![KeyedCommand { key: None, command }],
        };
        let applied = self.state.apply(&Record::Round(batch));
        (*applied.outcomes[0].result).clone()
    }

    pub fn apply(&mut self, command: Command) -> Reply {
        self.try_apply(command).unwrap()
    }

    pub fn register(&mut self, id: &str, offer: &Offer, labels: Labels) {
        self.apply(Command::RegisterTaskManager {
            id: tm(id),
            session: TaskManagerSession::new("session").unwrap(),
            address: Arc::from("localhost:1"),
            offer: offer.clone(),
            labels,
        });
    }

    pub fn put_job(&mut self, id: &str, queue: &str, priority: i32) {
        let queue = QueueName::new(queue).unwrap();
        self.apply(Command::PutJob { id: job(id), queue, priority, job_master_id: None, lease_ms: None });
    }

    /// Keeps `of`, or everybody, away from a TaskManager, or lets them back.
    pub fn keep_away(&mut self, id: &TaskManagerId, of: Option<JobId>, is_away: bool) {
        let subject = (id.clone(), of);
        if is_away {
            self.avoidance.avoid(id, subject.1.as_ref());
            self.avoided.insert(subject);
        } else {
            self.avoidance.allow(id, subject.1.as_ref());
            self.avoided.remove(&subject);
        }
    }

    pub fn put_queue(
        &mut self,
        name: &str,
        maximum: ResourceLimit,
        phase: QueuePhase,
    ) -> Result<Reply, Rejection> {
        self.try_apply(Command::PutQueue { name: QueueName::new(name).unwrap(), maximum, phase })
    }

    pub fn plan(&self, request: &AllocationRequest) -> Plan {
        plan_allocation(&self.state, request, &self.registry, &self.avoidance).unwrap()
    }

    /// Plans and applies; the plan must stand.
    pub fn allocate(&mut self, request: &AllocationRequest) -> Plan {
        let plan = self.plan(request);
        let command = Allocate {
            job: request.job.clone(),
            job_master_id: None,
            slots: request.slots,
            profile: request.profile.clone(),
            mode: request.mode,
            placements: plan.placements.clone(),
            reasons: plan.reasons.clone(),
        };
        match (self.try_apply(Command::Allocate(command)), request.mode) {
            (Ok(Reply::Allocated { allocations, missing, reasons }), _) => {
                let granted: Vec<_> = allocations.iter().map(|grant| &grant.task_manager).collect();
                let planned: Vec<_> =
                    plan.placements.iter().map(|placement| &placement.task_manager).collect();
                assert_eq!(granted, planned);
                assert_eq!((missing, &reasons), (plan.missing, &plan.reasons));
            }
            (Err(Rejection::InsufficientResources { reasons }), AllocationMode::AllOrNothing) => {
                assert_eq!((plan.missing, &plan.reasons), (request.slots, &reasons));
            }
            (other, _) => panic!("a plan must stand, but got {other:?}"),
        }
        plan
    }

    /// The names of the TaskManagers of a plan, in the order of the slots.
    pub fn placed(&mut self, request: &AllocationRequest) -> Vec<String> {
        self.allocate(request).placements.iter().map(|placement| placement.task_manager.to_string()).collect()
    }

    pub fn held(&self, of: &str) -> Vec<AllocationId> {
        self.state.jobs().get(&job(of)).unwrap().allocations.iter().copied().collect()
    }
}

pub fn counts(reasons: &[RefusalCount]) -> BTreeMap<RefusalReason, u32> {
    reasons.iter().map(|count| (count.reason, count.task_managers)).collect()
}
