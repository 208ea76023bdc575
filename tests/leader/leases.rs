//! Leases of TaskManagers and jobs over sessions.

use std::time::Duration;

use slotkeeper::domain::{Epoch, Generation, Rejection, SettingsPatch, State};
use slotkeeper::leader::{Alarm, Heartbeat, HeartbeatAnswer, HeartbeatError, SubmitError};

use crate::rig::{Rig, allocate, eventually, job_id, put_job, register, tm_id};

const TIMEOUT_MS: u64 = 600;
const GRACE_MS: u64 = 400;

/// The longest step of the clock that still lets a session go on, with a margin.
const STEP_MS: usize = 900;

async fn rig() -> Rig {
    let rig = Rig::manual().await;
    lower(&rig).await;
    rig
}

async fn lower(rig: &Rig) {
    rig.patch(SettingsPatch {
        heartbeat_interval_ms: Some(200),
        heartbeat_timeout_ms: Some(TIMEOUT_MS),
        lease_grace_ms: Some(GRACE_MS),
        ..Default::default()
    })
    .await;
}

fn beat(id: &str, epoch: Epoch) -> Heartbeat {
    Heartbeat { id: tm_id(id), epoch, generation: Generation(0), held: None }
}

async fn answered(rig: &Rig, id: &str, epoch: Epoch) -> HeartbeatAnswer {
    rig.leader.heartbeat(beat(id, epoch)).await.unwrap()
}

fn is_lost(state: &State, id: &str) -> bool {
    state.task_managers().get(&tm_id(id)).unwrap().is_lost()
}

fn is_finished(state: &State, id: &str) -> bool {
    !state.jobs().get(&job_id(id)).unwrap().is_running()
}

/// Moves the clock, and waits until a job's lease that ran out before shows that leases have been looked at.
async fn advance(rig: &Rig, ms: u64, sentinel: &str) {
    rig.clock.advance(Duration::from_millis(ms));
    rig.until("the sentinel's lease ran out", |state| is_finished(state, sentinel)).await;
}

#[tokio::test]
async fn a_silent_task_manager_is_lost_after_its_timeout_and_not_before() {
    let rig = rig().await;
    rig.task_manager("tm", 1).await;
    rig.submit(put_job("sentinel", 0, Some(TIMEOUT_MS - 10))).await;
    advance(&rig, TIMEOUT_MS - 1, "sentinel").await;
    assert!(!is_lost(&rig.replica.read(), "tm"));
    rig.clock.advance(Duration::from_millis(1));
    rig.until("it is lost", |state| is_lost(state, "tm")).await;
}

#[tokio::test]
async fn a_heartbeat_keeps_a_task_manager_alive_and_says_what_it_holds() {
    let rig = rig().await;
    let epoch = rig.task_manager("tm", 1).await;
    rig.job("job", 0).await;
    rig.leader.submit(allocate("job", 1, 0)).await.unwrap();
    rig.clock.advance(Duration::from_millis(TIMEOUT_MS - 1));
    let answer = answered(&rig, "tm", epoch).await;
    assert_eq!(answer.deadline_ms, TIMEOUT_MS);
    assert_eq!(answer.allocations.unwrap().len(), 1);
    assert_eq!(rig.leader.last_heartbeat_ago_ms(&tm_id("tm")), Some(0));
    let known = Heartbeat { generation: answer.generation, ..beat("tm", epoch) };
    assert_eq!(rig.leader.heartbeat(known).await.unwrap().allocations, None);
    rig.submit(put_job("sentinel", 0, Some(TIMEOUT_MS - 10))).await;
    advance(&rig, TIMEOUT_MS - 1, "sentinel").await;
    assert!(!is_lost(&rig.replica.read(), "tm"));
}

/// Moves the clock by more than a session stands at once.
async fn advance_far(rig: &Rig, ms: u64) {
    for (number, at) in (0..ms).step_by(STEP_MS).enumerate() {
        let (step, sentinel) = ((ms - at).min(STEP_MS as u64), format!("sentinel-{number}"));
        rig.submit(put_job(&sentinel, 0, Some(step))).await;
        advance(rig, step, &sentinel).await;
    }
}

async fn begin_another_session(rig: &Rig) {
    rig.log.follow(None);
    eventually("the session is over", || !rig.leader.is_serving()).await;
    rig.serve(2).await;
}

