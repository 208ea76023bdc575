//! Small examples that can be followed by hand.

use std::collections::BTreeMap;

use slotkeeper::domain::*;
use slotkeeper::scheduler::{AllocationRequest, Candidate, Order, Planner, Strategy, View, plan_allocation};

use crate::world::{World, counts, cpu, job, labels, name, profile, request, static_offer, tm};

const THREE: [&str; 3] = ["tm-1", "tm-2", "tm-3"];

fn with_rules(mut request: AllocationRequest, constraints: Vec<Constraint>) -> AllocationRequest {
    request.rules.constraints = constraints;
    request
}

fn spread(label: &str, per_value_max: u32) -> Constraint {
    Constraint::SpreadBy { label: name(label), per_value_max }
}

#[test]
fn nine_slots_spread_over_three_task_managers_are_three_each() {
    for strategy in ["least_utilization", "SLOTS"] {
        let mut world = World::with(&THREE, &static_offer(4));
        let mut placed = world.placed(&request("job", 9, strategy));
        placed.sort_unstable();
        assert_eq!(placed, ["tm-1", "tm-1", "tm-1", "tm-2", "tm-2", "tm-2", "tm-3", "tm-3", "tm-3"]);
    }
}

#[test]
fn packing_fills_one_task_manager_before_it_begins_another() {
    for strategy in ["most_utilization", "MIN_RESOURCES", "any_fit", "NONE"] {
        let mut world = World::with(&THREE, &static_offer(3));
        assert_eq!(world.placed(&request("job", 4, strategy)), ["tm-1", "tm-1", "tm-1", "tm-2"]);
    }
}

#[test]
fn packing_goes_on_where_it_stopped_and_any_fit_begins_with_the_least_loaded() {
    let mut world = World::with(&THREE, &static_offer(3));
    world.placed(&request("job", 1, "most_utilization"));
    assert_eq!(world.placed(&request("job", 1, "most_utilization")), ["tm-1"]);
    assert_eq!(world.placed(&request("job", 2, "any_fit")), ["tm-2", "tm-2"]);
}

#[test]
fn a_used_gpu_makes_a_task_manager_more_loaded_than_its_equal() {
    let offer = Offer::Dynamic { total: profile(4000, 0, 2), slot_profile: profile(1000, 0, 0) };
    let mut world = World::with(&["tm-1", "tm-2"], &offer);
    let with_gpu = AllocationRequest {
        profile: Some(profile(1000, 0, 1)),
        ..with_rules(request("job", 1, "least_utilization"), vec![Constraint::TaskManager(tm("tm-1"))])
    };
    let without = AllocationRequest {
        profile: Some(profile(1000, 0, 0)),
        ..with_rules(request("job", 1, "least_utilization"), vec![Constraint::TaskManager(tm("tm-2"))])
    };
    world.allocate(&with_gpu);
    world.allocate(&without);
    assert_eq!(world.placed(&request("job", 1, "least_utilization")), ["tm-2"]);
}

#[test]
fn a_slot_cut_from_a_dynamic_task_manager_leaves_exactly_the_rest() {
    let offer = Offer::Dynamic { total: profile(1000, 4096, 0), slot_profile: profile(1000, 4096, 0) };
    let mut world = World::with(&["tm-1"], &offer);
    let quarter = AllocationRequest { profile: Some(profile(250, 1024, 0)), ..request("job", 1, "any_fit") };
    world.allocate(&quarter);
    let free = world.state.task_managers().get(&tm("tm-1")).unwrap().free.clone();
    assert_eq!(free, profile(750, 3072, 0));
}

#[test]
fn a_gang_that_does_not_fit_is_refused_as_a_whole_with_a_reason_for_every_task_manager() {
    let mut world = World::with(&THREE, &static_offer(2));
    world.register("tm-4", &Offer::Static { slots: 9, slot_profile: cpu(10) }, Labels::new());
    world.register("tm-5", &static_offer(9), Labels::new());
    world.apply(Command::Cordon { id: tm("tm-5") });
    world.allocate(&with_rules(request("job", 2, "any_fit"), vec![Constraint::TaskManager(tm("tm-1"))]));
    let gang = AllocationRequest { profile: Some(cpu(500)), ..request("job", 5, "any_fit") };
    let plan = world.allocate(&gang);
    assert_eq!((plan.placements.len(), plan.missing, plan.considered), (0, 5, 5));
    let expected = [
        (RefusalReason::NoFreeSlot, 1),
        (RefusalReason::TooSmall, 1),
        (RefusalReason::NotAccepting, 1),
        (RefusalReason::NotEnoughInAll, 2),
    ];
    assert_eq!(counts(&plan.reasons), expected.into());
}

