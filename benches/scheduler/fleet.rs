//! States to decide on, and commands applied to them without consensus.

use std::sync::Arc;

use slotkeeper::domain::*;
use slotkeeper::scheduler::AllocationRequest;

/// Slots of each TaskManager.
pub const SLOTS: u32 = 16;

pub fn cpu(cpu_millis: u64) -> ResourceProfile {
    let mut profile = ResourceProfile::default();
    profile.cpu_millis = cpu_millis;
    profile
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn apply(state: &mut State, command: Command) -> Outcome {
    let (session, at) = (state.session(), state.now());
    let mut round = state.begin_round(session, at);
    let outcome = state.apply_command(&mut round, &KeyedCommand { key: None, command });
    state.end_round(round);
    outcome
}

/// How the TaskManagers of a fleet differ.
#[derive(Clone, Copy)]
pub enum Mix {
    /// All alike, in three zones.
    Zones,
    /// Each with labels of its own: host, rack, zone.
    OwnLabels,
    /// As `Zones`, cut dynamically, and a tenth of them holds a slot of a size of its own.
    Fragmented,
}

pub fn fleet(task_managers: u32, mix: Mix) -> State {
    let mut state = State::new();
    let cluster = ClusterId(uuid::Uuid::from_u128(7 << 64));
    state.apply(&Record::Begin(SessionStart { cluster, node_id: 1, at: LogicalTime(1_000) }));
    let offer = match mix {
        Mix::Fragmented => Offer::Dynamic { total: cpu(u64::from(SLOTS) * 1000), slot_profile: cpu(1000) },
        Mix::Zones | Mix::OwnLabels => Offer::Static { slots: SLOTS, slot_profile: cpu(1000) },
    };
    for number in 0..task_managers {
        let mut labels = Labels::from([(name("zone"), format!("z{}", number % 3))]);
        if matches!(mix, Mix::OwnLabels) {
            labels.insert(name("host"), format!("host-{number}"));
            labels.insert(name("rack"), format!("rack-{}", number / 40));
        }
        let command = Command::RegisterTaskManager {
            id: TaskManagerId::new(&format!("tm-{number:06}")).unwrap(),
            session: TaskManagerSession::new("session").unwrap(),
            address: Arc::from("localhost:1"),
            offer: offer.clone(),
            labels,
        };
        assert!(apply(&mut state, command).result.is_ok());
    }
    put_job(&mut state, "job");
    if matches!(mix, Mix::Fragmented) {
        fragment(&mut state);
    }
    state
}

pub fn put_job(state: &mut State, id: &str) {
    let (id, queue) = (JobId::new(id).unwrap(), QueueName::new("default").unwrap());
    apply(state, Command::PutJob { id, queue, priority: 0, job_master_id: None, lease_ms: None });
}

/// Declares lines of one slot profile for `job`.
pub fn declare(state: &mut State, job: &str, lines: &[(u32, Option<ResourceProfile>)]) {
    let requirements = lines.iter().enumerate().map(|(number, (desired, profile))| Requirement {
        name: RequirementName::new(&format!("line-{number}")).unwrap(),
        profile: profile.clone(),
        min: 0,
        desired: *desired,
        rules: PlacementRules::default(),
    });
    let command = Command::PutRequirements(PutRequirements {
        job: JobId::new(job).unwrap(),
        job_master_id: None,
        version: RequirementVersion(1),
        requirements: requirements.collect(),
    });
    assert!(apply(state, command).result.is_ok());
}

pub fn request(slots: u32, strategy: &str) -> AllocationRequest {
    AllocationRequest {
        job: JobId::new("job").unwrap(),
        job_master_id: None,
        slots,
        profile: None,
        mode: AllocationMode::AllOrNothing,
        rules: PlacementRules { strategy: Some(StrategyName::new(strategy).unwrap()), ..Default::default() },
    }
}

/// The command that carries out what was planned for `request`.
pub fn allocate(
    request: &AllocationRequest,
    placements: Vec<Placement>,
    reasons: Vec<RefusalCount>,
) -> Command {
    Command::Allocate(Allocate {
        job: request.job.clone(),
        job_master_id: None,
        slots: request.slots,
        profile: request.profile.clone(),
        mode: request.mode,
        placements,
        reasons,
    })
}

/// Takes a slot of a size of its own on a tenth of the fleet.
fn fragment(state: &mut State) {
    let ids: Vec<_> = state.task_managers().iter().map(|(id, record)| (id.clone(), record.epoch)).collect();
    for (number, (id, epoch)) in ids.into_iter().step_by(10).enumerate() {
        let odd = AllocationRequest { profile: Some(cpu(number as u64 % 15_000 + 1)), ..request(1, "NONE") };
        let command = allocate(&odd, vec![Placement { task_manager: id, epoch }], Vec::new());
        assert!(apply(state, command).result.is_ok());
    }
}
