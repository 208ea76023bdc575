//! Rules of allocation requests and releases.

use slotkeeper::domain::{
    Allocate, AllocationId, AllocationMode, Command, Epoch, Name, Offer, RefusalCount, RefusalReason,
    Rejection, Reply, StaleDecision,
};

use crate::support::*;

fn stale(decision: StaleDecision) -> Rejection {
    Rejection::StaleDecision(decision)
}

#[test]
fn slots_are_granted_lowest_index_first_with_growing_tokens() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 4);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm", "tm", "tm"]);
    let grants: Vec<_> = held.iter().map(|id| ledger.grant(*id)).collect();
    assert_eq!(grants.iter().map(|grant| grant.slot_index).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(grants.windows(2).all(|pair| pair[0].fencing_token < pair[1].fencing_token));
    ledger.reply(release("job", &held[1..2]));
    let again = ledger.allocate("job", &["tm", "tm"]);
    assert_eq!(again.iter().map(|id| ledger.grant(*id).slot_index).collect::<Vec<_>>(), [1, 3]);
    assert!(
        ledger.grant(again[0]).fencing_token > grants[2].fencing_token,
        "a slot given again has a higher token"
    );
}

#[test]
fn a_full_taskmanager_takes_no_more_and_the_whole_request_is_refused() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("small", 1);
    ledger.static_task_manager("large", 5);
    ledger.job("job");
    let request = ledger.allocation("job", &["large", "small", "small"]);
    let refusal = ledger.refusal(Command::Allocate(request));
    assert!(matches!(refusal, Rejection::StaleDecision(_)), "{refusal:?}");
    assert!(ledger.find("large").slots.is_empty(), "the places that did fit were not taken either");
}

#[test]
fn a_decision_for_another_registration_no_longer_fits() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    let request = ledger.allocation("job", &["tm"]);
    ledger.register("tm", "second", Offer::Static { slots: 1, slot_profile: profile(1000, 1 << 30) });
    assert_eq!(ledger.refusal(Command::Allocate(request)), stale(StaleDecision::TaskManager));
    let mut nowhere = ledger.allocation("job", &["tm"]);
    nowhere.placements[0].task_manager = task_manager("unknown");
    assert_eq!(ledger.refusal(Command::Allocate(nowhere)), stale(StaleDecision::TaskManager));
}

#[test]
fn a_taskmanager_that_takes_no_slots_gets_none() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 2);
    ledger.job("job");
    ledger.allocate("job", &["tm"]);
    let request = Command::Allocate(ledger.allocation("job", &["tm"]));
    for command in [
        Command::Cordon { id: task_manager("tm") },
        Command::Drain { id: task_manager("tm"), deadline_ms: None },
        expire("tm", epoch),
    ] {
        ledger.reply(command);
        assert_eq!(ledger.refusal(request.clone()), stale(StaleDecision::TaskManager));
    }
}

#[test]
fn slots_are_cut_from_a_total_until_it_is_used_up() {
    let mut ledger = Ledger::new();
    ledger.dynamic_task_manager("tm", 4);
    ledger.job("job");
    let mut request = ledger.allocation("job", &["tm"]);
    request.profile = Some(profile(2500, 1));
    ledger.reply(Command::Allocate(request.clone()));
    assert_eq!(ledger.find("tm").free, profile(1500, (4 << 30) - 1));
    assert_eq!(ledger.refusal(Command::Allocate(request.clone())), stale(StaleDecision::Resources));
    let default = ledger.allocate("job", &["tm"]);
    assert_eq!(
        *ledger.grant(default[0]).profile,
        profile(1000, 1 << 30),
        "without a profile: the default slot"
    );
    let gpu = profile(1, 1).with_extended(Name::new("gpu").unwrap(), 1);
    request.profile = Some(gpu);
    assert_eq!(ledger.refusal(Command::Allocate(request)), stale(StaleDecision::Resources));
}

