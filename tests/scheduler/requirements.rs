//! Declared lines: minimum first, then growth, by priority and age, within a budget.

use slotkeeper::domain::*;
use slotkeeper::scheduler::{RequirementWalk, WalkBudget, explain_requirement};

use crate::world::{World, counts, cpu, job, labels, name, static_offer};

const PLENTY: WalkBudget = WalkBudget { slots: 1000, lines: 1000 };

fn line(name: &str, min: u32, desired: u32) -> Requirement {
    let name = RequirementName::new(name).unwrap();
    Requirement { name, profile: None, min, desired, rules: PlacementRules::default() }
}

impl World {
    fn declare(&mut self, of: &str, version: u64, requirements: Vec<Requirement>) {
        self.apply(Command::PutRequirements(PutRequirements {
            job: job(of),
            job_master_id: None,
            version: RequirementVersion(version),
            requirements,
        }));
    }

    /// One round of the walk; every answer must stand. Gives the lines that were served, with how many slots.
    fn serve(&mut self, walk: &mut RequirementWalk, budget: WalkBudget) -> Vec<(String, usize)> {
        let mut served = Vec::new();
        walk.begin_round(budget);
        while let Some(fulfil) = walk.next(&self.state, &self.registry, &self.avoidance) {
            served.push((format!("{}/{}", fulfil.job, fulfil.requirement), fulfil.placements.len()));
            self.apply(Command::Fulfil(fulfil));
        }
        assert_eq!(self.state.violations(), Vec::new());
        served
    }

    fn reasons(&self, of: &str, requirement: &str) -> Vec<(RefusalReason, u32)> {
        let requirement = RequirementName::new(requirement).unwrap();
        let reasons =
            explain_requirement(&self.state, &self.registry, &self.avoidance, &job(of), &requirement);
        counts(&reasons).into_iter().collect()
    }
}

fn served(line: &str, slots: usize) -> (String, usize) {
    (line.to_owned(), slots)
}

#[test]
fn a_line_gets_its_minimum_at_once_and_grows_as_room_comes() {
    let mut world = World::with(&["tm-1", "tm-2"], &static_offer(2));
    let mut walk = RequirementWalk::default();
    world.declare("job", 1, vec![line("workers", 3, 6)]);
    assert_eq!(world.serve(&mut walk, PLENTY), [served("job/workers", 3), served("job/workers", 1)]);
    assert!(walk.is_finished());
    assert_eq!(world.reasons("job", "workers"), [(RefusalReason::NoFreeSlot, 2)]);
    world.register("tm-3", &static_offer(4), Labels::new());
    assert_eq!(world.serve(&mut walk, PLENTY), [served("job/workers", 2)]);
    assert_eq!(world.reasons("job", "workers"), []);
    assert_eq!(world.serve(&mut walk, PLENTY), []);
}

#[test]
fn a_minimum_that_does_not_fit_takes_nothing_and_lets_others_pass() {
    let mut world = World::with(&["tm-1", "tm-2"], &static_offer(2));
    world.put_job("small", "default", 0);
    world.declare("job", 1, vec![line("workers", 5, 5)]);
    world.declare("small", 1, vec![line("workers", 1, 2)]);
    let mut walk = RequirementWalk::default();
    assert_eq!(world.serve(&mut walk, PLENTY), [served("small/workers", 1), served("small/workers", 1)]);
    assert_eq!(world.reasons("job", "workers"), [(RefusalReason::NotEnoughInAll, 2)]);
}

#[test]
fn a_higher_priority_goes_first_and_among_equals_every_minimum_goes_before_any_growth() {
    let mut world = World::with(&["tm-1"], &static_offer(5));
    world.put_job("young", "default", 0);
    world.put_job("urgent", "default", 5);
    world.declare("job", 1, vec![line("a", 1, 9)]);
    world.declare("young", 1, vec![line("b", 1, 9)]);
    world.declare("urgent", 1, vec![line("c", 1, 2)]);
    let mut walk = RequirementWalk::default();
    let expected = [
        served("urgent/c", 1),
        served("urgent/c", 1),
        served("job/a", 1),
        served("young/b", 1),
        served("job/a", 1),
    ];
    assert_eq!(world.serve(&mut walk, PLENTY), expected);
}

