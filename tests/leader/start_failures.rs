//! Work that fails to start: where the next grant goes, and when the TaskManager is tried again.

use std::time::Duration;

use slotkeeper::domain::{AllocationId, Command, Epoch, RequirementName, State, TaskManagerId};

use crate::rig::{
    Rig, allocate, declare, granted, holds, is_insufficient, job_id, put_job, register, request, tm_id,
};

fn failed(id: &str, epoch: Epoch, allocation: AllocationId) -> Command {
    Command::Confirm { id: tm_id(id), epoch, started: vec![], failed: vec![(allocation, "no disk".into())] }
}

/// What the job holds on a TaskManager.
fn held_on(state: &State, job: &str, id: &str) -> Vec<AllocationId> {
    let slots = state.task_managers().get(&tm_id(id)).map(|found| found.slots.values().copied().collect());
    let slots: Vec<AllocationId> = slots.unwrap_or_default();
    slots.into_iter().filter(|slot| state.allocations().get(slot).unwrap().job == job_id(job)).collect()
}

impl Rig {
    async fn epoch(&self, id: &str) -> Epoch {
        self.replica.read().task_managers().get(&tm_id(id)).unwrap().epoch
    }

    async fn fail(&self, id: &str, allocation: AllocationId) {
        let outcome = self.submit(failed(id, self.epoch(id).await, allocation)).await;
        assert!(outcome.result.is_ok(), "{outcome:?}");
    }

    async fn place_of_one(&self, job: &str) -> TaskManagerId {
        granted(&self.leader.submit(allocate(job, 1, 0)).await.unwrap())[0].task_manager.clone()
    }
}

#[tokio::test]
async fn a_request_after_a_failed_start_goes_elsewhere_and_comes_back_after_the_rest() {
    let rig = Rig::manual().await;
    rig.task_manager("tm-a", 8).await;
    rig.job("job", 0).await;
    rig.job("other", 0).await;
    let first = granted(&rig.leader.submit(allocate("job", 1, 0)).await.unwrap())[0].id;
    rig.task_manager("tm-b", 1).await;
    rig.fail("tm-a", first).await;
    assert_eq!(rig.place_of_one("job").await, tm_id("tm-b"));
    let refused = rig.leader.submit(allocate("job", 1, 0)).await.unwrap();
    assert!(is_insufficient(&refused), "{refused:?}");
    let plan = rig.leader.plan(request("job", 1, 0)).await.unwrap().unwrap();
    let mut reasons: Vec<_> =
        plan.reasons.iter().map(|count| (count.reason.code(), count.task_managers)).collect();
    reasons.sort_unstable();
    assert_eq!((reasons, plan.considered), (vec![("no_free_slot", 1), ("recent_start_failures", 1)], 2));
    assert_eq!(rig.place_of_one("other").await, tm_id("tm-a"), "the failure was of another job");
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(rig.place_of_one("job").await, tm_id("tm-a"));
}

#[tokio::test]
async fn a_request_that_waits_is_served_when_the_rest_is_over() {
    let rig = Rig::new().await;
    rig.task_manager("tm", 1).await;
    rig.job("job", 0).await;
    let first = granted(&rig.leader.submit(allocate("job", 1, 0)).await.unwrap())[0].id;
    rig.fail("tm", first).await;
    let rounds = rig.rounds().len();
    let served = rig.leader.submit(allocate("job", 1, 30_000)).await.unwrap();
    assert_eq!(granted(&served)[0].task_manager, tm_id("tm"));
    assert_eq!(rig.rounds().len(), rounds + 1, "nothing but the grant was decided meanwhile");
}

#[tokio::test]
async fn a_declaration_is_placed_elsewhere_after_a_failed_start() {
    let rig = Rig::new().await;
    rig.task_manager("tm-a", 4).await;
    rig.job("job", 0).await;
    rig.leader.submit(declare("job", 1, &[("line", 0, 1)])).await.unwrap();
    let first = held_on(&rig.replica.read(), "job", "tm-a")[0];
    rig.task_manager("tm-b", 1).await;
    rig.fail("tm-a", first).await;
    let state = rig.replica.read();
    assert_eq!(held_on(&state, "job", "tm-b").len(), 1, "in the round of the failure");
    assert_eq!(held_on(&state, "job", "tm-a"), []);
}

#[tokio::test]
async fn the_only_task_manager_is_tried_again_after_the_rest_and_not_before() {
    let rig = Rig::manual().await;
    rig.task_manager("tm", 1).await;
    rig.job("job", 0).await;
    rig.leader.submit(declare("job", 1, &[("line", 1, 1)])).await.unwrap();
    let first = held_on(&rig.replica.read(), "job", "tm")[0];
    rig.fail("tm", first).await;
    let rounds = rig.rounds().len();
    let reasons = rig.leader.explain(&rig.replica.read(), &job_id("job"));
    assert_eq!(reasons[&RequirementName::new("line").unwrap()][0].reason.code(), "recent_start_failures");
    rig.clock.advance(Duration::from_secs(1));
    rig.until("the line is served again", |state| holds(state, "job") == 1).await;
    assert_eq!(rig.rounds().len(), rounds + 1, "nothing but the grant was decided meanwhile");
}

#[tokio::test]
async fn a_task_manager_on_which_several_jobs_fail_is_left_alone_by_others() {
    let rig = Rig::manual().await;
    rig.task_manager("bad", 100).await;
    for number in 0..3 {
        let job = format!("job-{number}");
        rig.submit(put_job(&job, 0, None)).await;
        let first = granted(&rig.leader.submit(allocate(&job, 1, 0)).await.unwrap())[0].id;
        rig.fail("bad", first).await;
    }
    rig.job("new", 0).await;
    rig.task_manager("good", 4).await;
    assert_eq!(rig.place_of_one("new").await, tm_id("good"), "although `bad` is less loaded");
    assert_eq!(rig.place_of_one("new").await, tm_id("good"));
    rig.submit(register("bad", "second", 100)).await;
    assert_eq!(rig.place_of_one("new").await, tm_id("bad"), "a new process is a new try");
}
