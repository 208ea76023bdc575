//! Rules of idempotency keys.

use slotkeeper::domain::{
    Batch, Command, LogicalTime, Record, Rejection, Reply, RoundAfter, SettingsPatch, StaleDecision,
};

use crate::support::*;

#[test]
fn a_retry_gets_the_first_answer_and_changes_nothing() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 5);
    ledger.job("job");
    let request = Command::Allocate(ledger.allocation("job", &["tm"]));
    let key = request_key("key", 1);
    let first = ledger.run(Some(key.clone()), request.clone());
    assert!(!first.replayed);
    ledger.begin(2);
    let again = ledger.run(Some(key.clone()), request);
    assert!(again.replayed);
    assert_eq!((again.revision, &again.result), (first.revision, &first.result), "also under another leader");
    assert_eq!(ledger.find("tm").slots.len(), 1);
    assert_eq!(ledger.state.replay(&key), Some(again));
    assert_eq!(ledger.state.replay(&request_key("other", 1)), None);
}

#[test]
fn a_retry_within_one_round_gets_the_first_answer() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 5);
    ledger.job("job");
    let command = Command::Allocate(ledger.allocation("job", &["tm"]));
    let keyed = slotkeeper::domain::KeyedCommand { key: Some(request_key("key", 1)), command };
    let applied = ledger.round(vec![keyed.clone(), keyed]);
    assert_eq!(applied.outcomes[0].result, applied.outcomes[1].result);
    assert!(applied.outcomes[1].replayed);
    assert_eq!(ledger.find("tm").slots.len(), 1);
}

#[test]
fn a_refusal_is_remembered_too() {
    let mut ledger = Ledger::new();
    let put = put_job("job", "team");
    let key = request_key("key", 1);
    let first = ledger.run(Some(key.clone()), put.clone());
    assert!(first.result.is_err());
    ledger.reply(put_queue("team", None, slotkeeper::domain::QueuePhase::Running));
    let again = ledger.run(Some(key), put);
    assert_eq!(again.result, first.result, "the same key can not be refused first and done later");
}

#[test]
fn a_decision_that_no_longer_fits_is_not_remembered() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    let request = ledger.allocation("job", &["tm"]);
    let mut stale = request.clone();
    stale.placements[0].epoch = slotkeeper::domain::Epoch(0);
    let key = request_key("key", 1);
    let first = ledger.run(Some(key.clone()), Command::Allocate(stale));
    assert_eq!(*first.result, Err(Rejection::StaleDecision(StaleDecision::TaskManager)));
    let second = ledger.run(Some(key), Command::Allocate(request));
    assert!(second.result.is_ok() && !second.replayed);
}

#[test]
fn the_same_key_for_another_request_is_refused() {
    let mut ledger = Ledger::new();
    ledger.run(Some(request_key("key", 1)), put_job("job", "default"));
    let outcome = ledger.run(Some(request_key("key", 2)), put_job("other", "default"));
    assert_eq!(*outcome.result, Err(Rejection::IdempotencyKeyReused));
    assert!(!ledger.state.jobs().contains_key(&job("other")));
}

#[test]
fn rounds_of_older_logs_keep_a_key_for_the_retention_and_forget_it_after() {
    let mut ledger = Ledger::new();
    ledger.run(Some(request_key("old", 1)), put_job("job", "default"));
    ledger.wait_ms(450_000);
    ledger.run(Some(request_key("young", 1)), put_job("job", "default"));
    ledger.wait_ms(450_000);
    assert!(ledger.state.replay(&request_key("old", 1)).is_some(), "exactly the retention is still kept");
    ledger.wait_ms(1);
    assert!(ledger.state.replay(&request_key("old", 1)).is_none());
    assert!(ledger.state.replay(&request_key("young", 1)).is_some());
    assert_eq!(ledger.state.idempotency().len(), 1);
}

/// The state's clock may have run at 5/4 of real time, and the retention is a promise in real time.
#[test]
fn a_key_is_kept_for_the_retention_in_real_time_at_whatever_rate_the_clock_runs() {
    let mut ledger = Ledger::new();
    ledger.run(Some(request_key("key", 1)), put_job("job", "default"));
    let until = LogicalTime(START_MS + 900_000 / 4 * 5);
    for at in (0..=u64::MAX).step_by(60_000).map(|ms| LogicalTime(START_MS + ms)).take_while(|at| *at < until)
    {
        quiet(&mut ledger, at);
    }
    quiet(&mut ledger, until);
    assert!(ledger.state.replay(&request_key("key", 1)).is_some());
    quiet(&mut ledger, until.after(1));
    assert!(ledger.state.replay(&request_key("key", 1)).is_none());
}

/// A round as leaders of this release write it, without a command.
fn quiet(ledger: &mut Ledger, at: LogicalTime) {
    let batch = Batch { session: ledger.state.session(), at, commands: Vec::new() };
    ledger.apply(Record::RoundAfter(RoundAfter { after: ledger.state.revision(), batch }));
    assert_eq!(ledger.state.now(), at);
}

#[test]
fn a_table_full_of_young_keys_refuses_new_ones_until_they_age() {
    let mut ledger = Ledger::new();
    ledger.patch(SettingsPatch { idempotency_keys_max: Some(1_000), ..Default::default() });
    for number in 0..1_000 {
        ledger.run(Some(request_key(&format!("key-{number}"), 1)), put_job("job", "default"));
    }
    let late = request_key("late", 1);
    let refused = ledger.run(Some(late.clone()), put_job("late", "default"));
    assert_eq!(*refused.result, Err(Rejection::IdempotencyTableFull));
    assert!(!ledger.state.jobs().contains_key(&job("late")), "nothing was done");
    assert!(
        ledger.run(Some(request_key("key-7", 1)), put_job("job", "default")).replayed,
        "old keys still answer"
    );
    assert!(matches!(ledger.reply(put_job("job", "default")), Reply::JobPut { .. }), "no key needs no room");
    ledger.wait_ms(900_001);
    assert!(ledger.run(Some(late), put_job("late", "default")).result.is_ok());
}

#[test]
fn a_full_table_stops_nobody_from_giving_back() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 4);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm", "tm"]);
    ledger.patch(SettingsPatch { idempotency_keys_max: Some(1_000), ..Default::default() });
    for number in 0..1_000 {
        ledger.run(Some(request_key(&format!("key-{number}"), 1)), put_job("job", "default"));
    }
    let back = || release("job", &held);
    let released = ledger.run(Some(request_key("back", 1)), back());
    assert!(matches!(&*released.result, Ok(Reply::Released { released, .. }) if released.len() == 2));
    assert_eq!(ledger.find_job("job").allocations.len(), 0);
    let again = ledger.run(Some(request_key("back", 1)), back());
    assert!(again.result.is_ok() && !again.replayed, "it is not remembered, and done once all the same");
    assert_eq!(ledger.state.idempotency().len(), 1_000);
    let deleted = ledger.run(Some(request_key("end", 1)), Command::DeleteJob { id: job("job") });
    assert!(deleted.result.is_ok());
}

#[test]
fn long_answers_count_for_several_keys() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1_000);
    ledger.job("job");
    let request = Command::Allocate(ledger.allocation("job", &["tm"; 800]));
    ledger.run(Some(request_key("key", 1)), request);
    assert_eq!(ledger.state.idempotency().len(), 1);
    assert_eq!(ledger.state.idempotency().weight(), 101);
}