#[tokio::test]
async fn a_new_session_gives_everybody_the_full_timeout_and_grace() {
    let rig = Rig::manual().await;
    rig.patch(SettingsPatch { lease_grace_ms: Some(GRACE_MS), ..Default::default() }).await;
    let timeout_ms = rig.replica.read().settings().heartbeat_timeout_ms;
    rig.task_manager("tm", 1).await;
    advance_far(&rig, timeout_ms - 20).await;
    begin_another_session(&rig).await;
    advance_far(&rig, timeout_ms + GRACE_MS - 1).await;
    assert!(!is_lost(&rig.replica.read(), "tm"));
    rig.clock.advance(Duration::from_millis(1));
    rig.until("it is lost", |state| is_lost(state, "tm")).await;
}

#[tokio::test]
async fn what_a_leader_before_promised_holds_also_after_the_timeout_was_lowered() {
    let rig = Rig::manual().await;
    let epoch = rig.task_manager("tm", 1).await;
    let promised_ms = answered(&rig, "tm", epoch).await.deadline_ms;
    lower(&rig).await;
    assert_eq!(answered(&rig, "tm", epoch).await.deadline_ms, TIMEOUT_MS);
    begin_another_session(&rig).await;
    advance_far(&rig, promised_ms + GRACE_MS - 1).await;
    assert!(!is_lost(&rig.replica.read(), "tm"));
    rig.clock.advance(Duration::from_millis(1));
    rig.until("it is lost", |state| is_lost(state, "tm")).await;
}

#[tokio::test]
async fn a_timeout_that_is_lowered_shortens_no_lease_of_the_session() {
    let rig = Rig::manual().await;
    let epoch = rig.task_manager("tm", 1).await;
    let promised_ms = answered(&rig, "tm", epoch).await.deadline_ms;
    lower(&rig).await;
    answered(&rig, "tm", epoch).await;
    advance_far(&rig, promised_ms - 1).await;
    assert!(!is_lost(&rig.replica.read(), "tm"));
    rig.clock.advance(Duration::from_millis(1));
    rig.until("it is lost", |state| is_lost(state, "tm")).await;
}

#[tokio::test]
async fn one_barrier_serves_all_heartbeats_that_wait() {
    let rig = rig().await;
    let mut epochs = Vec::new();
    for number in 0..50 {
        epochs.push((format!("tm-{number}"), rig.task_manager(&format!("tm-{number}"), 1).await));
    }
    rig.log.hold_barriers();
    let before = rig.log.barriers();
    let beats: Vec<_> = epochs
        .iter()
        .map(|(id, epoch)| {
            let (leader, beat) = (rig.leader.clone(), beat(id, *epoch));
            tokio::spawn(async move { leader.heartbeat(beat).await })
        })
        .collect();
    eventually("a barrier is under way", || rig.log.barriers() > before).await;
    assert!(beats.iter().all(|beat| !beat.is_finished()), "nobody is answered before the barrier");
    rig.log.release_barriers();
    for beat in beats {
        assert!(beat.await.unwrap().is_ok());
    }
    assert!(rig.log.barriers() - before < 10, "{} barriers for 50 heartbeats", rig.log.barriers() - before);
}

