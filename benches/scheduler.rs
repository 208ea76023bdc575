//! How long decisions take on a large cluster. Prints figures and asserts nothing; `cargo bench --bench scheduler`.
//!
//! 100,000 TaskManagers with 16 slots each, static and dynamic, with few labels or each with one of its own, and with
//! ten thousand different amounts free. Each figure is the mean over many decisions that are planned and applied.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slotkeeper::domain::*;
use slotkeeper::scheduler::{
    AllocationRequest, Avoidance, Planner, Registry, RequirementWalk, WalkBudget, plan_allocation,
};

const TASK_MANAGERS: u32 = 100_000;

fn cpu(cpu_millis: u64) -> ResourceProfile {
    let mut profile = ResourceProfile::default();
    profile.cpu_millis = cpu_millis;
    profile
}

fn apply(state: &mut State, command: Command) -> Outcome {
    let (session, at) = (state.session(), state.now());
    let mut round = state.begin_round(session, at);
    let outcome = state.apply_command(&mut round, &KeyedCommand { key: None, command });
    state.end_round(round);
    outcome
}

fn fleet(offer: &Offer, labels: impl Fn(u32) -> Labels) -> State {
    let mut state = State::new();
    let cluster = ClusterId(uuid::Uuid::from_u128(7 << 64));
    state.apply(&Record::Begin(SessionStart { cluster, node_id: 1, at: LogicalTime(1_000) }));
    for number in 0..TASK_MANAGERS {
        apply(
            &mut state,
            Command::RegisterTaskManager {
                id: TaskManagerId::new(&format!("tm-{number:06}")).unwrap(),
                session: TaskManagerSession::new("session").unwrap(),
                address: Arc::from("localhost:1"),
                offer: offer.clone(),
                labels: labels(number),
            },
        );
    }
    put_job(&mut state, "job");
    state
}

fn put_job(state: &mut State, id: &str) {
    let (id, queue) = (JobId::new(id).unwrap(), QueueName::new("default").unwrap());
    apply(state, Command::PutJob { id, queue, priority: 0, job_master_id: None, lease_ms: None });
}

fn request(slots: u32, strategy: &str) -> AllocationRequest {
    AllocationRequest {
        job: JobId::new("job").unwrap(),
        job_master_id: None,
        slots,
        profile: None,
        mode: AllocationMode::AllOrNothing,
        rules: PlacementRules { strategy: Some(StrategyName::new(strategy).unwrap()), ..Default::default() },
    }
}

/// Mean time to plan and mean time to apply over `times` decisions.
fn decide(state: &mut State, request: &AllocationRequest, times: u32) -> (Duration, Duration) {
    let registry = Registry::default();
    let (mut planning, mut applying) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..times {
        let begin = Instant::now();
        let plan = plan_allocation(state, request, &registry, &Avoidance::default()).unwrap();
        planning += begin.elapsed();
        let command = Command::Allocate(Allocate {
            job: request.job.clone(),
            job_master_id: None,
            slots: request.slots,
            profile: request.profile.clone(),
            mode: request.mode,
            placements: plan.placements,
            reasons: plan.reasons,
        });
        let begin = Instant::now();
        apply(state, command);
        applying += begin.elapsed();
    }
    (planning / times, applying / times)
}

