//! Requests and declarations that wait for capacity.

use std::time::Duration;

use slotkeeper::domain::{Command, Rejection, Reply, RequirementName};
use slotkeeper::leader::{LeaderOptions, SubmitError};

use crate::rig::{Rig, allocate, declare, granted, holds, is_insufficient, job_id, options, put_job};

#[tokio::test]
async fn a_waiting_request_is_served_when_a_task_manager_comes() {
    let rig = Rig::new().await;
    rig.job("job", 0).await;
    let waiting = rig.send(allocate("job", 2, 30_000));
    rig.task_manager("small", 1).await;
    assert!(!waiting.is_finished());
    rig.task_manager("second", 1).await;
    assert_eq!(granted(&waiting.await.unwrap().unwrap()).len(), 2);
}

#[tokio::test]
async fn when_the_wait_is_over_the_refusal_is_decided_and_logged() {
    let rig = Rig::manual().await;
    rig.job("job", 0).await;
    let waiting = rig.send(allocate("job", 1, 1_000));
    tokio::task::yield_now().await;
    rig.clock.advance(Duration::from_millis(1_001));
    let outcome = waiting.await.unwrap().unwrap();
    assert!(is_insufficient(&outcome), "{outcome:?}");
    assert!(matches!(rig.rounds().last().unwrap()[..], [Command::Allocate(_)]));
}

#[tokio::test]
async fn a_request_that_nothing_can_serve_does_not_wait() {
    let rig = Rig::new().await;
    let outcome = rig.leader.submit(allocate("nobody", 1, 60_000)).await.unwrap();
    assert_eq!(*outcome.result, Err(Rejection::UnknownJob(job_id("nobody"))));
}

#[tokio::test]
async fn the_higher_priority_is_served_first_and_then_the_longer_wait() {
    let rig = Rig::new().await;
    for (job, priority) in [("low", 0), ("high", 5), ("late", 5)] {
        rig.job(job, priority).await;
    }
    let mut waiting = Vec::new();
    for job in ["low", "high", "late"] {
        waiting.push(rig.send(allocate(job, 1, 30_000)));
        tokio::task::yield_now().await;
    }
    for (number, served) in [1, 2, 0].into_iter().enumerate() {
        rig.task_manager(&format!("tm-{number}"), 1).await;
        let place = waiting.iter().position(|answer| answer.is_finished());
        let answered = waiting.remove(place.expect("a slot serves somebody in its own round"));
        let outcome = answered.await.unwrap().unwrap();
        assert_eq!(granted(&outcome)[0].job, job_id(["low", "high", "late"][served]));
    }
}

#[tokio::test]
async fn too_many_waiting_requests_are_refused() {
    let rig = Rig::with(LeaderOptions { waiting_length: 2, ..options() }).await;
    rig.job("job", 0).await;
    let first: Vec<_> = (0..2).map(|_| rig.send(allocate("job", 1, 30_000))).collect();
    tokio::task::yield_now().await;
    let third = rig.leader.submit(allocate("job", 1, 30_000)).await;
    assert!(matches!(third, Err(SubmitError::Overloaded { .. })), "{third:?}");
    assert!(first.iter().all(|waiting| !waiting.is_finished()));
}

#[tokio::test]
async fn a_declaration_is_served_in_its_own_round_and_whenever_capacity_comes() {
    let rig = Rig::new().await;
    rig.task_manager("tm-1", 2).await;
    rig.job("job", 0).await;
    let outcome = rig.leader.submit(declare("job", 1, &[("line", 1, 3)])).await.unwrap();
    assert!(matches!(&*outcome.result, Ok(Reply::RequirementsPut { .. })));
    assert_eq!(holds(&rig.replica.read(), "job"), 2, "granted in the round of the declaration");
    let reasons = rig.leader.explain(&rig.replica.read(), &job_id("job"));
    assert_eq!(reasons[&RequirementName::new("line").unwrap()][0].reason.code(), "no_free_slot");
    rig.task_manager("tm-2", 4).await;
    rig.until("the rest is granted", |state| holds(state, "job") == 3).await;
    assert_eq!(rig.replica.read().violations(), []);
}

#[tokio::test]
async fn a_declaration_that_waits_goes_before_a_request_of_the_same_priority() {
    let rig = Rig::new().await;
    rig.submit(put_job("declared", 0, None)).await;
    rig.submit(put_job("asking", 0, None)).await;
    rig.leader.submit(declare("declared", 1, &[("line", 0, 1)])).await.unwrap();
    let waiting = rig.send(allocate("asking", 1, 30_000));
    tokio::task::yield_now().await;
    rig.task_manager("tm", 1).await;
    assert_eq!(holds(&rig.replica.read(), "declared"), 1);
    assert!(!waiting.is_finished());
}
