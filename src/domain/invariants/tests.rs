//! Every invariant notices when it is broken: a sound state is damaged by hand, field by field.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::domain::{
    Allocate, AllocationId, AllocationMode, Batch, ClusterId, Command, Condition, EndReason, EndedAllocation,
    Epoch, FencingToken, Fulfil, Generation, IdempotencyKey, Job, JobEnd, JobId, JobPhase, KeyedCommand,
    LogicalTime, MintedNode, Offer, Placement, PlacementRules, PutRequirements, QueueName, Record,
    RequestKey, Requirement, RequirementName, RequirementVersion, ResourceLimit, ResourceProfile, Revision,
    SessionNumber, SessionStart, TaskManager, TaskManagerId, TaskManagerSession, limits,
};

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(7 << 64));

fn task_manager_id() -> TaskManagerId {
    TaskManagerId::new("tm").unwrap()
}

fn job_id() -> JobId {
    JobId::new("job").unwrap()
}

fn line_name() -> RequirementName {
    RequirementName::new("line").unwrap()
}

fn first() -> AllocationId {
    AllocationId::minted(CLUSTER, 1)
}

fn second() -> AllocationId {
    AllocationId::minted(CLUSTER, 2)
}

/// One TaskManager of three slots; one job with an imperative allocation in slot 0 and a line with one in slot 1.
fn sound() -> State {
    let mut state = State::new();
    state.apply(&Record::Begin(SessionStart { cluster: CLUSTER, node_id: 1, at: LogicalTime(1_000) }));
    let slot_profile = ResourceProfile::from_plain([500, 0, 0, 0, 0]);
    let requirement = Requirement {
        name: line_name(),
        profile: None,
        min: 0,
        desired: 1,
        rules: PlacementRules::default(),
    };
    let version = RequirementVersion(1);
    let placements = vec![Placement { task_manager: task_manager_id(), epoch: Epoch(1) }];
    let commands = [
        Command::RegisterTaskManager {
            id: task_manager_id(),
            session: TaskManagerSession::new("session").unwrap(),
            address: Arc::from("host:1"),
            offer: Offer::Static { slots: 3, slot_profile },
            labels: BTreeMap::new(),
        },
        Command::PutJob {
            id: job_id(),
            queue: QueueName::new("default").unwrap(),
            priority: 0,
            job_master_id: None,
            lease_ms: None,
        },
        Command::Allocate(Allocate {
            job: job_id(),
            job_master_id: None,
            slots: 1,
            profile: None,
            mode: AllocationMode::AllOrNothing,
            placements: placements.clone(),
            reasons: Vec::new(),
        }),
        Command::PutRequirements(PutRequirements {
            job: job_id(),
            job_master_id: None,
            version,
            requirements: vec![requirement],
        }),
        Command::Fulfil(Fulfil { job: job_id(), version, requirement: line_name(), placements }),
        Command::MintNodeId { peer_addr: Arc::from("host:2"), incarnation: Uuid::from_u128(3) },
    ];
    for (number, command) in commands.into_iter().enumerate() {
        let key = IdempotencyKey::new(&format!("key-{number}")).unwrap();
        let key = Some(RequestKey { key, fingerprint: [0; 16] });
        let commands = vec![KeyedCommand { key, command }];
        let batch = Batch { session: state.session, at: LogicalTime(2_000), commands };
        let applied = state.apply(&Record::Round(batch));
        assert!(applied.outcomes.iter().all(|outcome| outcome.result.is_ok()), "{applied:?}");
    }
    assert_eq!(state.violations(), []);
    state
}

fn task_manager(state: &mut State) -> &mut TaskManager {
    Arc::make_mut(state.task_managers.get_mut(&task_manager_id()).unwrap())
}

fn job(state: &mut State) -> &mut Job {
    Arc::make_mut(state.jobs.get_mut(&job_id()).unwrap())
}

