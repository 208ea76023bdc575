//! Rules of what ends by the state's own clock.

use slotkeeper::domain::{Command, Condition, Event, LogicalTime, Reply, SettingsPatch, limits};

use crate::support::*;

fn expired(ledger: &mut Ledger) -> u32 {
    match ledger.reply(Command::ExpireDue) {
        Reply::Expired { count } => count,
        other => panic!("{other:?}"),
    }
}

fn drain(id: &str, deadline_ms: u64) -> Command {
    Command::Drain { id: task_manager(id), deadline_ms: Some(deadline_ms) }
}

#[test]
fn nothing_is_due_in_an_idle_cluster() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    ledger.allocate("job", &["tm"]);
    assert_eq!(ledger.state.due_at(), None);
    assert_eq!(expired(&mut ledger), 0);
}

#[test]
fn a_drain_ends_the_rest_at_its_deadline() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 2);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm", "tm"]);
    ledger.reply(drain("tm", 5_000));
    assert_eq!(ledger.state.due_at(), Some(LogicalTime(START_MS + 5_000)));
    ledger.wait_ms(4_999);
    assert_eq!(expired(&mut ledger), 0);
    ledger.wait_ms(1);
    assert_eq!(expired(&mut ledger), 2);
    assert!(held.iter().all(|id| ledger.end_of(*id) == Some("drain_deadline")));
    assert_eq!(ledger.find("tm").condition, Condition::Drained);
    assert_eq!(ledger.state.due_at(), None);
}

#[test]
fn a_second_drain_moves_the_deadline() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 1);
    ledger.job("job");
    ledger.allocate("job", &["tm"]);
    ledger.reply(drain("tm", 5_000));
    ledger.reply(drain("tm", 50_000));
    assert_eq!(ledger.state.due_at(), Some(LogicalTime(START_MS + 50_000)));
    ledger.reply(Command::Drain { id: task_manager("tm"), deadline_ms: None });
    assert_eq!(ledger.state.due_at(), None);
}

#[test]
fn a_grant_that_nobody_confirms_ends_if_the_settings_say_so() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 2);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm", "tm"]);
    ledger.reply(confirm("tm", epoch, &held[..1]));
    assert_eq!(ledger.state.due_at(), None);
    ledger.patch(SettingsPatch { confirm_timeout_ms: Some(Some(1_000)), ..Default::default() });
    assert_eq!(ledger.state.due_at(), Some(LogicalTime(START_MS + 1_000)));
    ledger.wait_ms(1_000);
    assert_eq!(expired(&mut ledger), 1);
    assert_eq!(ledger.end_of(held[1]), Some("confirm_timeout"));
    assert_eq!(ledger.grant(held[0]).id, held[0], "what was confirmed stays");
}

#[test]
fn tombstones_go_after_the_retention() {
    let mut ledger = Ledger::new();
    let epoch = ledger.static_task_manager("tm", 1);
    ledger.job("job");
    ledger.reply(expire("tm", epoch));
    ledger.reply(Command::DeleteJob { id: job("job") });
    ledger.patch(SettingsPatch { tombstone_retention_ms: Some(1_000), ..Default::default() });
    assert_eq!(ledger.state.due_at(), Some(LogicalTime(START_MS + 1_000)));
    ledger.wait_ms(1_000);
    assert_eq!(expired(&mut ledger), 2);
    assert!(ledger.state.task_managers().is_empty() && ledger.state.jobs().is_empty());
    let events = ledger.events();
    assert!(events.contains(&Event::TaskManagerRemoved { id: task_manager("tm") }), "{events:?}");
    assert!(events.contains(&Event::JobForgotten { id: job("job") }), "{events:?}");
}

#[test]
fn one_command_ends_no_more_than_its_bound_and_the_rest_stays_due() {
    let mut ledger = Ledger::new();
    for id in ["a", "b"] {
        ledger.static_task_manager(id, 1_000);
    }
    ledger.job("job");
    for id in ["a", "b"] {
        ledger.allocate("job", &vec![id; 1_000]);
        ledger.reply(drain(id, 1));
    }
    ledger.wait_ms(1);
    let first = expired(&mut ledger);
    assert_eq!(usize::try_from(first).unwrap(), limits::EXPIRED_PER_COMMAND_MAX);
    assert!(ledger.state.due_at().is_some_and(|due| due <= ledger.state.now()));
    assert_eq!(first + expired(&mut ledger), 2_000);
    assert_eq!(ledger.state.due_at(), None);
}
