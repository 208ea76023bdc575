//! A machine is gone with its disk: the steps of "A member is gone".

use super::drill::Drill;
use super::replacement::Replacement;
use super::runbook::steps;

/// A cluster under load that has just lost a member with its disk, and a place for a new server.
async fn lose_one() -> (Drill, Replacement) {
    let mut drill = Drill::begin(&[]).await;
    let lost = (drill.cluster.leader().await + 1) % 3;
    drill.cluster.kill(lost);
    std::fs::remove_dir_all(drill.cluster.data_dir(lost)).unwrap();
    let replacement = Replacement::prepare(&mut drill.cluster, lost).await;
    (drill, replacement)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_member_is_replaced_by_one_command_that_may_be_killed_on_the_way() {
    let steps = steps("A member is gone");
    let (mut drill, mut replacement) = lose_one().await;
    replacement.start(&mut drill.cluster, &steps[0]);
    replacement.wait_until_joined(&drill.cluster).await;
    replacement.kill(&mut drill.cluster);
    replacement.start(&mut drill.cluster, &steps[0]);
    replacement.wait_until_done(&drill.cluster).await;
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_member_is_replaced_by_the_steps_of_the_runbook() {
    let steps = steps("A member is gone");
    let [_, start, list, promote, remove] = &steps[..] else {
        panic!("the runbook has other steps: {steps:?}")
    };
    let (mut drill, mut replacement) = lose_one().await;
    replacement.start(&mut drill.cluster, start);
    let new_id = replacement.wait_for(&drill.cluster, "learner").await;
    let listed = replacement.hands.run(list);
    assert!(listed.contains(&new_id.to_string()), "the list does not show the new member:\n{listed}");
    replacement.hands.fill("NEW_ID", new_id);
    replacement.hands.run(promote);
    replacement.hands.run(remove);
    replacement.wait_until_done(&drill.cluster).await;
    drill.end().await;
}
