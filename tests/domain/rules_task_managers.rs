//! Rules of TaskManagers: registration, loss, cordon, drain, confirmation.

use std::sync::Arc;

use slotkeeper::domain::{
    AllocationId, AllocationPhase, Command, Condition, Epoch, Event, FailedWork, FailureCause, LogicalTime,
    Offer, Rejection, Reply, limits,
};

use crate::support::*;

fn slots(count: u32) -> Offer {
    Offer::Static { slots: count, slot_profile: profile(1000, 1 << 30) }
}

fn cordon(id: &str) -> Command {
    Command::Cordon { id: task_manager(id) }
}

fn uncordon(id: &str) -> Command {
    Command::Uncordon { id: task_manager(id) }
}

fn drain(id: &str, deadline_ms: Option<u64>) -> Command {
    Command::Drain { id: task_manager(id), deadline_ms }
}

#[test]
fn the_same_session_registers_again_and_keeps_epoch_and_allocations() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 2);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"]);
    let generation = ledger.generation("tm");
    let Reply::TaskManagerRegistered { created, epoch: again, generation: seen, allocations } =
        ledger.reply(register("tm", "first", slots(2)))
    else {
        panic!("another answer")
    };
    assert!(!created);
    assert_eq!((again, seen), (epoch, generation));
    assert_eq!(allocations.iter().map(|grant| grant.id).collect::<Vec<_>>(), held);
    assert_eq!(ledger.events(), [], "nothing changed");
}

#[test]
fn the_same_session_may_move_to_another_address() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"])[0];
    let mut moved = register("tm", "first", slots(1));
    if let Command::RegisterTaskManager { address, .. } = &mut moved {
        *address = Arc::from("elsewhere:1");
    }
    ledger.reply(moved);
    assert_eq!(&*ledger.grant(held).address, "elsewhere:1");
}

#[test]
fn what_a_taskmanager_offers_does_not_change_within_one_session() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 2);
    let refusal = ledger.refusal(register("tm", "first", slots(3)));
    assert!(matches!(refusal, Rejection::InvalidCommand { .. }), "{refusal:?}");
}

#[test]
fn another_session_is_a_restart_that_ends_what_was_held() {
    let mut ledger = Ledger::new();
    let first = ledger.static_task_manager("tm", 2);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm", "tm"]);
    let second = ledger.register("tm", "second", slots(4));
    assert!(second > first);
    assert!(ledger.find("tm").slots.is_empty());
    assert!(held.iter().all(|id| ledger.end_of(*id) == Some("task_manager_restarted")));
    assert_eq!(
        ledger.refusal(confirm("tm", first, &held)),
        Rejection::StaleEpoch { given: first, current: second }
    );
}

#[test]
fn offers_that_can_not_be_counted_are_refused() {
    let huge = profile(u64::MAX, 1);
    let offers = [
        slots(0),
        slots(limits::SLOTS_PER_TASK_MANAGER_MAX + 1),
        Offer::Static { slots: 2, slot_profile: huge.clone() },
        Offer::Dynamic { total: profile(1, 1), slot_profile: huge },
    ];
    let mut ledger = Ledger::new();
    for offer in offers {
        let refusal = ledger.refusal(register("tm", "first", offer));
        assert!(matches!(refusal, Rejection::InvalidCommand { .. }), "{refusal:?}");
    }
}

#[test]
fn a_lost_taskmanager_holds_nothing_and_must_register_again() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 2);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"]);
    ledger.reply(expire("tm", epoch));
    assert_eq!(ledger.find("tm").condition, Condition::Lost { since: LogicalTime(START_MS) });
    assert_eq!(ledger.end_of(held[0]), Some("task_manager_lost"));
    assert_eq!(ledger.find_job("job").usage.slots, 0);
    let refusal = ledger.refusal(confirm("tm", epoch, &held));
    assert_eq!(refusal, Rejection::UnknownTaskManager(task_manager("tm")));
    let again = ledger.register("tm", "first", slots(2));
    assert!(again > epoch, "a loss ends the registration even if the process lives on");
    assert_eq!(ledger.find("tm").condition, Condition::Active);
}

#[test]
fn a_verdict_on_an_older_registration_is_refused() {
    let mut ledger = Ledger::new();
    let first = ledger.static_task_manager("tm", 1);
    let second = ledger.register("tm", "second", slots(1));
    assert_eq!(ledger.refusal(expire("tm", first)), Rejection::StaleEpoch { given: first, current: second });
}

#[test]
fn a_second_verdict_on_the_same_registration_changes_nothing() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 1);
    ledger.reply(expire("tm", epoch));
    ledger.wait_ms(1_000);
    assert_eq!(ledger.reply(expire("tm", epoch)), Reply::Done);
    assert_eq!(ledger.find("tm").condition, Condition::Lost { since: LogicalTime(START_MS) });
}

