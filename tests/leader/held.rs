//! What TaskManagers say they hold, reconciled with what they should.

use slotkeeper::domain::{AllocationId, Command, Epoch, Generation};
use slotkeeper::leader::{Heartbeat, HeartbeatAnswer};

use crate::rig::{Rig, allocate, declare, granted, holds, tm_id};

impl Rig {
    async fn beat(
        &self,
        epoch: Epoch,
        generation: Generation,
        held: Option<&[AllocationId]>,
    ) -> HeartbeatAnswer {
        let held = held.map(|held| held.iter().copied().collect());
        self.leader.heartbeat(Heartbeat { id: tm_id("tm"), epoch, generation, held }).await.unwrap()
    }

    /// A job with slots on `tm`, all of which are confirmed.
    async fn confirmed(&self, epoch: Epoch, slots: u32) -> Vec<AllocationId> {
        self.job("job", 0).await;
        let outcome = self.leader.submit(allocate("job", slots, 0)).await.unwrap();
        let ids: Vec<_> = granted(&outcome).iter().map(|grant| grant.id).collect();
        self.confirm(epoch, ids.clone()).await;
        ids
    }

    async fn confirm(&self, epoch: Epoch, started: Vec<AllocationId>) {
        let report = Command::Report { id: tm_id("tm"), epoch, started, failed: Vec::new() };
        assert!(self.submit(report).await.result.is_ok());
    }

    fn generation(&self) -> Generation {
        self.replica.read().task_managers().get(&tm_id("tm")).unwrap().generation
    }

    async fn until_ended(&self, id: AllocationId, reason: &str) {
        self.until("it has ended", |state| {
            state.ended_allocation(id).is_some_and(|ended| ended.reason.code() == reason)
        })
        .await;
    }
}

#[tokio::test]
async fn who_holds_too_much_is_told_everything_also_when_the_generation_is_the_same() {
    let rig = Rig::new().await;
    let epoch = rig.task_manager("tm", 2).await;
    let ids = rig.confirmed(epoch, 1).await;
    let generation = rig.generation();
    let right = rig.beat(epoch, generation, Some(&ids)).await;
    assert_eq!(right.allocations, None);
    let stranger = AllocationId(uuid::Uuid::from_u128(7));
    let told = rig.beat(epoch, generation, Some(&[ids[0], stranger])).await.allocations.unwrap();
    assert_eq!(told.iter().map(|grant| grant.id).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn confirmed_work_that_two_heartbeats_leave_out_ends_and_is_placed_elsewhere() {
    let rig = Rig::new().await;
    let epoch = rig.task_manager("tm", 2).await;
    rig.job("declared", 0).await;
    rig.leader.submit(declare("declared", 1, &[("line", 1, 1)])).await.unwrap();
    let lost = *rig.replica.read().allocations().keys().next().unwrap();
    rig.confirm(epoch, vec![lost]).await;
    let kept = rig.confirmed(epoch, 1).await;
    rig.task_manager("other", 1).await;
    let generation = rig.generation();
    rig.beat(epoch, generation, Some(&kept)).await;
    assert_eq!(holds(&rig.replica.read(), "declared"), 1, "one heartbeat proves nothing");
    rig.beat(epoch, generation, Some(&kept)).await;
    rig.until_ended(lost, "not_held").await;
    rig.until("the line is served elsewhere", |state| {
        state.allocations().values().any(|grant| grant.task_manager == tm_id("other"))
    })
    .await;
    assert!(rig.replica.read().allocations().contains_key(&kept[0]));
    let ends =
        rig.rounds().concat().into_iter().filter(|command| matches!(command, Command::EndNotHeld { .. }));
    assert_eq!(ends.count(), 1);
}

#[tokio::test]
async fn what_is_not_confirmed_or_granted_after_the_heartbeat_was_sent_is_not_judged() {
    let rig = Rig::new().await;
    let epoch = rig.task_manager("tm", 4).await;
    let before = rig.generation();
    let late = rig.confirmed(epoch, 1).await[0];
    let seen = rig.generation();
    let pending = granted(&rig.leader.submit(allocate("job", 1, 0)).await.unwrap())[0].id;
    for _ in 0..3 {
        // On its way since before the grant; the confirmation overtook it.
        rig.beat(epoch, before, Some(&[])).await;
    }
    // The grant that nobody has confirmed may be waiting for its slot.
    for _ in 0..3 {
        rig.beat(epoch, rig.generation(), Some(&[late])).await;
    }
    for _ in 0..2 {
        rig.beat(epoch, seen, None).await;
    }
    let state = rig.replica.read();
    assert!(state.allocations().contains_key(&late) && state.allocations().contains_key(&pending));
    assert!(!rig.rounds().concat().iter().any(|command| matches!(command, Command::EndNotHeld { .. })));
}