#[test]
fn best_effort_takes_what_there_is_and_says_why_there_is_not_more() {
    let mut world = World::with(&THREE, &static_offer(2));
    let wish = AllocationRequest { mode: AllocationMode::BestEffort, ..request("job", 10, "SLOTS") };
    let plan = world.allocate(&wish);
    assert_eq!((plan.placements.len(), plan.missing), (6, 4));
    assert_eq!(counts(&plan.reasons), [(RefusalReason::NoFreeSlot, 3)].into());
}

#[test]
fn spreading_counts_what_the_job_already_holds() {
    let mut world = World::new();
    world.put_job("job", "default", 0);
    for (id, zone) in [("tm-1", "a"), ("tm-2", "a"), ("tm-3", "b")] {
        world.register(id, &static_offer(4), labels(&[("zone", zone)]));
    }
    let two_per_zone = |slots| with_rules(request("job", slots, "SLOTS"), vec![spread("zone", 2)]);
    let mut placed = world.placed(&two_per_zone(3));
    placed.sort_unstable();
    assert_eq!(placed, ["tm-1", "tm-2", "tm-3"]);
    assert_eq!(world.placed(&two_per_zone(1)), ["tm-3"]);
    let refused = world.allocate(&two_per_zone(1));
    assert_eq!(counts(&refused.reasons), [(RefusalReason::Spread, 3)].into());
}

#[test]
fn preferences_go_first_and_refuse_nobody() {
    let mut world = World::new();
    world.put_job("job", "default", 0);
    for (id, zone, disk) in
        [("tm-1", "a", "hdd"), ("tm-2", "b", "hdd"), ("tm-3", "b", "ssd"), ("tm-4", "c", "hdd")]
    {
        world.register(id, &static_offer(1), labels(&[("zone", zone), ("disk", disk)]));
    }
    let mut wish = request("job", 4, "SLOTS");
    wish.rules.prefer.task_managers = vec![tm("gone"), tm("tm-4")];
    wish.rules.prefer.labels = labels(&[("zone", "b"), ("disk", "ssd")]);
    assert_eq!(world.placed(&wish), ["tm-4", "tm-3", "tm-2", "tm-1"]);
}

#[test]
fn a_queue_at_its_maximum_or_stopped_is_the_reason_where_there_would_be_room() {
    let mut world = World::with(&THREE, &static_offer(4));
    let maximum = ResourceLimit { slots: Some(2), ..Default::default() };
    world.put_queue("default", maximum, QueuePhase::Running).unwrap();
    let three = world.allocate(&request("job", 3, "SLOTS"));
    assert_eq!(counts(&three.reasons), [(RefusalReason::QueueMaximum, 3)].into());
    let wish = AllocationRequest { mode: AllocationMode::BestEffort, ..request("job", 3, "SLOTS") };
    let some = world.allocate(&wish);
    assert_eq!((some.placements.len(), some.missing), (2, 1));
    world.put_queue("default", ResourceLimit::default(), QueuePhase::Stopped).unwrap();
    let stopped = world.allocate(&request("job", 1, "SLOTS"));
    assert_eq!(counts(&stopped.reasons), [(RefusalReason::QueueStopped, 3)].into());
}