fn report(fleet_name: &str, state: &State) {
    let zone = Name::new("zone").unwrap();
    let label = Constraint::Label {
        label: zone.clone(),
        operator: LabelOperator::Equal,
        values: vec!["z1".to_owned()],
    };
    let too_many = AllocationRequest { slots: 10_000, profile: Some(cpu(900_000)), ..request(1, "SLOTS") };
    let mut labelled = request(1, "SLOTS");
    labelled.rules.constraints = vec![label];
    let mut spread = request(1, "SLOTS");
    spread.rules.constraints = vec![Constraint::SpreadBy { label: zone, per_value_max: 1_000_000 }];
    let cases = [
        ("1 slot, any_fit", request(1, "NONE"), 2000),
        ("1 slot, least_utilization", request(1, "SLOTS"), 2000),
        ("1 slot, most_utilization", request(1, "MIN_RESOURCES"), 2000),
        ("1 slot, one zone", labelled, 200),
        ("1 slot, spread", spread, 200),
        ("10,000 slots, least_utilization", request(10_000, "SLOTS"), 5),
        ("10,000 slots, most_utilization", request(10_000, "MIN_RESOURCES"), 5),
        ("refusal", too_many, 20),
    ];
    for (case, request, times) in cases {
        let (planning, applying) = decide(&mut state.clone(), &request, times);
        println!("{fleet_name:28} {case:34} plan {planning:>12?}   apply {applying:>12?}");
    }
}

/// A full cluster with many lines that wait: what one round spends on them.
fn report_waiting(offer: &Offer) {
    let mut state = fleet(offer, |_| Labels::new());
    for number in 0..10_000 {
        let id = format!("waiting-{number}");
        put_job(&mut state, &id);
        let line = Requirement {
            name: RequirementName::new("line").unwrap(),
            profile: Some(cpu(900_000)),
            min: 1,
            desired: 4,
            rules: PlacementRules::default(),
        };
        let job = JobId::new(&id).unwrap();
        let version = RequirementVersion(1);
        apply(
            &mut state,
            Command::PutRequirements(PutRequirements {
                job,
                job_master_id: None,
                version,
                requirements: vec![line],
            }),
        );
    }
    let mut walk = RequirementWalk::default();
    let (registry, avoidance) = (Registry::default(), Avoidance::default());
    let begin = Instant::now();
    walk.begin_round(WalkBudget { slots: 1000, lines: 1_000_000 });
    black_box(walk.next(&state, &registry, &avoidance));
    println!("10,000 hopeless lines walked in {:?}", begin.elapsed());
    let mut planner = Planner::new(registry);
    let hopeless = AllocationRequest { profile: Some(cpu(900_000)), ..request(1, "SLOTS") };
    let begin = Instant::now();
    for _ in 0..1000 {
        black_box(planner.plan(&state, &hopeless, &avoidance)).unwrap();
    }
    println!("1,000 like refusals in {:?}", begin.elapsed());
}

fn main() {
    let zone = |number: u32| Labels::from([(Name::new("zone").unwrap(), format!("z{}", number % 3))]);
    let own = |number: u32| {
        let host = (Name::new("host").unwrap(), format!("host-{number}"));
        Labels::from([(Name::new("zone").unwrap(), format!("z{}", number % 3)), host])
    };
    let whole = Offer::Static { slots: 16, slot_profile: cpu(1000) };
    let cut = Offer::Dynamic { total: cpu(16_000), slot_profile: cpu(1000) };
    report("static, zones", &fleet(&whole, zone));
    report("static, own labels", &fleet(&whole, own));
    report("dynamic, zones", &fleet(&cut, zone));
    report("dynamic, own labels", &fleet(&cut, own));
    let mut mixed = fleet(&cut, zone);
    fragment(&mut mixed);
    report("dynamic, fragmented", &mixed);
    report_waiting(&cut);
}

/// Takes a slot of a size of its own on a tenth of the fleet, so that there are ten thousand shapes.
fn fragment(state: &mut State) {
    let ids: Vec<_> = state.task_managers().iter().map(|(id, record)| (id.clone(), record.epoch)).collect();
    for (number, (id, epoch)) in ids.into_iter().step_by(10).enumerate() {
        let command = Command::Allocate(Allocate {
            job: JobId::new("job").unwrap(),
            job_master_id: None,
            slots: 1,
            profile: Some(cpu(number as u64 + 1)),
            mode: AllocationMode::AllOrNothing,
            placements: vec![Placement { task_manager: id, epoch }],
            reasons: Vec::new(),
        });
        assert!(apply(state, command).result.is_ok());
    }
}
