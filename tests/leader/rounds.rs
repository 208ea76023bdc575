//! How submissions become rounds.

use std::collections::BTreeSet;

use slotkeeper::domain::{Command, Rejection, Reply};
use slotkeeper::leader::{LeaderOptions, SubmitError};

use crate::rig::{
    Rig, allocate, eventually, granted, is_insufficient, job_id, options, put_job, register, request,
};

#[tokio::test]
async fn what_arrives_while_rounds_are_on_their_way_becomes_one_round() {
    let rig = Rig::new().await;
    rig.log.hold();
    let mut answers = vec![rig.send_command(put_job("first", 0, None))];
    rig.until_held(1).await;
    answers.push(rig.send_command(put_job("second", 0, None)));
    rig.until_held(2).await;
    for number in 0..50 {
        answers.push(rig.send_command(put_job(&format!("later-{number}"), 0, None)));
    }
    eventually("all are queued", || rig.log.held() == 2).await;
    rig.log.release();
    for answer in answers {
        assert!(answer.await.unwrap().unwrap().result.is_ok());
    }
    let sizes: Vec<_> = rig.rounds().iter().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 52);
    assert_eq!(sizes[..2], [1, 1], "an idle leader decides at once");
    assert!(sizes.len() <= 6, "a busy one decides many at once, not {sizes:?}");
}

#[tokio::test]
async fn no_more_rounds_are_in_flight_than_allowed() {
    let rig = Rig::new().await;
    rig.log.hold();
    for number in 0..10 {
        rig.send_command(put_job(&format!("job-{number}"), 0, None));
        tokio::task::yield_now().await;
    }
    rig.until_held(2).await;
    let third = rig.send_command(put_job("third", 0, None));
    assert_eq!(rig.log.held(), 2);
    rig.log.release();
    assert!(third.await.unwrap().is_ok());
}

#[tokio::test]
async fn commands_keep_their_order_of_arrival() {
    let rig = Rig::new().await;
    rig.log.hold();
    let mut answers = Vec::new();
    for number in 0..40 {
        answers.push(rig.send_command(put_job(&format!("job-{number:02}"), 0, None)));
        // On a runtime of one thread a yield lets the sender put it into the queue.
        tokio::task::yield_now().await;
    }
    rig.log.release();
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    let ids: Vec<_> = rig
        .rounds()
        .concat()
        .into_iter()
        .map(|command| match command {
            Command::PutJob { id, .. } => id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, (0..40).map(|number| job_id(&format!("job-{number:02}"))).collect::<Vec<_>>());
}

#[tokio::test]
async fn requests_of_one_round_see_the_slots_of_each_other() {
    let rig = Rig::new().await;
    rig.task_manager("tm", 3).await;
    rig.job("job", 0).await;
    rig.log.hold();
    let answers: Vec<_> = (0..5).map(|_| rig.send(allocate("job", 1, 0))).collect();
    rig.until_held(1).await;
    rig.log.release();
    let (mut slots, mut refused) = (Vec::new(), 0);
    for answer in answers {
        let outcome = answer.await.unwrap().unwrap();
        match is_insufficient(&outcome) {
            true => refused += 1,
            false => slots.push(granted(&outcome)[0].slot_index),
        }
    }
    slots.sort_unstable();
    assert_eq!((slots, refused), (vec![0, 1, 2], 2));
}

#[tokio::test]
async fn what_a_round_frees_is_given_out_in_the_same_round() {
    let rig = Rig::new().await;
    rig.task_manager("tm", 1).await;
    rig.job("job", 0).await;
    let outcome = rig.leader.submit(allocate("job", 1, 0)).await.unwrap();
    let held = granted(&outcome)[0].id;
    let waiting = rig.send(allocate("job", 1, 30_000));
    tokio::task::yield_now().await;
    let released = rig.submit(Command::Release { job: job_id("job"), allocations: vec![held] }).await;
    assert!(matches!(&*released.result, Ok(Reply::Released { .. })));
    let outcome = waiting.await.unwrap().unwrap();
    assert_eq!(granted(&outcome).len(), 1);
    let last = rig.rounds().pop().unwrap();
    assert!(matches!(last[..], [Command::Release { .. }, Command::Allocate(_)]), "{last:?}");
}

#[tokio::test]
async fn a_round_is_bounded_in_bytes_and_a_larger_command_goes_alone() {
    let rig = Rig::with(LeaderOptions { round_bytes_max: 1_000, ..options() }).await;
    rig.log.hold();
    let long = "x".repeat(100);
    let mut answers: Vec<_> = Vec::new();
    for number in 0..30 {
        answers.push(rig.send_command(register(&format!("{long}-{number}"), "first", 1)));
        tokio::task::yield_now().await;
    }
    rig.log.release();
    for answer in answers {
        assert!(answer.await.unwrap().unwrap().result.is_ok());
    }
    let sizes: Vec<_> = rig.rounds().iter().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 30);
    assert!(sizes.iter().all(|size| *size <= 5), "{sizes:?}");
    let huge = Command::Release { job: job_id("job"), allocations: vec![allocation(1); 500] };
    assert!(matches!(&*rig.submit(huge).await.result, Err(Rejection::UnknownJob(_))));
}

