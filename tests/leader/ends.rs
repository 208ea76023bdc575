//! What callers are told when leadership ends, and what a node does that must not go on.

use std::time::Duration;

use slotkeeper::domain::{ClusterId, Command, JobId, LogicalTime, Record, Reply, SessionStart};
use slotkeeper::leader::{Intent, LeaderFault, LeaderOptions, ProposalError, Submission, SubmitError};
use slotkeeper::replica;

use crate::rig::{DEADLINE, Rig, allocate, eventually, options, put_job};

#[tokio::test]
async fn a_follower_says_who_leads() {
    let rig = Rig::new().await;
    rig.log.follow(Some(2));
    eventually("the session is over", || !rig.leader.is_serving()).await;
    match rig.leader.submit(allocate("job", 1, 0)).await {
        Err(SubmitError::NotLeader { leader }) => assert_eq!(leader.node_id, 2),
        other => panic!("{other:?}"),
    }
    rig.log.follow(None);
    assert!(matches!(rig.leader.submit(allocate("job", 1, 0)).await, Err(SubmitError::NoLeader { .. })));
}

#[tokio::test]
async fn at_the_end_of_leadership_everybody_is_told_whether_something_may_have_happened() {
    let rig = Rig::new().await;
    rig.job("job", 0).await;
    let waiting = rig.send(allocate("job", 1, 60_000));
    tokio::task::yield_now().await;
    rig.log.hold();
    let proposed = rig.send_command(put_job("proposed", 0, None));
    rig.until_held(1).await;
    let second = rig.send_command(put_job("second", 0, None));
    rig.until_held(2).await;
    let queued = rig.send_command(put_job("queued", 0, None));
    tokio::task::yield_now().await;
    rig.log.follow(None);
    assert_eq!(proposed.await.unwrap(), Err(SubmitError::OutcomeUnknown));
    assert_eq!(second.await.unwrap(), Err(SubmitError::OutcomeUnknown));
    assert_eq!(queued.await.unwrap(), Err(SubmitError::LeadershipLost));
    assert_eq!(waiting.await.unwrap(), Err(SubmitError::LeadershipLost));
}

#[tokio::test]
async fn a_round_that_was_not_taken_ends_the_session_and_is_known_not_to_have_happened() {
    let rig = Rig::new().await;
    rig.log.hold();
    let refused = rig.send_command(put_job("refused", 0, None));
    rig.until_held(1).await;
    let later = rig.send_command(put_job("later", 0, None));
    rig.until_held(2).await;
    rig.log.fail_next(ProposalError::NotTaken("no quorum".to_owned()));
    assert_eq!(refused.await.unwrap(), Err(SubmitError::LeadershipLost));
    assert_eq!(later.await.unwrap(), Err(SubmitError::OutcomeUnknown));
    rig.log.release();
    rig.serve(1).await;
    let outcome = rig.submit(put_job("again", 0, None)).await;
    assert!(outcome.result.is_ok(), "the next session decides on the true state");
}

#[tokio::test]
async fn a_session_that_another_one_replaced_decides_nothing() {
    let rig = Rig::new().await;
    let before = rig.replica.read().session();
    let cluster = rig.replica.read().cluster().unwrap_or(ClusterId(uuid::Uuid::nil()));
    let start = SessionStart { cluster, node_id: 2, at: LogicalTime(1) };
    rig.replica.apply(&replica::seal(&Record::Begin(start))).unwrap();
    let answer = rig.leader.submit(allocate("job", 1, 0)).await;
    assert_eq!(answer, Err(SubmitError::LeadershipLost));
    eventually("a new session begins", || rig.leader.is_serving() && rig.replica.read().session() > before)
        .await;
}

#[tokio::test]
async fn a_leader_whose_barriers_fail_stops_serving() {
    let rig = Rig::new().await;
    rig.log.hold();
    rig.log.fail_barriers();
    eventually("the session is over", || !rig.leader.is_serving()).await;
}

#[tokio::test]
async fn a_process_that_stood_still_begins_a_new_session() {
    let rig = Rig::manual().await;
    let before = rig.replica.read().session();
    rig.clock.advance(Duration::from_secs(3));
    eventually("a new session begins", || rig.replica.read().session() > before).await;
}

/// Found by a test of the whole program that ran many times: one caller was told what another one had asked for.
#[tokio::test]
async fn a_process_that_stood_still_answers_everybody_with_the_outcome_of_their_own_round() {
    let rig = Rig::manual().await;
    rig.log.hold();
    let first = rig.send_command(put_job("first", 1, None));
    rig.until_held(1).await;
    let second = rig.send_command(put_job("second", 2, None));
    rig.until_held(2).await;
    rig.clock.advance(Duration::from_secs(3));
    rig.log.apply(2);
    rig.log.release();
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert_eq!(first.revision.0 + 1, second.revision.0, "{first:?} {second:?}");
    for (outcome, expected) in [(&first, 1), (&second, 2)] {
        let Ok(Reply::JobPut { job, .. }) = &*outcome.result else { panic!("{outcome:?}") };
        assert_eq!(job.priority, expected, "the answer to another request");
    }
}