#[test]
fn a_whole_slot_is_granted_for_a_smaller_profile_and_none_for_a_larger() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    let mut request = ledger.allocation("job", &["tm"]);
    request.profile = Some(profile(1001, 0));
    assert_eq!(ledger.refusal(Command::Allocate(request.clone())), stale(StaleDecision::Resources));
    request.profile = Some(profile(1, 1));
    let Reply::Allocated { allocations, .. } = ledger.reply(Command::Allocate(request)) else { panic!() };
    assert_eq!(*allocations[0].profile, profile(1000, 1 << 30));
}

#[test]
fn all_or_nothing_without_places_is_refused_with_the_reasons() {
    let mut ledger = Ledger::new();
    ledger.job("job");
    let reasons = vec![RefusalCount { reason: RefusalReason::NoFreeSlot, task_managers: 3 }];
    let request = Allocate { slots: 2, reasons: reasons.clone(), ..ledger.allocation("job", &[]) };
    assert_eq!(ledger.refusal(Command::Allocate(request)), Rejection::InsufficientResources { reasons });
}

#[test]
fn all_or_nothing_takes_neither_less_nor_more() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 3);
    ledger.job("job");
    let two = ledger.allocation("job", &["tm", "tm"]);
    let fewer = Allocate { slots: 3, ..two.clone() };
    assert_eq!(ledger.refusal(Command::Allocate(fewer)), stale(StaleDecision::TooFew));
    let more = Allocate { slots: 1, ..two };
    assert_eq!(ledger.refusal(Command::Allocate(more)), stale(StaleDecision::TooMany));
}

#[test]
fn best_effort_takes_what_there_is_and_says_what_is_missing() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    for (places, missing) in [(vec!["tm"], 2), (vec![], 3)] {
        let request =
            Allocate { slots: 3, mode: AllocationMode::BestEffort, ..ledger.allocation("job", &places) };
        let Reply::Allocated { allocations, missing: told, .. } = ledger.reply(Command::Allocate(request))
        else {
            panic!()
        };
        assert_eq!((allocations.len(), told), (places.len(), missing));
    }
}

#[test]
fn a_released_slot_is_free_at_once_and_a_second_release_gets_the_same_answer() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"]);
    let expected = Reply::Released { released: held.clone(), unknown: Vec::new() };
    assert_eq!(ledger.reply(release("job", &held)), expected);
    assert_eq!(ledger.reply(release("job", &held)), expected);
    assert_eq!(ledger.end_of(held[0]), Some("released"));
    ledger.allocate("job", &["tm"]);
}

#[test]
fn a_job_releases_only_its_own() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 3);
    ledger.job("job");
    ledger.job("other");
    let theirs = ledger.allocate("other", &["tm", "tm"]);
    ledger.reply(release("other", &theirs[..1]));
    let never = AllocationId::minted(cluster(), 99);
    let asked = [theirs[0], theirs[1], never, never];
    let reply = ledger.reply(release("job", &asked));
    assert_eq!(reply, Reply::Released { released: Vec::new(), unknown: vec![theirs[0], theirs[1], never] });
    assert_eq!(ledger.grant(theirs[1]).job, job("other"));
}

#[test]
fn naming_one_allocation_twice_releases_it_once() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"]);
    let reply = ledger.reply(release("job", &[held[0], held[0]]));
    assert_eq!(reply, Reply::Released { released: held, unknown: Vec::new() });
}

#[test]
fn requests_of_no_slot_or_too_many_are_refused() {
    let mut ledger = Ledger::new();
    ledger.job("job");
    for slots in [0, 10_001] {
        let request = Allocate { slots, ..ledger.allocation("job", &[]) };
        let refusal = ledger.refusal(Command::Allocate(request));
        assert!(matches!(refusal, Rejection::InvalidCommand { .. }), "{refusal:?}");
    }
}

#[test]
fn placements_that_name_no_epoch_of_the_taskmanager_are_refused() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    let mut request = ledger.allocation("job", &["tm"]);
    request.placements[0].epoch = Epoch(0);
    assert_eq!(ledger.refusal(Command::Allocate(request)), stale(StaleDecision::TaskManager));
}
