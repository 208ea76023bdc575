//! What the leader does on its own by the state's clock.

use std::time::Duration;

use slotkeeper::domain::{Command, Condition};

use crate::rig::{Rig, allocate, tm_id};

#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let rig = Rig::new().await;
    rig.task_manager("tm", 1).await;
    rig.job("job", 0).await;
    rig.leader.submit(allocate("job", 1, 0)).await.unwrap();
    rig.submit(Command::Drain { id: tm_id("tm"), deadline_ms: Some(50) }).await;
    rig.until("it is drained", |state| {
        state.task_managers().get(&tm_id("tm")).unwrap().condition == Condition::Drained
    })
    .await;
    assert!(rig.replica.read().allocations().is_empty());
}

#[tokio::test]
async fn nothing_is_proposed_while_nothing_is_due() {
    let rig = Rig::manual().await;
    rig.task_manager("tm", 1).await;
    rig.submit(Command::Drain { id: tm_id("tm"), deadline_ms: Some(60_000) }).await;
    let before = rig.replica.revision();
    rig.clock.advance(Duration::from_millis(1_500));
    let barriers = rig.log.barriers();
    crate::rig::eventually("the loop ticks", || rig.log.barriers() > barriers + 3).await;
    assert_eq!(rig.replica.revision(), before);
}
