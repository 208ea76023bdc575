//! Random worlds and requests: every plan equals the reference's, stands when applied, and explains itself.

use std::collections::BTreeMap;

use proptest::prelude::*;

use slotkeeper::domain::*;
use slotkeeper::scheduler::{AllocationRequest, Planner};

use crate::reference::{Decision, Reference};
use crate::world::{World, counts, job, labels, name, profile, tm};

const STRATEGIES: [&str; 3] = ["any_fit", "least_utilization", "most_utilization"];

#[derive(Debug, Clone)]
enum Step {
    Register { number: u8, offer: u8, zone: u8, rack: u8 },
    Cordon(u8),
    Drain(u8),
    Lose(u8),
    Release(prop::sample::Index),
    Queue { slots: Option<u64>, cpu: Option<u64>, is_stopped: bool },
    Avoid { number: u8, job: Option<u8>, is_away: bool },
    Request(Request),
}

#[derive(Debug, Clone)]
struct Request {
    job: u8,
    slots: u32,
    profile: u8,
    is_gang: bool,
    constraints: Vec<(u8, u8)>,
    prefer: (Vec<u8>, Option<u8>, Option<u8>),
    strategy: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let register = (0_u8..9, 0_u8..5, 0_u8..4, 0_u8..3);
    let register =
        register.prop_map(|(number, offer, zone, rack)| Step::Register { number, offer, zone, rack });
    let queue =
        (prop::option::of(0_u64..14), prop::option::weighted(0.3, 0_u64..9000), prop::bool::weighted(0.2));
    let queue = queue.prop_map(|(slots, cpu, is_stopped)| Step::Queue { slots, cpu, is_stopped });
    let avoid = (0_u8..9, prop::option::weighted(0.7, 0_u8..2), prop::bool::weighted(0.7));
    let avoid = avoid.prop_map(|(number, job, is_away)| Step::Avoid { number, job, is_away });
    let step = prop_oneof![
        4 => register.clone(),
        1 => (0_u8..9).prop_map(Step::Cordon),
        1 => (0_u8..9).prop_map(Step::Drain),
        1 => (0_u8..9).prop_map(Step::Lose),
        2 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => queue,
        2 => avoid,
        8 => requests().prop_map(Step::Request),
    ];
    (prop::collection::vec(register, 1..8), prop::collection::vec(step, 1..14))
        .prop_map(|(first, then)| first.into_iter().chain(then).collect())
}

fn requests() -> impl Strategy<Value = Request> {
    let constraints =
        prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec((0_u8..8, 0_u8..9), 1..3)];
    let prefer = (
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(0_u8..9, 1..3)],
        prop::option::weighted(0.4, 0_u8..3),
        prop::option::weighted(0.3, 0_u8..2),
    );
    (0_u8..2, 1_u32..9, 0_u8..6, any::<bool>(), constraints, prefer, 0_usize..3).prop_map(
        |(job, slots, profile, is_gang, constraints, prefer, strategy)| Request {
            job,
            slots,
            profile,
            is_gang,
            constraints,
            prefer,
            strategy,
        },
    )
}

fn offer(kind: u8) -> Offer {
    match kind {
        0 => Offer::Static { slots: 4, slot_profile: ResourceProfile::default() },
        1 => Offer::Static { slots: 3, slot_profile: profile(1000, 100, 0) },
        2 => Offer::Static { slots: 2, slot_profile: profile(500, 200, 1) },
        3 => Offer::Dynamic { total: profile(4000, 1000, 2), slot_profile: profile(1000, 250, 0) },
        _ => Offer::Dynamic { total: profile(2000, 800, 0), slot_profile: profile(500, 200, 0) },
    }
}

fn wanted(kind: u8) -> Option<ResourceProfile> {
    match kind {
        0 | 1 => None,
        2 => Some(profile(500, 0, 0)),
        3 => Some(profile(900, 150, 0)),
        4 => Some(profile(100, 0, 1)),
        _ => Some(profile(3000, 0, 0)),
    }
}

fn constraint((kind, value): (u8, u8)) -> Constraint {
    let zone = (["a", "b", "c"][usize::from(value % 3)]).to_owned();
    let label = |operator, values| Constraint::Label { label: name("zone"), operator, values };
    match kind {
        0 => label(LabelOperator::Equal, vec![zone]),
        1 => label(LabelOperator::NotIn, vec![zone]),
        2 => label(LabelOperator::Exists, Vec::new()),
        3 | 4 => Constraint::SpreadBy { label: name("zone"), per_value_max: u32::from(value) },
        5 => Constraint::SpreadBy { label: name("rack"), per_value_max: u32::from(value) },
        6 => {
            Constraint::Label { label: name("rack"), operator: LabelOperator::NotExists, values: Vec::new() }
        }
        _ => Constraint::TaskManager(number(value)),
    }
}

fn number(number: u8) -> TaskManagerId {
    tm(&format!("tm-{number}"))
}

fn named(number: u8) -> JobId {
    job(["left", "right"][usize::from(number)])
}