#[test]
fn a_deregistered_taskmanager_is_gone_and_its_allocations_ended() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"])[0];
    ledger.reply(Command::DeregisterTaskManager { id: task_manager("tm") });
    assert_eq!(ledger.end_of(held), Some("task_manager_left"));
    assert!(!ledger.state.task_managers().contains_key(&task_manager("tm")));
    let again = ledger.refusal(Command::DeregisterTaskManager { id: task_manager("tm") });
    assert_eq!(again, Rejection::UnknownTaskManager(task_manager("tm")));
}

#[test]
fn an_operators_cordon_survives_restart_and_loss() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.reply(cordon("tm"));
    let epoch = ledger.register("tm", "second", slots(1));
    assert_eq!(ledger.find("tm").condition, Condition::Cordoned);
    ledger.reply(expire("tm", epoch));
    ledger.register("tm", "third", slots(1));
    assert_eq!(ledger.find("tm").condition, Condition::Cordoned);
    ledger.reply(uncordon("tm"));
    assert_eq!(ledger.find("tm").condition, Condition::Active);
}

#[test]
fn a_lost_taskmanager_can_be_cordoned_and_uncordoned_for_its_return() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 1);
    ledger.reply(expire("tm", epoch));
    for (command, expected) in [
        (cordon("tm"), Condition::Cordoned),
        (drain("tm", None), Condition::Drained),
        (uncordon("tm"), Condition::Active),
    ] {
        ledger.reply(command);
        let mut returned = ledger.clone();
        returned.register("tm", "second", slots(1));
        assert_eq!(returned.find("tm").condition, expected);
    }
}

#[test]
fn a_cordoned_taskmanager_keeps_what_it_has() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 2);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"])[0];
    ledger.reply(cordon("tm"));
    assert_eq!(ledger.grant(held).task_manager, task_manager("tm"));
    assert_eq!(ledger.reply(cordon("tm")), Reply::Done, "twice is as good as once");
}

#[test]
fn a_drain_is_done_when_the_last_slot_goes() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 2);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm", "tm"]);
    ledger.reply(drain("tm", None));
    ledger.reply(release("job", &held[..1]));
    assert_eq!(ledger.find("tm").condition, Condition::Draining { deadline: None });
    ledger.reply(release("job", &held[1..]));
    assert_eq!(ledger.find("tm").condition, Condition::Drained);
    let drained = Event::TaskManagerChanged { id: task_manager("tm"), condition: Condition::Drained };
    assert!(ledger.events().contains(&drained));
}

#[test]
fn draining_an_empty_taskmanager_is_done_at_once_and_a_cordon_does_not_undo_it() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.reply(drain("tm", Some(1_000)));
    assert_eq!(ledger.find("tm").condition, Condition::Drained);
    ledger.reply(cordon("tm"));
    assert_eq!(ledger.find("tm").condition, Condition::Drained);
    assert_eq!(ledger.state.due_at(), None);
}

#[test]
fn a_draining_taskmanager_that_restarts_or_is_lost_comes_back_drained() {
    for is_lost in [false, true] {
        let mut ledger = Ledger::new();
        let epoch = ledger.static_task_manager("tm", 1);
        ledger.job("job");
        ledger.allocate("job", &["tm"]);
        ledger.reply(drain("tm", Some(60_000)));
        if is_lost {
            ledger.reply(expire("tm", epoch));
        }
        ledger.register("tm", "second", slots(1));
        assert_eq!(ledger.find("tm").condition, Condition::Drained);
        assert_eq!(ledger.state.due_at(), None, "the deadline is gone with the drain");
    }
}

#[test]
fn uncordon_ends_a_drain() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    ledger.allocate("job", &["tm"]);
    ledger.reply(drain("tm", Some(60_000)));
    ledger.reply(uncordon("tm"));
    assert_eq!(ledger.find("tm").condition, Condition::Active);
    assert_eq!(ledger.state.due_at(), None);
}

#[test]
fn a_confirmed_allocation_is_active_and_stays_so() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 1);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"]);
    assert_eq!(ledger.grant(held[0]).phase, AllocationPhase::Pending);
    for _ in 0..2 {
        let reply = ledger.reply(confirm("tm", epoch, &held));
        assert_eq!(reply, Reply::Confirmed { active: 1, failed: 0, unknown: 0 });
        assert_eq!(ledger.grant(held[0]).phase, AllocationPhase::Active);
    }
    assert_eq!(ledger.events(), [], "the second confirmation told nothing new");
}

#[test]
fn what_a_taskmanager_does_not_hold_is_counted_as_unknown() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 1);
    ledger.static_task_manager("other", 1);
    ledger.job("job");
    let theirs = ledger.allocate("job", &["other"]);
    let reply = ledger.reply(confirm("tm", epoch, &theirs));
    assert_eq!(reply, Reply::Confirmed { active: 0, failed: 0, unknown: 1 });
    let reply = ledger.reply(fail("tm", epoch, &theirs, "no"));
    assert_eq!(reply, Reply::Confirmed { active: 0, failed: 0, unknown: 1 });
    assert_eq!(ledger.grant(theirs[0]).phase, AllocationPhase::Pending);
}

