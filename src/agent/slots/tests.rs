//! The decision core of the agent, step by step.

use std::sync::Arc;

use uuid::Uuid;

use super::{Effect, Phase, Registration, Slots, Told};
use crate::agent::work::{StopReason, Work};
use crate::api::resources::Profile;
use crate::api::task_managers::FailureCause;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Allocation `number` in slot `slot_index`; its fencing token is its number.
fn work(number: u64, slot_index: u32) -> Work {
    Work {
        allocation_id: id(u128::from(number)),
        job_id: "job".to_owned(),
        slot_index,
        fencing_token: number,
        profile: Profile::default(),
        confirmed: false,
        document: Arc::new(serde_json::Value::Null),
    }
}

fn registration(epoch: u64, generation: u64) -> Registration {
    Registration { epoch, generation }
}

fn admitted(allocations: Vec<Work>) -> (Slots, Vec<Effect>) {
    let mut slots = Slots::default();
    let mut effects = slots.admit();
    effects.extend(slots.registered(registration(1, 10), allocations));
    (slots, effects)
}

/// Slots in which these run.
fn running(allocations: Vec<Work>) -> Slots {
    let ids: Vec<Uuid> = allocations.iter().map(|work| work.allocation_id).collect();
    let (mut slots, effects) = admitted(allocations);
    assert_eq!(effects.len(), ids.len());
    for id in ids {
        assert_eq!(slots.start_finished(id, Ok(())), []);
    }
    slots
}

fn start(number: u64, slot_index: u32) -> Effect {
    Effect::Start(Arc::new(work(number, slot_index)))
}

fn stop(number: u64, slot_index: u32, reason: StopReason) -> Effect {
    Effect::Stop(Arc::new(work(number, slot_index)), reason)
}

#[test]
fn what_is_told_twice_is_started_once() {
    let (mut slots, effects) = admitted(vec![work(1, 0)]);
    assert_eq!(effects, [start(1, 0)]);
    assert_eq!(slots.told(registration(1, 10), vec![work(1, 0)]), Told::Taken(vec![]));
    slots.start_finished(id(1), Ok(()));
    assert_eq!(slots.told(registration(1, 11), vec![work(1, 0)]), Told::Taken(vec![]));
}

#[test]
fn an_older_generation_is_refused_and_changes_nothing() {
    let mut slots = running(vec![work(1, 0)]);
    assert_eq!(slots.told(registration(1, 9), vec![]), Told::Refused);
    assert_eq!(slots.held(), [id(1)]);
}

#[test]
fn the_answer_of_another_registration_is_refused() {
    let mut slots = running(vec![work(1, 0)]);
    assert_eq!(slots.told(registration(2, 99), vec![]), Told::Refused);
    slots.disowned(1);
    assert_eq!(
        slots.told(registration(1, 99), vec![]),
        Told::Refused,
        "between registrations nothing is taken"
    );
    assert_eq!(slots.held(), [id(1)], "work goes on while the TaskManager registers again");
    assert_eq!(slots.registered(registration(1, 5), vec![work(1, 0)]), [], "the same work stays");
}

#[test]
fn a_slot_is_stopped_before_other_work_starts_in_it() {
    let mut slots = running(vec![work(1, 0)]);
    let told = slots.told(registration(1, 11), vec![work(2, 0), work(3, 1)]);
    assert_eq!(told, Told::Taken(vec![stop(1, 0, StopReason::Withdrawn), start(3, 1)]));
    assert_eq!(slots.stop_finished(id(1), Ok(())), [start(2, 0)]);
}

#[test]
fn a_start_under_way_is_broken_off_and_its_late_end_is_ignored() {
    let (mut slots, _) = admitted(vec![work(1, 0)]);
    let told = slots.told(registration(1, 11), vec![]);
    assert_eq!(told, Told::Taken(vec![stop(1, 0, StopReason::Withdrawn)]));
    assert_eq!(slots.start_finished(id(1), Ok(())), []);
    assert!(slots.report().is_empty());
    slots.stop_finished(id(1), Ok(()));
    assert!(slots.is_clean());
}

#[test]
fn a_slot_refuses_a_token_that_is_not_above_the_highest_it_has_seen() {
    let mut slots = running(vec![work(7, 0)]);
    slots.told(registration(1, 11), vec![]);
    slots.stop_finished(id(7), Ok(()));
    assert_eq!(slots.told(registration(1, 12), vec![work(5, 0)]), Told::Taken(vec![]));
    assert!(slots.report().failed[&id(5)].reason.contains("fencing token 5 is not above 7"));
    assert_eq!(slots.told(registration(1, 13), vec![work(8, 0)]), Told::Taken(vec![start(8, 0)]));
}

#[test]
fn a_failed_start_is_cleared_away_reported_until_taken_and_never_repeated() {
    let (mut slots, _) = admitted(vec![work(1, 0)]);
    let effects = slots.start_finished(id(1), Err("exit status 3".to_owned()));
    assert_eq!(effects, [stop(1, 0, StopReason::StartFailed)]);
    assert_eq!(slots.stop_finished(id(1), Ok(())), []);
    let report = slots.report();
    assert_eq!(report.failed[&id(1)].reason, "exit status 3");
    slots.reported(1, report);
    assert!(slots.report().is_empty());
    assert_eq!(slots.told(registration(1, 11), vec![work(1, 0)]), Told::Taken(vec![]));
    assert_eq!(slots.told(registration(1, 12), vec![work(2, 0)]), Told::Taken(vec![start(2, 0)]));
}

