//! Data directories that are damaged while their server is down: it says so and ends with the documented status, the others
//! go on, and one documented command puts a new server in its place, which gets everything from its peers.

use std::os::unix::fs::FileExt;
use std::path::Path;

use slotkeeper::server::exit;

use super::cluster::Cluster;
use super::drill::Drill;
use super::replacement::{Replacement, replace};
use super::runbook::{steps, steps_after};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_flipped_bytes_in_its_log_is_replaced() {
    is_refused_and_replaced(flip_bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_log_lost_its_end_is_replaced() {
    is_refused_and_replaced(cut_log).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_cut_tip_record_is_replaced() {
    let said = is_refused_and_replaced(|data_dir| {
        std::fs::File::options().write(true).open(data_dir.join("tip")).unwrap().set_len(100).unwrap();
    });
    assert!(said.await.contains("the tip record"), "the damage is not named");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_identity_is_replaced() {
    let said = is_refused_and_replaced(|data_dir| std::fs::remove_file(data_dir.join("identity")).unwrap());
    assert!(said.await.contains("identity file is missing"), "the damage is not named");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_server_may_come_back_at_its_own_addresses_once_the_old_member_is_removed() {
    let steps = steps("A member is gone");
    let [_, start, _, promote, remove] = &steps[..] else { panic!("the runbook has other steps: {steps:?}") };
    let mut drill = Drill::begin(&[]).await;
    let victim = (drill.cluster.leader().await + 1) % 3;
    drill.cluster.kill(victim);
    cut_log(drill.cluster.data_dir(victim));
    is_quarantined(&mut drill.cluster, victim);
    let mut replacement = Replacement::prepare_at(&drill.cluster, victim, victim).await;
    replacement.hands.run(remove);
    replacement.start(&mut drill.cluster, start);
    let new_id = replacement.wait_for(&drill.cluster, "learner").await;
    replacement.hands.fill("NEW_ID", new_id);
    replacement.hands.run(promote);
    replacement.wait_until_done(&drill.cluster).await;
    drill.end().await;
}

/// Turns bytes of the log over, in three places.
pub fn flip_bytes(data_dir: &Path) {
    let file = std::fs::File::options().read(true).write(true).open(data_dir.join("log/db")).unwrap();
    let length = file.metadata().unwrap().len();
    for quarter in 1..4 {
        let mut bytes = [0; 16];
        file.read_exact_at(&mut bytes, length * quarter / 4).unwrap();
        file.write_all_at(&bytes.map(|byte| !byte), length * quarter / 4).unwrap();
    }
}

/// Leaves the first half of the log.
pub fn cut_log(data_dir: &Path) {
    let file = std::fs::File::options().write(true).open(data_dir.join("log/db")).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / 2).unwrap();
}

/// Starts a server whose directory was damaged; it must end as the runbook says. Gives its status and what it said.
pub fn is_quarantined(cluster: &mut Cluster, victim: usize) -> (Option<i32>, String) {
    cluster.start_server(victim);
    let status = cluster.wait_exit(victim);
    let said = cluster.log_tail(victim);
    assert_eq!(status, Some(i32::from(exit::QUARANTINE)), "{said}");
    assert!(said.contains("replace the node: remove the member"), "it does not say what to do:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    (status, said)
}

/// Damages the directory of a follower that is down, under load; gives what it said when it was started again.
async fn is_refused_and_replaced(damage: impl FnOnce(&Path)) -> String {
    let mut drill = Drill::begin(&[]).await;
    drill.wait_for_acknowledgements(200).await;
    let victim = (drill.cluster.leader().await + 1) % 3;
    drill.cluster.kill(victim);
    damage(drill.cluster.data_dir(victim));
    let (status, said) = is_quarantined(&mut drill.cluster, victim);
    drill.wait_for_acknowledgements(100).await;
    replace(&mut drill.cluster, victim, &steps_after(status)).await;
    drill.end().await;
    said
}
