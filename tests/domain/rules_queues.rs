//! Rules of queues and settings.

use slotkeeper::domain::{Command, QueuePhase, Rejection, Reply, Revision, SettingsPatch, StaleDecision};

use crate::support::*;

#[test]
fn the_default_queue_is_always_there() {
    let mut ledger = Ledger::new();
    ledger.job("job");
    let delete = Command::DeleteQueue { name: queue("default") };
    assert_eq!(ledger.refusal(delete), Rejection::QueueProtected(queue("default")));
}

#[test]
fn no_grant_takes_a_queue_above_its_maximum() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 4);
    ledger.reply(put_queue("small", Some(2), QueuePhase::Running));
    ledger.reply(put_job("job", "small"));
    let three = ledger.allocation("job", &["tm", "tm", "tm"]);
    let full = Rejection::StaleDecision(StaleDecision::QueueMaximum);
    assert_eq!(ledger.refusal(Command::Allocate(three)), full);
    let held = ledger.allocate("job", &["tm", "tm"]);
    let one = ledger.allocation("job", &["tm"]);
    assert_eq!(ledger.refusal(Command::Allocate(one)), full);
    ledger.reply(release("job", &held));
    ledger.allocate("job", &["tm"]);
}

#[test]
fn a_maximum_below_what_is_held_is_refused() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 2);
    ledger.job("job");
    ledger.allocate("job", &["tm", "tm"]);
    let lower = put_queue("default", Some(1), QueuePhase::Running);
    assert_eq!(ledger.refusal(lower), Rejection::QueueAboveMaximum(queue("default")));
    ledger.reply(put_queue("default", Some(2), QueuePhase::Running));
    assert_eq!(ledger.find_queue("default").used.slots, 2, "a put does not touch what is used");
}

#[test]
fn a_stopped_queue_grants_nothing_and_keeps_what_is_granted() {
    let mut ledger = Ledger::new();
    ledger.static_task_manager("tm", 2);
    ledger.job("job");
    let held = ledger.allocate("job", &["tm"]);
    ledger.reply(put_queue("default", None, QueuePhase::Stopped));
    let more = ledger.allocation("job", &["tm"]);
    let stopped = Rejection::StaleDecision(StaleDecision::QueueStopped);
    assert_eq!(ledger.refusal(Command::Allocate(more)), stopped);
    assert_eq!(ledger.grant(held[0]).job, job("job"));
}

#[test]
fn a_queue_goes_when_its_jobs_have_ended() {
    let mut ledger = Ledger::new();
    let Reply::QueuePut { created: true, .. } = ledger.reply(put_queue("team", None, QueuePhase::Running))
    else {
        panic!()
    };
    ledger.reply(put_job("job", "team"));
    let delete = Command::DeleteQueue { name: queue("team") };
    assert_eq!(ledger.refusal(delete.clone()), Rejection::QueueInUse(queue("team")));
    ledger.reply(Command::DeleteJob { id: job("job") });
    ledger.reply(delete.clone());
    assert_eq!(ledger.refusal(delete), Rejection::UnknownQueue(queue("team")));
    ledger.job("job");
}

#[test]
fn settings_are_taken_as_a_whole_or_not_at_all() {
    let mut ledger = Ledger::new();
    let patch = SettingsPatch {
        heartbeat_interval_ms: Some(2_000),
        mass_loss_share_percent: Some(0),
        ..Default::default()
    };
    let refusal = ledger.refusal(Command::PatchSettings(patch));
    assert!(matches!(refusal, Rejection::InvalidSetting(_)), "{refusal:?}");
    ledger.patch(SettingsPatch { confirm_timeout_ms: Some(Some(7_000)), ..Default::default() });
    assert_eq!(ledger.state.settings().confirm_timeout_ms, Some(7_000));
    assert_eq!(ledger.state.settings().changed_in, ledger.state.revision());
}

/// Lowers or raises the timeout and says how long a TaskManager may count on the answers so far.
fn promised_after(ledger: &mut Ledger, timeout_ms: u64) -> u64 {
    let patch = SettingsPatch { heartbeat_timeout_ms: Some(timeout_ms), ..Default::default() };
    ledger.reply(Command::ChangeSettings(patch));
    ledger.state.promised_timeout_ms()
}

#[test]
fn a_timeout_that_was_lowered_is_remembered_for_as_long_as_somebody_may_count_on_it() {
    let mut ledger = Ledger::new();
    assert_eq!(ledger.state.promised_timeout_ms(), 5_000);
    assert_eq!(promised_after(&mut ledger, 60_000), 60_000);
    assert_eq!(promised_after(&mut ledger, 8_000), 60_000);
    // Two minutes more than the timeout, for a leader that waits for the outcome, at 5/4 of real time.
    let until_ms = (60_000 + 120_000) / 4 * 5;
    ledger.wait_ms(until_ms);
    assert_eq!(ledger.state.promised_timeout_ms(), 60_000);
    ledger.wait_ms(1);
    assert_eq!(ledger.state.promised_timeout_ms(), 8_000);
}

#[test]
fn of_several_timeouts_that_were_lowered_the_longest_counts() {
    let mut ledger = Ledger::new();
    promised_after(&mut ledger, 60_000);
    promised_after(&mut ledger, 30_000);
    ledger.wait_ms(200_000);
    assert_eq!(promised_after(&mut ledger, 20_000), 60_000);
    assert_eq!(promised_after(&mut ledger, 90_000), 90_000, "what is raised needs no memory");
    ledger.wait_ms(200_000);
    assert_eq!(promised_after(&mut ledger, 10_000), 90_000, "what is over is forgotten");
    let former = ledger.state.former_timeout().unwrap();
    assert_eq!(former.timeout_ms, 90_000);
}

#[test]
fn only_a_setting_that_changes_moves_its_revision() {
    let mut ledger = Ledger::new();
    let change = |patch| Command::ChangeSettings(patch);
    ledger.reply(change(SettingsPatch { lease_grace_ms: Some(1), ..Default::default() }));
    let first = ledger.state.revision();
    ledger.reply(change(SettingsPatch { mass_loss_share_percent: Some(50), ..Default::default() }));
    let second = ledger.state.revision();
    let same = SettingsPatch { lease_grace_ms: Some(1), ..Default::default() };
    for patch in [SettingsPatch::default(), same] {
        let told = ledger.reply(change(patch));
        let changes = ledger.state.setting_changes().clone();
        assert_eq!(
            told,
            Reply::SettingsChanged {
                settings: Box::new(ledger.state.settings().clone()),
                changes: Box::new(changes)
            }
        );
    }
    let revision_of = |setting| ledger.state.setting_changes().revision_of(setting);
    assert_eq!(ledger.state.settings().changed_in, second);
    assert_eq!((revision_of("lease_grace"), revision_of("mass_loss_share_percent")), (first, second));
    assert_eq!(revision_of("strategy"), Revision(0));
}
