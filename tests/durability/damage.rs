//! Data directories that are damaged while their server is down: it says so, the others go on, and the documented steps
//! replace it.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::cluster::SETTLE;
use super::drill::{Drill, cluster_document, member, wait_for_member};
use super::http::Caller;
use super::program;

/// Status of a server whose data directory can not be trusted; `docs/operations.md`.
const QUARANTINE: i32 = 75;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_flipped_bytes_in_its_log_is_replaced() {
    let said = is_refused_and_replaced(|data_dir| {
        let file = std::fs::File::options().read(true).write(true).open(data_dir.join("log/db")).unwrap();
        let length = file.metadata().unwrap().len();
        for quarter in 1..4 {
            let mut bytes = [0; 16];
            file.read_exact_at(&mut bytes, length * quarter / 4).unwrap();
            file.write_all_at(&bytes.map(|byte| !byte), length * quarter / 4).unwrap();
        }
    });
    said.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_log_lost_its_end_is_replaced() {
    let said = is_refused_and_replaced(|data_dir| {
        let file = std::fs::File::options().write(true).open(data_dir.join("log/db")).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length / 2).unwrap();
    });
    said.await;
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

/// Damages the directory of a follower that is down, under load; gives what it said when it was started again.
async fn is_refused_and_replaced(damage: impl FnOnce(&Path)) -> String {
    let mut drill = Drill::begin(&[]).await;
    drill.wait_for_acknowledgements(200).await;
    let victim = (drill.cluster.leader().await + 1) % 3;
    drill.cluster.kill(victim);
    damage(drill.cluster.data_dir(victim));
    drill.cluster.start_server(victim);
    let status = drill.cluster.wait_exit(victim);
    let said = drill.cluster.log_tail(victim);
    assert_eq!(status, Some(QUARANTINE), "{said}");
    assert!(said.contains("replace the node: remove the member"), "it does not say what to do:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    drill.wait_for_acknowledgements(100).await;
    replace(&mut drill, victim).await;
    drill.end().await;
    said
}

/// The steps of `docs/operations.md`, "A member is gone", with the commands that it names.
async fn replace(drill: &mut Drill, victim: usize) {
    let api_addrs = drill.cluster.api_addrs();
    let new = drill.cluster.add(&["--join", &api_addrs[0]]);
    let mut caller = Caller::new(&api_addrs, 0);
    let new_id = wait_for_member(&mut caller, &drill.cluster.servers[new].api_addr, "learner").await;
    members(drill, &["promote", &new_id.to_string()]).await;
    wait_for_member(&mut caller, &drill.cluster.servers[new].api_addr, "voter").await;
    let document = cluster_document(&mut caller).await;
    let (old_id, _) = member(&document, &drill.cluster.servers[victim].api_addr).unwrap();
    assert!(new_id > old_id, "an id is used again: {document}");
    members(drill, &["remove", &old_id.to_string()]).await;
    let deadline = Instant::now() + SETTLE;
    while member(&cluster_document(&mut caller).await, &drill.cluster.servers[victim].api_addr).is_some() {
        assert!(Instant::now() < deadline, "the damaged server stays a member");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// `slotkeeper members ...` against the cluster, again while another change of the membership is under way, as the
/// refusal says: the one before may not be through on the server that answers.
async fn members(drill: &Drill, arguments: &[&str]) {
    let servers = drill.cluster.api_addrs().join(",");
    let line = [&["--yes", "--servers", &servers, "members"][..], arguments].concat();
    let deadline = Instant::now() + SETTLE;
    loop {
        let ended = program::run(drill.cluster.folder(), &line);
        let is_early = ended.said.contains("membership_conflict") && Instant::now() < deadline;
        if ended.status == Some(0) || !is_early {
            return assert_eq!(ended.status, Some(0), "members {arguments:?}: {}", ended.said);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