fn queue(state: &mut State) -> &mut crate::domain::Queue {
    state.queues.get_mut(&QueueName::new("default").unwrap()).unwrap()
}

/// Damages a sound state; the invariant of that number must be among those that notice.
fn notices(number: u8, damage: impl FnOnce(&mut State)) {
    let mut state = sound();
    damage(&mut state);
    let violations = state.violations();
    assert!(
        violations.iter().any(|found| found.number == number),
        "I{number} did not notice: {violations:?}"
    );
}

/// As [`notices`], for invariants that compare with the state before the damage.
fn notices_since(number: u8, damage: impl FnOnce(&mut State)) {
    let previous = sound();
    let mut state = previous.clone();
    state.revision = state.revision.next();
    assert_eq!(state.violations_since(&previous), []);
    damage(&mut state);
    let violations = state.violations_since(&previous);
    assert!(
        violations.iter().any(|found| found.number == number),
        "I{number} did not notice: {violations:?}"
    );
}

#[test]
fn the_numbers_are_in_order_and_the_names_differ() {
    let numbers: Vec<_> = INVARIANTS.iter().map(|invariant| invariant.number).collect();
    assert_eq!(numbers, (1..=15).collect::<Vec<u8>>());
    let names: std::collections::BTreeSet<_> = INVARIANTS.iter().map(|invariant| invariant.name).collect();
    assert_eq!(names.len(), INVARIANTS.len());
}

#[test]
fn the_page_of_the_invariants_names_all_of_them() {
    let page = include_str!("../../../docs/invariants.md");
    for Invariant { number, name, description, .. } in INVARIANTS {
        let row = format!("| I{number} | {name} | {description} |");
        assert!(page.contains(&row), "docs/invariants.md lacks the line\n{row}");
    }
}

#[test]
fn i1_notices_a_slot_given_twice_and_an_allocation_without_its_slot() {
    notices(1, |state| {
        task_manager(state).slots.insert(2, first());
    });
    notices(1, |state| {
        task_manager(state).slots.remove(&1);
    });
    notices(1, |state| Arc::make_mut(state.allocations.get_mut(&first()).unwrap()).slot_index = 1);
}

#[test]
fn i2_notices_a_wrong_free_amount_and_a_slot_beyond_the_offer() {
    notices(2, |state| task_manager(state).free.cpu_millis += 1);
    notices(2, |state| {
        let slots = &mut task_manager(state).slots;
        let id = slots.remove(&1).unwrap();
        slots.insert(3, id);
    });
}

#[test]
fn i3_notices_a_number_that_falls_or_a_change_that_nobody_sees() {
    notices_since(3, |state| state.counters.allocation -= 1);
    notices_since(3, |state| state.counters.fencing_token = FencingToken(1));
    notices_since(3, |state| state.counters.epoch = Epoch(0));
    notices_since(3, |state| state.counters.node_id = 0);
    notices_since(3, |state| task_manager(state).epoch = Epoch(0));
    notices_since(3, |state| task_manager(state).generation = Generation(0));
    notices_since(3, |state| {
        task_manager(state).slots.remove(&1);
    });
    notices_since(3, |state| {
        Arc::make_mut(state.allocations.get_mut(&first()).unwrap()).fencing_token = FencingToken(9);
    });
    notices_since(3, |state| {
        let copy = state.task_managers.get(&task_manager_id()).unwrap().clone();
        state.task_managers.insert(TaskManagerId::new("other").unwrap(), copy);
    });
}

#[test]
fn i4_notices_an_allocation_of_nobody_or_nowhere() {
    notices(4, |state| {
        state.jobs.remove(&job_id());
    });
    notices(4, |state| {
        state.task_managers.remove(&task_manager_id());
    });
    notices(4, |state| {
        job(state).allocations.insert(AllocationId::minted(CLUSTER, 9));
    });
}