#[tokio::test]
async fn a_submission_that_takes_too_long_ends_as_unknown_once_proposed() {
    let deadline = Duration::from_millis(100);
    let rig = Rig::with(LeaderOptions { submission_deadline: deadline, ..options() }).await;
    rig.log.hold();
    let proposed = rig.send_command(put_job("first", 0, None));
    rig.until_held(1).await;
    rig.send_command(put_job("second", 0, None));
    rig.until_held(2).await;
    let queued = rig.send_command(put_job("queued", 0, None));
    assert_eq!(proposed.await.unwrap(), Err(SubmitError::OutcomeUnknown));
    assert!(matches!(queued.await.unwrap(), Err(SubmitError::Overloaded { .. })));
    rig.log.release();
    rig.until("the first two happen after all", |state| state.jobs().len() == 2).await;
    let commands = rig.rounds().concat().len();
    assert_eq!(commands, 2, "what was refused never happens");
}

/// Found by a storm: rounds are proposed one after the other without waiting, a leader that loses touch with its quorum for
/// a moment takes one of them not into the log and the next one does.
#[tokio::test]
async fn a_round_that_rests_on_one_that_was_not_taken_does_nothing() {
    let rig = Rig::new().await;
    rig.task_manager("tm", 2).await;
    rig.job("first", 0).await;
    rig.job("second", 0).await;
    rig.log.hold();
    let lost = rig.send(allocate("first", 2, 0));
    rig.until_held(1).await;
    let refused = rig.send(allocate("second", 2, 0));
    rig.until_held(2).await;
    rig.log.fail_next(ProposalError::NotTaken("no quorum for a moment".to_owned()));
    rig.log.apply(1);
    assert_eq!(lost.await.unwrap(), Err(SubmitError::LeadershipLost));
    let refused = refused.await.unwrap();
    assert_eq!(
        refused,
        Err(SubmitError::LeadershipLost),
        "both slots are free: nothing was decided on what is so"
    );
    rig.log.release();
    eventually("a new session serves", || rig.leader.is_serving()).await;
    let granted = rig.leader.submit(allocate("second", 2, 0)).await.unwrap();
    assert!(granted.result.is_ok(), "{granted:?}");
}

#[tokio::test]
async fn a_result_that_differs_from_the_copy_stops_the_node() {
    let rig = Rig::new().await;
    rig.log.tamper(|record| match record {
        Record::RoundAfter(mut round) => {
            round.batch.commands.iter_mut().for_each(|keyed| keyed.command = Command::ExpireDue);
            Record::RoundAfter(round)
        }
        other => other,
    });
    let answer = rig.leader.submit(crate::rig::keyed(
        "key",
        1,
        slotkeeper::leader::Intent::Command(put_job("job", 0, None)),
    ));
    assert_eq!(answer.await, Err(SubmitError::OutcomeUnknown));
    let fault = tokio::time::timeout(DEADLINE, rig.leader.fault()).await.unwrap();
    assert!(matches!(fault, LeaderFault::Divergence { .. }));
    eventually("nothing is accepted any more", || !rig.leader.is_serving()).await;
}

#[tokio::test]
async fn a_leader_whose_disk_is_full_only_ends_things() {
    let rig = Rig::new().await;
    rig.job("held", 0).await;
    rig.leader.note_disk_full(true);
    let refused = rig.leader.submit(allocate("held", 1, 0)).await;
    assert!(matches!(refused, Err(SubmitError::DiskFull { .. })), "{refused:?}");
    let delete = Command::DeleteJob { id: JobId::new("held").unwrap() };
    let deleted = rig.leader.submit(Submission::unkeyed(Intent::Command(delete))).await.unwrap();
    assert!(deleted.result.is_ok(), "what only ends things is still done: {deleted:?}");
    rig.leader.note_disk_full(false);
    rig.job("job", 0).await;
}

#[tokio::test]
async fn a_stopping_leader_answers_everybody() {
    let rig = Rig::new().await;
    rig.job("job", 0).await;
    let waiting = rig.send(allocate("job", 1, 60_000));
    tokio::task::yield_now().await;
    rig.leader.stop();
    assert!(matches!(waiting.await.unwrap(), Err(SubmitError::Stopped | SubmitError::LeadershipLost)));
    assert_eq!(rig.leader.submit(allocate("job", 1, 0)).await, Err(SubmitError::Stopped));
}