fn pairs(zone: Option<u8>, rack: Option<u8>) -> Labels {
    let zone = zone.and_then(|zone| ["a", "b", "c"].get(usize::from(zone)).copied());
    let rack = rack.and_then(|rack| ["x", "y"].get(usize::from(rack)).copied());
    let pairs: Vec<_> =
        zone.map(|zone| ("zone", zone)).into_iter().chain(rack.map(|rack| ("rack", rack))).collect();
    labels(&pairs)
}

impl Request {
    fn build(&self) -> AllocationRequest {
        let (by_name, zone, rack) = &self.prefer;
        AllocationRequest {
            job: named(self.job),
            job_master_id: None,
            slots: self.slots,
            profile: wanted(self.profile),
            mode: if self.is_gang { AllocationMode::AllOrNothing } else { AllocationMode::BestEffort },
            rules: PlacementRules {
                constraints: self.constraints.iter().copied().map(constraint).collect(),
                prefer: Preference {
                    task_managers: by_name.iter().copied().map(number).collect(),
                    labels: pairs(*zone, *rack),
                },
                strategy: Some(StrategyName::new(STRATEGIES[self.strategy]).unwrap()),
            },
        }
    }
}

fn take(world: &mut World, planner: &mut Planner, step: &Step) -> Result<(), TestCaseError> {
    match step {
        Step::Register { number: id, offer: kind, zone, rack } => {
            let known = world.state.task_managers().contains_key(&number(*id));
            if known {
                world.apply(Command::DeregisterTaskManager { id: number(*id) });
            }
            world.register(number(*id).as_str(), &offer(*kind), pairs(Some(*zone), Some(*rack)));
        }
        // Those that are not known any more refuse, which is fine.
        Step::Cordon(id) => drop(world.try_apply(Command::Cordon { id: number(*id) })),
        Step::Drain(id) => drop(world.try_apply(Command::Drain { id: number(*id), deadline_ms: None })),
        Step::Lose(id) => {
            if let Some(epoch) = world.state.task_managers().get(&number(*id)).map(|record| record.epoch) {
                world.apply(Command::ExpireTaskManager { id: number(*id), epoch });
            }
        }
        Step::Release(index) => {
            let held: Vec<_> = world.state.allocations().keys().copied().collect();
            if !held.is_empty() {
                let id = held[index.index(held.len())];
                let holder = world.state.allocations().get(&id).unwrap().job.clone();
                world.apply(Command::Release { job: holder, allocations: vec![id] });
            }
        }
        Step::Queue { slots, cpu, is_stopped } => {
            let maximum =
                ResourceLimit { slots: *slots, plain: [*cpu, None, None, None, None], ..Default::default() };
            let phase = if *is_stopped { QueuePhase::Stopped } else { QueuePhase::Running };
            drop(world.put_queue("default", maximum, phase));
        }
        Step::Avoid { number: id, job, is_away } => {
            world.keep_away(&number(*id), job.map(named), *is_away);
        }
        Step::Request(request) => check(world, planner, request)?,
    }
    Ok(())
}

fn check(world: &mut World, planner: &mut Planner, request: &Request) -> Result<(), TestCaseError> {
    let strategy = STRATEGIES[request.strategy];
    let request = request.build();
    let before = world.state.clone();
    let expected = Reference::new(world, &request).decide(strategy);
    let plan = world.plan(&request);
    prop_assert_eq!(&planner.plan(&world.state, &request, &world.avoidance).unwrap(), &plan);
    prop_assert_eq!(&planner.plan(&world.state, &request, &world.avoidance).unwrap(), &plan);
    prop_assert_eq!(world.state.hash(), before.hash());
    prop_assert_eq!(world.state.indexes(), before.indexes());
    let placements = plan.placements.iter().map(|placement| placement.task_manager.clone()).collect();
    let decision = Decision { placements, missing: plan.missing, reasons: counts(&plan.reasons) };
    prop_assert_eq!(decision, expected);
    prop_assert_eq!(plan.considered as usize, world.state.task_managers().len());
    let counted: u32 = plan.reasons.iter().map(|count| count.task_managers).sum();
    prop_assert_eq!(counted, if plan.missing > 0 { plan.considered } else { 0 });
    if request.mode == AllocationMode::AllOrNothing {
        prop_assert!(plan.missing == 0 || plan.placements.is_empty());
    }
    world.allocate(&request);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2500))]

    #[test]
    fn every_plan_equals_that_of_the_reference_and_stands_when_applied(steps in steps()) {
        let mut world = World::new();
        world.put_job("left", "default", 0);
        world.put_job("right", "default", 0);
        let mut planner = Planner::new(world.registry.clone());
        for step in &steps {
            take(&mut world, &mut planner, step)?;
            prop_assert_eq!(world.state.indexes(), &Indexes::rebuilt(&world.state));
        }
        prop_assert_eq!(world.state.violations(), Vec::new());
        let free: BTreeMap<_, _> = world.state.task_managers().iter().map(|(id, record)| (id, &record.free)).collect();
        prop_assert_eq!(free.len(), world.state.task_managers().len());
    }
}
