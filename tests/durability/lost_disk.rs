//! Disks that are lost under running servers: read-only after an error, or with the data directory gone. The server ends
//! and says why, the others serve on, and nothing that was acknowledged is lost.

use std::time::{Duration, Instant};

use slotkeeper::server::exit;

use super::cluster::SETTLE;
use super::drill::{Drill, cluster_document, member, wait_for_member};
use super::http::Caller;
use super::loop_device;
use super::small_disk::SmallDisk;

/// So that a server whose directory is gone would be found out by its next snapshot only much later.
const LONG_LOG: [&str; 2] = ["--snapshot-interval", "100000"];
const SHORT_LOG: [&str; 2] = ["--snapshot-interval", "100"];

#[tokio::test(flavor = "multi_thread")]
async fn servers_whose_disk_turns_read_only_end_and_come_back_when_it_is_repaired() {
    if loop_device::is_missing() {
        return;
    }
    let (mut drill, mut disks) = Drill::begin_prepared(&[], None, |cluster| {
        [0, 1, 2].map(|number| Some(SmallDisk::under(&[cluster.future_data_dir(number)])))
    })
    .await;
    for of_leader in [false, true] {
        let leader = drill.cluster.leader().await;
        let victim = if of_leader { leader } else { (leader + 1) % 3 };
        let disk = disks[victim].take().unwrap();
        disk.turn_read_only();
        let said = ends_for_its_disk(&mut drill, victim);
        // What is under way fails with another error than what comes later.
        assert!(said.contains("check the disk and restart it"), "{said}");
        drill.wait_for_acknowledgements(100).await;
        disks[victim] = Some(disk.repair());
        drill.cluster.start_server(victim);
        drill.cluster.wait_until_ready(SETTLE).await;
    }
    let cluster = drill.end().await;
    drop(disks);
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_whose_data_directory_is_removed_end_and_say_so() {
    let mut drill = Drill::begin(&LONG_LOG).await;
    let leader = drill.cluster.leader().await;
    // A server that writes into a directory while it is removed keeps it from being empty.
    let removed = drill.cluster.folder().join("removed");
    std::fs::rename(drill.cluster.data_dir(leader), &removed).unwrap();
    let said = ends_for_its_disk(&mut drill, leader);
    assert!(said.contains("finding the data directory again"), "{said}");
    std::fs::remove_dir_all(removed).unwrap();
    drill.wait_for_acknowledgements(100).await;
    let mut caller = Caller::new(&drill.cluster.api_addrs(), 0);
    let lost_addr = drill.cluster.servers[leader].api_addr.clone();
    let (lost_id, _) = member(&cluster_document(&mut caller).await, &lost_addr).unwrap();
    let join = drill.cluster.api_addrs()[0].clone();
    let new = drill.cluster.add(&["--join", &join, "--replace", &lost_id.to_string()]);
    wait_for_member(&mut caller, &drill.cluster.servers[new].api_addr, "voter").await;
    let deadline = Instant::now() + SETTLE;
    while member(&cluster_document(&mut caller).await, &lost_addr).is_some() {
        assert!(Instant::now() < deadline, "the lost server stays a member\n{}", drill.cluster.all_logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_not_save_a_snapshot_blames_its_disk() {
    let mut drill = Drill::begin(&SHORT_LOG).await;
    let victim = (drill.cluster.leader().await + 1) % 3;
    let snapshots = drill.cluster.data_dir(victim).join("snapshots");
    let aside = drill.cluster.folder().join("aside");
    std::fs::rename(&snapshots, &aside).unwrap();
    let said = ends_for_its_disk(&mut drill, victim);
    assert!(said.contains("snapshots"), "{said}");
    std::fs::rename(&aside, &snapshots).unwrap();
    drill.cluster.start_server(victim);
    drill.end().await;
}

/// Waits until a server has ended for its disk; gives the end of its log.
fn ends_for_its_disk(drill: &mut Drill, victim: usize) -> String {
    let status = drill.cluster.wait_exit(victim);
    let said = drill.cluster.log_tail(victim);
    assert_eq!(status, Some(i32::from(exit::STORAGE)), "{said}");
    said
}
