//! Idempotency keys through the round loop.

use slotkeeper::domain::Rejection;
use slotkeeper::leader::Intent;

use crate::rig::{Rig, granted, keyed, request};

fn ask(key: &str, body: u8, wait_ms: u64) -> slotkeeper::leader::Submission {
    keyed(key, body, Intent::Allocate(request("job", 1, wait_ms)))
}

#[tokio::test]
async fn the_same_key_gives_the_same_allocation() {
    let rig = Rig::new().await;
    rig.task_manager("tm", 4).await;
    rig.job("job", 0).await;
    let first = rig.leader.submit(ask("key", 1, 0)).await.unwrap();
    let rounds = rig.rounds().len();
    let again = rig.leader.submit(ask("key", 1, 0)).await.unwrap();
    assert_eq!(granted(&first), granted(&again));
    assert_eq!(first.revision, again.revision);
    assert!(!first.replayed && again.replayed);
    assert_eq!(rig.rounds().len(), rounds, "an answer that is known needs no round");
}

#[tokio::test]
async fn a_key_that_is_in_flight_is_answered_only_after_its_round() {
    let rig = Rig::new().await;
    rig.task_manager("tm", 4).await;
    rig.job("job", 0).await;
    rig.log.hold();
    let first = rig.send(ask("key", 1, 0));
    rig.until_held(1).await;
    let again = rig.send(ask("key", 1, 0));
    tokio::task::yield_now().await;
    assert!(!again.is_finished());
    rig.log.release();
    let (first, again) = (first.await.unwrap().unwrap(), again.await.unwrap().unwrap());
    assert_eq!(granted(&first), granted(&again));
}

#[tokio::test]
async fn a_key_that_waits_waits_once() {
    let rig = Rig::new().await;
    rig.job("job", 0).await;
    let first = rig.send(ask("key", 1, 30_000));
    tokio::task::yield_now().await;
    let again = rig.send(ask("key", 1, 30_000));
    let other = rig.leader.submit(ask("key", 2, 30_000)).await.unwrap();
    assert_eq!(*other.result, Err(Rejection::IdempotencyKeyReused));
    rig.task_manager("tm", 4).await;
    let (first, again) = (first.await.unwrap().unwrap(), again.await.unwrap().unwrap());
    assert_eq!(granted(&first), granted(&again));
    assert_eq!(rig.replica.read().allocations().len(), 1);
}

#[tokio::test]
async fn a_key_with_another_body_is_refused() {
    let rig = Rig::new().await;
    rig.task_manager("tm", 4).await;
    rig.job("job", 0).await;
    rig.leader.submit(ask("key", 1, 0)).await.unwrap();
    let other = rig.leader.submit(ask("key", 2, 0)).await.unwrap();
    assert_eq!(*other.result, Err(Rejection::IdempotencyKeyReused));
}

#[tokio::test]
async fn a_key_is_remembered_across_sessions() {
    let rig = Rig::new().await;
    rig.task_manager("tm", 4).await;
    rig.job("job", 0).await;
    let first = rig.leader.submit(ask("key", 1, 0)).await.unwrap();
    rig.log.follow(None);
    crate::rig::eventually("the session is over", || !rig.leader.is_serving()).await;
    rig.serve(2).await;
    let again = rig.leader.submit(ask("key", 1, 0)).await.unwrap();
    assert_eq!(granted(&first), granted(&again));
    assert!(again.replayed);
}