#[test]
fn i5_notices_a_wrong_charge_and_a_wrong_count_of_jobs() {
    notices(5, |state| queue(state).used.slots += 1);
    notices(5, |state| queue(state).used.profile.cpu_millis += 1);
    notices(5, |state| job(state).usage.slots = 0);
    notices(5, |state| queue(state).jobs = 0);
    notices(5, |state| job(state).queue = QueueName::new("nowhere").unwrap());
}

#[test]
fn i6_notices_a_queue_above_its_maximum() {
    notices(6, |state| queue(state).maximum = ResourceLimit { slots: Some(1), ..Default::default() });
}

#[test]
fn i7_notices_slots_on_a_lost_taskmanager() {
    notices(7, |state| task_manager(state).condition = Condition::Lost { since: LogicalTime(1) });
}

#[test]
fn i8_notices_time_that_falls_and_a_cluster_that_changes() {
    notices_since(8, |state| state.now = LogicalTime(1));
    notices_since(8, |state| state.revision = Revision(1));
    notices_since(8, |state| state.session = SessionNumber(0));
    notices_since(8, |state| state.cluster = None);
}

#[test]
fn i9_notices_a_finished_job_with_slots_or_lines() {
    notices(9, |state| {
        job(state).phase = JobPhase::Finished { at: LogicalTime(1), reason: JobEnd::Deleted };
    });
}

#[test]
fn i10_notices_an_index_that_was_forgotten() {
    notices(10, |state| state.indexes.unconfirmed = crate::domain::SharedMap::new());
    notices(10, |state| job(state).requirements.get_mut(&line_name()).unwrap().requirement.desired = 5);
    notices(10, |state| task_manager(state).condition = Condition::Cordoned);
}

#[test]
fn i11_notices_a_node_id_minted_twice() {
    let again = MintedNode { node_id: 1, incarnation: Uuid::from_u128(9), peer_addr: "host:3".to_owned() };
    notices(11, |state| state.minted_nodes.push(again));
    notices(11, |state| state.counters.node_id = 0);
}

#[test]
fn i12_notices_a_line_that_lost_track() {
    notices(12, |state| job(state).requirements.get_mut(&line_name()).unwrap().granted.clear());
    notices(12, |state| job(state).requirements.get_mut(&line_name()).unwrap().requirement.desired = 0);
    notices(12, |state| job(state).requirements.clear());
}

#[test]
fn i13_notices_a_drain_that_can_not_end_and_one_that_has_not() {
    notices(13, |state| task_manager(state).condition = Condition::Drained);
    notices(13, |state| {
        task_manager(state).slots.clear();
        task_manager(state).condition = Condition::Draining { deadline: None };
    });
    notices(13, |state| task_manager(state).returns_as = Some(Condition::Cordoned));
}

#[test]
fn i14_notices_what_was_never_minted_or_ended_before() {
    notices(14, |state| state.counters.allocation = 1);
    notices(14, |state| state.counters.fencing_token = FencingToken(1));
    notices(14, |state| {
        Arc::make_mut(state.allocations.get_mut(&second()).unwrap()).fencing_token = FencingToken(1);
    });
    notices(14, |state| {
        let ended = EndedAllocation {
            id: first(),
            job: job_id(),
            task_manager: task_manager_id(),
            slot_index: 0,
            fencing_token: FencingToken(1),
            reason: EndReason::Released,
            ended_at: LogicalTime(1),
            ended_in: Revision(1),
        };
        state.ended.push_back(Arc::new(ended));
        state.rebuild_indexes();
    });
}

#[test]
fn i15_notices_a_list_beyond_its_limit() {
    notices(15, |state| {
        let node = state.minted_nodes[0].clone();
        state.minted_nodes = vec![node; limits::MINTED_NODES_MAX + 1];
    });
    notices(15, |state| {
        for number in 0..limits::QUEUES_MAX {
            state.queues.insert(QueueName::new(&format!("queue-{number}")).unwrap(), Default::default());
        }
    });
}