#[test]
fn a_walk_goes_on_where_its_budget_ended_so_hopeless_lines_starve_nobody() {
    let mut world = World::with(&["tm-1"], &static_offer(4));
    for number in 0..5 {
        let mut hopeless = line("workers", 1, 1);
        hopeless.rules.constraints = vec![Constraint::Label {
            label: name("zone"),
            operator: LabelOperator::Exists,
            values: Vec::new(),
        }];
        world.put_job(&format!("hopeless-{number}"), "default", 1);
        world.declare(&format!("hopeless-{number}"), 1, vec![hopeless]);
    }
    world.declare("job", 1, vec![line("workers", 1, 1)]);
    let mut walk = RequirementWalk::default();
    let budget = WalkBudget { slots: 10, lines: 3 };
    let mut rounds = 0;
    while world.serve(&mut walk, budget).is_empty() {
        rounds += 1;
        assert!(rounds < 10, "the last line is never reached");
    }
    assert_eq!(world.held("job").len(), 1);
    world.register("tm-2", &static_offer(5), labels(&[("zone", "a")]));
    for _ in 0..10 {
        world.serve(&mut walk, budget);
    }
    assert_eq!(world.state.indexes().pending().len(), 0);
}

#[test]
fn a_change_under_way_is_not_missed_by_the_lines_that_were_passed() {
    let mut world = World::with(&["tm-1"], &static_offer(9));
    let zone = |version, of: &str, zone: &str, world: &mut World| {
        let values = vec![zone.to_owned()];
        let mut line = line("workers", 1, 1);
        line.rules.constraints =
            vec![Constraint::Label { label: name("zone"), operator: LabelOperator::Equal, values }];
        world.declare(of, version, vec![line]);
    };
    world.put_job("later", "default", 0);
    zone(1, "job", "a", &mut world);
    zone(1, "later", "b", &mut world);
    let mut walk = RequirementWalk::default();
    assert_eq!(world.serve(&mut walk, WalkBudget { slots: 10, lines: 1 }), []);
    world.register("tm-2", &static_offer(1), labels(&[("zone", "a")]));
    walk.note_change();
    let mut rounds = 0;
    while !walk.is_finished() {
        world.serve(&mut walk, WalkBudget { slots: 10, lines: 1 });
        rounds += 1;
        assert!(rounds < 20, "the walk never ends");
    }
    assert_eq!(world.held("job").len(), 1);
}

#[test]
fn the_slots_of_a_round_are_bounded_except_for_a_minimum() {
    let mut world = World::with(&["tm-1"], &static_offer(100));
    world.declare("job", 1, vec![line("gang", 7, 20)]);
    let mut walk = RequirementWalk::default();
    let budget = WalkBudget { slots: 5, lines: 100 };
    assert_eq!(world.serve(&mut walk, budget), [served("job/gang", 7)]);
    assert_eq!(world.serve(&mut walk, budget), [served("job/gang", 5)]);
    assert!(!walk.is_finished());
    let rest: usize = (0..5).flat_map(|_| world.serve(&mut walk, budget)).map(|(_, slots)| slots).sum();
    assert_eq!(rest, 8);
}

#[test]
fn a_line_spreads_over_its_own_slots_only() {
    let mut world = World::new();
    world.put_job("job", "default", 0);
    for (id, zone) in [("tm-1", "a"), ("tm-2", "b")] {
        world.register(id, &static_offer(9), labels(&[("zone", zone)]));
    }
    let spread = |name_of: &str| {
        let rules = PlacementRules {
            constraints: vec![Constraint::SpreadBy { label: name("zone"), per_value_max: 1 }],
            ..Default::default()
        };
        Requirement { rules, ..line(name_of, 0, 3) }
    };
    world.declare("job", 1, vec![spread("left"), spread("right")]);
    let mut walk = RequirementWalk::default();
    assert_eq!(world.serve(&mut walk, PLENTY), [served("job/left", 2), served("job/right", 2)]);
    assert_eq!(world.reasons("job", "left"), [(RefusalReason::Spread, 2)]);
}

#[test]
fn what_was_hopeless_is_tried_again_when_room_grows() {
    let mut world = World::with(&["tm-1"], &Offer::Dynamic { total: cpu(1000), slot_profile: cpu(1000) });
    let large = |version, cpu_millis, world: &mut World| {
        let requirement = Requirement { profile: Some(cpu(cpu_millis)), ..line("workers", 1, 1) };
        world.declare("job", version, vec![requirement]);
    };
    large(1, 600, &mut world);
    world.put_job("other", "default", 0);
    let mut walk = RequirementWalk::default();
    assert_eq!(world.serve(&mut walk, PLENTY), [served("job/workers", 1)]);
    let requirement = Requirement { profile: Some(cpu(600)), ..line("workers", 1, 1) };
    world.declare("other", 1, vec![requirement]);
    assert_eq!(world.serve(&mut walk, PLENTY), []);
    assert_eq!(world.reasons("other", "workers"), [(RefusalReason::NotEnoughFree, 1)]);
    world.declare("job", 2, Vec::new());
    assert_eq!(world.serve(&mut walk, PLENTY), [served("other/workers", 1)]);
}