#[test]
fn running_work_is_confirmed_once_and_again_only_after_a_new_registration() {
    let mut slots = running(vec![work(1, 0)]);
    let report = slots.report();
    assert!(report.started.contains(&id(1)));
    slots.reported(2, report.clone());
    assert!(!slots.report().is_empty(), "an answer under another registration does not count");
    slots.reported(1, report);
    assert!(slots.report().is_empty());
    slots.registered(registration(1, 12), vec![work(1, 0)]);
    assert!(slots.report().started.contains(&id(1)), "the cluster shows it as not confirmed");
    let confirmed = Work { confirmed: true, ..work(1, 0) };
    slots.told(registration(1, 13), vec![confirmed]);
    assert!(slots.report().is_empty());
}

#[test]
fn past_the_deadline_everything_stops_and_nothing_starts_until_the_lease_holds_again() {
    let mut slots = running(vec![work(1, 0), work(2, 1)]);
    let reason = StopReason::LeaseExpired;
    assert_eq!(slots.fence(), [stop(1, 0, reason), stop(2, 1, reason)]);
    assert_eq!(slots.fence(), [], "once is enough");
    slots.stop_finished(id(1), Ok(()));
    slots.stop_finished(id(2), Ok(()));
    let told = slots.told(registration(1, 11), vec![work(1, 0), work(2, 1), work(3, 2)]);
    assert_eq!(told, Told::Taken(vec![]));
    assert_eq!(slots.admit(), [start(3, 2)], "what was stopped at the deadline does not start again");
    let causes = slots.report().failed.into_values().map(|given_up| given_up.cause);
    assert_eq!(causes.collect::<Vec<_>>(), [FailureCause::LeaseExpired; 2]);
}

#[test]
fn a_confirmed_allocation_that_was_stopped_at_the_deadline_is_reported_as_failed() {
    let mut slots = running(vec![work(1, 0)]);
    slots.reported(1, slots.report());
    slots.fence();
    assert!(slots.report().failed.contains_key(&id(1)));
    assert!(slots.report().started.is_empty());
}

#[test]
fn a_slot_whose_stop_failed_takes_nothing_new_until_it_is_clean() {
    let mut slots = running(vec![work(1, 0)]);
    slots.told(registration(1, 11), vec![work(2, 0)]);
    let effects = slots.stop_finished(id(1), Err("exit status 1".to_owned()));
    assert_eq!(effects, [Effect::StopAgain(Arc::new(work(1, 0)), StopReason::Withdrawn)]);
    assert!(slots.report().failed[&id(2)].reason.contains("slot 0 is not clean"));
    assert!(!slots.is_clean());
    slots.told(registration(1, 12), vec![work(3, 0)]);
    assert!(slots.report().failed.contains_key(&id(3)));
    assert_eq!(slots.stop_finished(id(1), Ok(())), []);
    assert_eq!(slots.told(registration(1, 13), vec![work(4, 0)]), Told::Taken(vec![start(4, 0)]));
}

#[test]
fn a_new_registration_without_the_old_work_stops_it() {
    let mut slots = running(vec![work(1, 0)]);
    slots.disowned(1);
    let effects = slots.registered(registration(2, 20), vec![]);
    assert_eq!(effects, [stop(1, 0, StopReason::Withdrawn)]);
}

#[test]
fn a_leaving_task_manager_stops_everything_and_starts_nothing() {
    let mut slots = running(vec![work(1, 0)]);
    assert_eq!(slots.leave(), [stop(1, 0, StopReason::Leaving)]);
    assert_eq!(slots.told(registration(1, 11), vec![work(1, 0), work(2, 1)]), Told::Taken(vec![]));
    assert_eq!(slots.admit(), []);
    assert_eq!((slots.held(), slots.occupying()), (vec![], vec![id(1)]), "it is there until it has stopped");
    assert_eq!(
        slots.report().failed.keys().copied().collect::<Vec<_>>(),
        [id(2)],
        "a late grant is given back"
    );
    slots.stop_finished(id(1), Err("exit status 1".to_owned()));
    assert!(!slots.report().failed.contains_key(&id(1)), "it may still run");
    slots.stop_finished(id(1), Ok(()));
    assert!(slots.is_clean());
    let causes = slots.report().failed.into_values().map(|given_up| given_up.cause);
    assert_eq!(causes.collect::<Vec<_>>(), [FailureCause::Leaving; 2]);
}

#[test]
fn the_view_shows_every_slot_that_was_used() {
    let mut slots = running(vec![work(4, 2)]);
    slots.told(registration(1, 11), vec![]);
    slots.stop_finished(id(4), Ok(()));
    let seen: Vec<_> = slots.iter().collect();
    assert_eq!(seen, [(2, &Phase::Idle, Some(4))]);
}