#[tokio::test]
async fn a_leader_that_can_not_prove_it_leads_keeps_nobody_alive() {
    let rig = rig().await;
    let epoch = rig.task_manager("tm", 1).await;
    rig.log.hold();
    rig.log.fail_barriers();
    let answer = rig.leader.heartbeat(beat("tm", epoch)).await;
    assert!(matches!(answer, Err(HeartbeatError::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn a_late_heartbeat_has_to_register_again() {
    let rig = rig().await;
    let old = rig.task_manager("tm", 1).await;
    let unknown = rig.leader.heartbeat(beat("nobody", old)).await.unwrap_err();
    assert_eq!(unknown, HeartbeatError::Refused(Rejection::UnknownTaskManager(tm_id("nobody"))));
    rig.submit(register("tm", "second", 1)).await;
    let stale = rig.leader.heartbeat(beat("tm", old)).await.unwrap_err();
    assert!(matches!(stale, HeartbeatError::Refused(Rejection::StaleEpoch { given, .. }) if given == old));
    rig.clock.advance(Duration::from_millis(TIMEOUT_MS));
    rig.until("it is lost", |state| is_lost(state, "tm")).await;
    let current = rig.replica.read().task_managers().get(&tm_id("tm")).unwrap().epoch;
    let lost = rig.leader.heartbeat(beat("tm", current)).await.unwrap_err();
    assert_eq!(lost, HeartbeatError::Refused(Rejection::UnknownTaskManager(tm_id("tm"))));
}

#[tokio::test]
async fn a_heartbeat_is_not_answered_while_the_verdict_is_on_its_way() {
    let rig = rig().await;
    let epoch = rig.task_manager("tm", 1).await;
    rig.log.hold();
    rig.clock.advance(Duration::from_millis(TIMEOUT_MS));
    rig.until_held(1).await;
    let (leader, late) = (rig.leader.clone(), beat("tm", epoch));
    let late = tokio::spawn(async move { leader.heartbeat(late).await });
    let before = rig.log.barriers();
    eventually("barriers pass", || rig.log.barriers() > before + 2).await;
    assert!(!late.is_finished());
    rig.log.release();
    assert!(matches!(late.await.unwrap(), Err(HeartbeatError::Refused(Rejection::UnknownTaskManager(_)))));
}

#[tokio::test]
async fn when_too_many_are_silent_together_nobody_is_lost_and_an_alarm_is_raised() {
    let rig = rig().await;
    let mut epochs = Vec::new();
    for number in 0..10 {
        epochs.push(rig.task_manager(&format!("tm-{number}"), 1).await);
    }
    rig.clock.advance(Duration::from_millis(TIMEOUT_MS));
    eventually("the alarm is raised", || !rig.leader.alarms().is_empty()).await;
    assert_eq!(rig.leader.alarms(), [Alarm::MassLoss { silent: 10, task_managers: 10 }]);
    assert_eq!(rig.metrics.leases.mass_loss_guard.get(), 1);
    for (number, epoch) in epochs.iter().enumerate().skip(3) {
        answered(&rig, &format!("tm-{number}"), *epoch).await;
    }
    rig.until("the three that stay silent are lost", |state| {
        (0..10).filter(|number| is_lost(state, &format!("tm-{number}"))).count() == 3
    })
    .await;
    eventually("the alarm is over", || rig.leader.alarms().is_empty()).await;
}

#[tokio::test]
async fn no_more_are_declared_lost_in_a_second_than_allowed() {
    let rig = rig().await;
    let rate = SettingsPatch {
        expiries_per_second_max: Some(2),
        mass_loss_share_percent: Some(100),
        ..Default::default()
    };
    rig.patch(rate).await;
    for number in 0..5 {
        rig.task_manager(&format!("tm-{number}"), 1).await;
    }
    let lost = |state: &State| (0..5).filter(|number| is_lost(state, &format!("tm-{number}"))).count();
    rig.clock.advance(Duration::from_millis(TIMEOUT_MS));
    rig.until("two are lost", |state| lost(state) == 2).await;
    rig.submit(put_job("sentinel", 0, Some(10))).await;
    advance(&rig, 999, "sentinel").await;
    assert_eq!(lost(&rig.replica.read()), 2);
    rig.clock.advance(Duration::from_millis(1));
    rig.until("two more are lost", |state| lost(state) == 4).await;
}

#[tokio::test]
async fn a_job_with_a_lease_ends_without_heartbeats_and_goes_on_with_them() {
    let rig = rig().await;
    rig.submit(put_job("kept", 0, Some(500))).await;
    rig.submit(put_job("left", 0, Some(500))).await;
    rig.submit(put_job("free", 0, None)).await;
    rig.clock.advance(Duration::from_millis(400));
    rig.leader.job_heartbeat(&job_id("kept"), None).await.unwrap();
    rig.leader.job_heartbeat(&job_id("free"), None).await.unwrap();
    advance(&rig, 200, "left").await;
    assert!(!is_finished(&rig.replica.read(), "kept"));
    let ended = rig.leader.job_heartbeat(&job_id("left"), None).await.unwrap_err();
    assert_eq!(ended, HeartbeatError::Refused(Rejection::UnknownJob(job_id("left"))));
    rig.log.follow(None);
    eventually("the session is over", || !rig.leader.is_serving()).await;
    let gone = rig.leader.job_heartbeat(&job_id("kept"), None).await.unwrap_err();
    assert!(matches!(gone, HeartbeatError::Unavailable(SubmitError::NoLeader { .. })));
}