/// Each round waits then until the one before it is answered, and rests on what that one left.
#[tokio::test]
async fn a_leader_that_takes_its_copy_anew_at_every_chance_goes_on_as_before() {
    let rig = Rig::with(LeaderOptions { copy_changes_max: 1, ..options() }).await;
    rig.submit(register("tm", "first", 30)).await;
    rig.submit(put_job("job", 0, None)).await;
    let answers: Vec<_> = (0..30).map(|_| rig.send(allocate("job", 1, 0))).collect();
    let mut slots = BTreeSet::new();
    for answer in answers {
        slots.extend(granted(&answer.await.unwrap().unwrap()).iter().map(|grant| grant.slot_index));
    }
    assert_eq!(slots.len(), 30, "every slot is given once");
    let refused = rig.send(allocate("job", 1, 0)).await.unwrap().unwrap();
    assert!(matches!(&*refused.result, Err(Rejection::InsufficientResources { .. })));
    assert!(rig.metrics.rounds.copies.get() > 2);
}

fn allocation(number: u128) -> slotkeeper::domain::AllocationId {
    slotkeeper::domain::AllocationId(uuid::Uuid::from_u128(number))
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let rig = Rig::with(LeaderOptions { queue_length: 4, ..options() }).await;
    rig.log.hold();
    let mut answers = Vec::new();
    for number in 0..20 {
        answers.push(rig.send_command(put_job(&format!("job-{number}"), 0, None)));
        tokio::task::yield_now().await;
    }
    let refused = |answer: &Result<_, SubmitError>| matches!(answer, Err(SubmitError::Overloaded { .. }));
    let (mut refusals, mut served) = (0, 0);
    eventually("some are refused while the rest waits", || answers.iter().any(|a| a.is_finished())).await;
    rig.log.release();
    for answer in answers {
        match answer.await.unwrap() {
            answer if refused(&answer) => refusals += 1,
            answer => {
                assert!(answer.unwrap().result.is_ok());
                served += 1;
            }
        }
    }
    assert!(refusals >= 10 && served >= 4, "{refusals} refused, {served} served");
}

#[tokio::test]
async fn a_plan_decides_nothing() {
    let rig = Rig::new().await;
    rig.task_manager("tm", 2).await;
    rig.job("job", 0).await;
    let before = rig.replica.revision();
    let plan = rig.leader.plan(request("job", 2, 0)).await.unwrap().unwrap();
    assert_eq!((plan.placements.len(), plan.missing), (2, 0));
    let plan = rig.leader.plan(request("job", 3, 0)).await.unwrap().unwrap();
    assert_eq!((plan.placements.len(), plan.missing, plan.considered), (0, 3, 1));
    assert_eq!(rig.replica.revision(), before);
    let unknown = rig.leader.plan(request("nobody", 1, 0)).await.unwrap();
    assert_eq!(unknown, Err(Rejection::UnknownJob(job_id("nobody"))));
}