#[test]
fn a_remembered_refusal_ends_when_the_queue_may_hold_more_or_a_slot_is_released() {
    let mut world = World::with(&["tm-1"], &static_offer(1));
    let none = ResourceLimit { slots: Some(0), ..Default::default() };
    world.put_queue("default", none, QueuePhase::Running).unwrap();
    let mut planner = Planner::new(world.registry.clone());
    let one = request("job", 1, "SLOTS");
    assert_eq!(planner.plan(&world.state, &one, &world.avoidance).unwrap().missing, 1);
    world.put_queue("default", ResourceLimit::default(), QueuePhase::Running).unwrap();
    assert_eq!(planner.plan(&world.state, &one, &world.avoidance).unwrap().missing, 0);
    world.allocate(&one);
    assert_eq!(planner.plan(&world.state, &one, &world.avoidance).unwrap().missing, 1);
    world.apply(Command::Release { job: job("job"), allocations: world.held("job") });
    assert_eq!(planner.plan(&world.state, &one, &world.avoidance).unwrap().missing, 0);
}

#[test]
fn what_can_not_be_planned_is_refused_with_the_reason() {
    let world = World::with(&THREE, &static_offer(1));
    let plan = |request: &AllocationRequest| {
        plan_allocation(&world.state, request, &world.registry, &world.avoidance)
    };
    assert_eq!(plan(&request("nobody", 1, "SLOTS")), Err(Rejection::UnknownJob(job("nobody"))));
    let unknown = plan(&request("job", 1, "best_guess"));
    assert!(matches!(unknown, Err(Rejection::InvalidCommand { field, .. }) if field == "strategy"));
}

/// The strategy of one's own that the documentation promises: the TaskManager with the most slots free.
struct MostSlotsFree;

impl Strategy for MostSlotsFree {
    fn name(&self) -> &'static str {
        "most_slots_free"
    }

    fn choose<'v>(&self, view: &View<'v>) -> Option<Candidate<'v>> {
        let free = |candidate: &Candidate<'_>| candidate.offer().slots_max() - candidate.slots_used();
        view.candidates(Order::LeastLoaded).max_by_key(free)
    }
}

#[test]
fn a_strategy_of_ones_own_takes_a_few_lines_and_is_found_by_its_name() {
    let mut world = World::with(&["tm-1"], &static_offer(2));
    world.register("tm-2", &static_offer(5), Labels::new());
    world.registry.register(std::sync::Arc::new(MostSlotsFree));
    assert_eq!(world.placed(&request("job", 4, "most_slots_free")), ["tm-2", "tm-2", "tm-2", "tm-2"]);
    assert_eq!(world.placed(&request("job", 1, "most_slots_free")), ["tm-1"]);
}

#[test]
fn a_task_manager_to_be_avoided_gets_nothing_and_says_why() {
    let mut world = World::with(&["tm-1", "tm-2"], &static_offer(2));
    world.put_job("other", "default", 0);
    world.keep_away(&tm("tm-1"), Some(job("job")), true);
    let three = request("job", 3, "least_utilization");
    let plan = world.allocate(&three);
    let expected = BTreeMap::from([(RefusalReason::StartFailures, 1), (RefusalReason::NotEnoughInAll, 1)]);
    assert_eq!((plan.missing, counts(&plan.reasons)), (3, expected));
    assert_eq!(RefusalReason::StartFailures.code(), "recent_start_failures");
    assert_eq!(world.placed(&request("job", 2, "least_utilization")), ["tm-2", "tm-2"]);
    assert_eq!(world.placed(&request("other", 1, "least_utilization")), ["tm-1"]);
    world.keep_away(&tm("tm-1"), None, true);
    assert_eq!(world.plan(&request("other", 1, "least_utilization")).missing, 1);
    world.keep_away(&tm("tm-1"), None, false);
    world.keep_away(&tm("tm-1"), Some(job("job")), false);
    assert_eq!(world.placed(&request("job", 1, "least_utilization")), ["tm-1"]);
}

#[test]
fn a_remembered_refusal_ends_when_nobody_has_to_stay_away_any_more() {
    let mut world = World::with(&["tm-1"], &static_offer(1));
    let mut planner = Planner::new(world.registry.clone());
    let one = request("job", 1, "SLOTS");
    world.keep_away(&tm("tm-1"), None, true);
    assert_eq!(planner.plan(&world.state, &one, &world.avoidance).unwrap().missing, 1);
    world.keep_away(&tm("tm-1"), None, false);
    assert_eq!(planner.plan(&world.state, &one, &world.avoidance).unwrap().missing, 0);
}