#[test]
fn what_can_not_start_ends_with_the_reason_and_the_line_waits_again() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 1);
    ledger.job("job");
    ledger.declare("job", 1, &[("line", 1, 1)]);
    let held = ledger.fulfil("job", "line", &["tm"]);
    assert!(ledger.state.indexes().pending().is_empty());
    let long_reason = "ü".repeat(limits::REASON_BYTES_MAX);
    ledger.reply(fail("tm", epoch, &held, &long_reason));
    let ended = ledger.state.ended_allocation(held[0]).unwrap();
    let slotkeeper::domain::EndReason::StartFailed(reason) = &ended.reason else { panic!("{ended:?}") };
    assert_eq!(reason.len(), limits::REASON_BYTES_MAX, "the reason is cut between characters");
    assert_eq!(ledger.state.indexes().pending().len(), 1);
}

#[test]
fn every_change_of_the_slots_is_a_new_generation() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 1);
    ledger.job("job");
    let registered = ledger.generation("tm");
    let held = ledger.allocate("job", &["tm"]);
    let granted = ledger.generation("tm");
    ledger.reply(confirm("tm", epoch, &held));
    assert_eq!(ledger.generation("tm"), granted, "a confirmation changes no slot");
    ledger.reply(release("job", &held));
    let released = ledger.generation("tm");
    assert!(registered < granted && granted < released);
}

#[test]
fn an_old_process_that_leaves_does_not_deregister_its_successor() {
    let mut ledger = Ledger::new();
    let first = ledger.static_task_manager("tm", 1);
    let second = ledger.register("tm", "second", slots(1));
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"])[0];
    let leave = |epoch| Command::LeaveTaskManager { id: task_manager("tm"), epoch };
    let refusal = ledger.refusal(leave(first));
    assert_eq!(refusal, Rejection::StaleEpoch { given: first, current: second });
    assert_eq!(ledger.grant(held).task_manager, task_manager("tm"));
    ledger.reply(leave(second));
    assert_eq!(ledger.end_of(held), Some("task_manager_left"));
    assert_eq!(ledger.refusal(leave(second)), Rejection::UnknownTaskManager(task_manager("tm")));
}

fn report(epoch: Epoch, allocation: AllocationId, cause: FailureCause) -> Command {
    let failed = vec![FailedWork { allocation, cause, detail: "in its own words".into() }];
    Command::Report { id: task_manager("tm"), epoch, started: Vec::new(), failed }
}

#[test]
fn what_does_not_run_ends_with_the_cause_that_the_taskmanager_names() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 3);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm", "tm", "tm"]);
    let causes = [FailureCause::StartFailed, FailureCause::LeaseExpired, FailureCause::Leaving];
    for (allocation, cause) in held.iter().zip(causes) {
        let reply = ledger.reply(report(epoch, *allocation, cause));
        assert_eq!(reply, Reply::Confirmed { active: 0, failed: 1, unknown: 0 });
    }
    let ends = held.iter().map(|allocation| ledger.end_of(*allocation).unwrap());
    assert_eq!(ends.collect::<Vec<_>>(), ["start_failed", "task_manager_fenced", "task_manager_left"]);
}

#[test]
fn a_drain_is_done_also_when_the_last_slot_goes_because_the_taskmanager_leaves() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 1);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"])[0];
    ledger.reply(drain("tm", Some(1_000)));
    ledger.reply(report(epoch, held, FailureCause::Leaving));
    assert_eq!(ledger.find("tm").condition, Condition::Drained);
    assert_eq!(ledger.state.due_at(), None);
}

#[test]
fn what_is_not_held_any_more_ends_if_it_was_confirmed_and_the_line_waits_again() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 2);
    ledger.job("job");
    ledger.declare("job", 1, &[("line", 2, 2)]);
    let held = ledger.fulfil("job", "line", &["tm", "tm"]);
    ledger.reply(confirm("tm", epoch, &held[..1]));
    let end = |epoch, allocations: &[AllocationId]| Command::EndNotHeld {
        id: task_manager("tm"),
        epoch,
        allocations: allocations.to_vec(),
    };
    let reply = ledger.reply(end(epoch, &held));
    assert_eq!(reply, Reply::Confirmed { active: 0, failed: 1, unknown: 1 });
    assert_eq!((ledger.end_of(held[0]), ledger.end_of(held[1])), (Some("not_held"), None));
    assert_eq!(ledger.state.indexes().pending().len(), 1);
    let current = ledger.register("tm", "second", slots(2));
    assert_eq!(ledger.refusal(end(epoch, &held)), Rejection::StaleEpoch { given: epoch, current });
}
