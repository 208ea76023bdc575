//! Two of three disks are lost for good, gone or damaged: the steps of "The majority is lost for good".

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::{Cluster, SETTLE};
use super::damaged_disk::{cut_log, flip_bytes, is_quarantined};
use super::drill::{Drill, member, must, wait_for_member};
use super::http::{Answer, Call, Caller};
use super::runbook::{Hands, steps};

const HEADING: &str = "The majority is lost for good";

/// Makes a new cluster of one out of the directory of `left`, at its addresses, by the first steps of the runbook.
/// Gives what the recovery printed.
async fn recover(cluster: &mut Cluster, left: usize) -> String {
    let steps = steps(HEADING);
    let [recover, start, list, ..] = &steps[..] else { panic!("the runbook has other steps: {steps:?}") };
    let folder = cluster.folder().to_owned();
    let (api_addr, peer_addr) = cluster.addresses(left);
    let mut hands = Hands::new(std::slice::from_ref(&api_addr));
    hands.fill("LEFT_DIR", cluster.data_dir(left).display());
    hands.fill("NEW_DIR", folder.join("recovered").display());
    hands.fill("HOST:7400", &api_addr);
    hands.fill("HOST:7401", &peer_addr);
    let report = hands.run(recover);
    let child = hands.start(start, &folder.join(format!("server-{left}.log")));
    cluster.adopt(left, child);
    cluster.wait_until_ready(SETTLE).await;
    hands.run(list);
    report
}

/// Adds one more voter at the addresses of `place`, by the last steps of the runbook.
async fn add_voter(cluster: &mut Cluster, left: usize, place: usize) {
    let steps = steps(HEADING);
    let [.., start, promote] = &steps[..] else { panic!("the runbook has other steps: {steps:?}") };
    let folder = cluster.folder().to_owned();
    let (first, (api_addr, peer_addr)) = (cluster.addresses(left).0, cluster.addresses(place));
    let mut hands = Hands::new(std::slice::from_ref(&first));
    hands.fill("EMPTY_DIR", folder.join(format!("empty-{place}")).display());
    hands.fill("OTHER_HOST:7400", &api_addr);
    hands.fill("OTHER_HOST:7401", &peer_addr);
    hands.fill("HOST:7400", &first);
    let child = hands.start(start, &folder.join(format!("server-{place}.log")));
    cluster.adopt(place, child);
    let mut caller = Caller::new(std::slice::from_ref(&first), 0);
    hands.fill("NEW_ID", wait_for_member(&mut caller, &api_addr, "learner").await);
    hands.run(promote);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_survivor_had_lives_on_in_a_new_cluster_of_three() {
    let mut drill = Drill::begin(&[]).await;
    drill.wait_for_acknowledgements(200).await;
    let left = drill.cluster.leader().await;
    for number in others(left) {
        drill.cluster.kill(number);
        std::fs::remove_dir_all(drill.cluster.data_dir(number)).unwrap();
    }
    drill.cluster.terminate(left);
    is_made_three_again(drill, left).await;
}

fn others(left: usize) -> [usize; 2] {
    [(left + 1) % 3, (left + 2) % 3]
}

/// A new cluster of one from the directory of `left`, which has ended, then of three, under the load that went on.
async fn is_made_three_again(mut drill: Drill, left: usize) {
    let report = recover(&mut drill.cluster, left).await;
    assert!(report.contains("restore epoch   1"), "{report}");
    drill.wait_for_acknowledgements(100).await;
    for number in others(left) {
        add_voter(&mut drill.cluster, left, number).await;
    }
    drill.wait_for_acknowledgements(100).await;
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_two_of_three_are_damaged_the_third_shows_no_empty_state_and_is_the_new_cluster() {
    let mut drill = Drill::begin(&[]).await;
    drill.wait_for_acknowledgements(200).await;
    let left = drill.cluster.leader().await;
    for (number, damage) in others(left).into_iter().zip([flip_bytes, cut_log]) {
        drill.cluster.kill(number);
        damage(drill.cluster.data_dir(number));
    }
    for number in others(left) {
        is_quarantined(&mut drill.cluster, number);
        shows_no_empty_state(&drill.cluster, left).await;
    }
    let asked = "/v1/jobs?consistency=stale";
    assert_eq!(
        once(&drill.cluster, left, asked).await.status,
        200,
        "what it has, it still shows to who asks"
    );
    drill.cluster.terminate(left);
    drill.cluster.start_server(left);
    until_live(&drill.cluster, left).await;
    shows_no_empty_state(&drill.cluster, left).await;
    drill.cluster.terminate(left);
    is_made_three_again(drill, left).await;
}

/// Asks the one server that is left for everything that the load has made: it shows it or refuses.
async fn shows_no_empty_state(cluster: &Cluster, left: usize) {
    for list in ["/v1/jobs", "/v1/task-managers", "/v1/allocations"] {
        for consistency in ["stale", "linearizable"] {
            let answer = once(cluster, left, &format!("{list}?consistency={consistency}")).await;
            let items = answer.body["items"].as_array().map_or(0, Vec::len);
            let is_refused = (answer.status, answer.code()) == (503, "no_leader");
            assert!(is_refused || (answer.status == 200 && items > 0), "{list}: {answer:?}");
            assert!(is_refused || consistency == "stale", "a linearizable read without a quorum: {answer:?}");
        }
    }
}

async fn once(cluster: &Cluster, number: usize, path: &str) -> Answer {
    let api_addr = cluster.addresses(number).0;
    let call = Call { method: "GET", path, key: None, body: None };
    let answer = Caller::new(std::slice::from_ref(&api_addr), 0).once(&api_addr, &call).await;
    answer.unwrap_or_else(|| panic!("`{path}` is not answered\n{}", cluster.all_logs()))
}

/// Waits until a server that was started answers at all.
async fn until_live(cluster: &Cluster, number: usize) {
    let api_addr = cluster.addresses(number).0;
    let caller = Caller::new(std::slice::from_ref(&api_addr), 0);
    let call = Call { method: "GET", path: "/livez", key: None, body: None };
    let deadline = Instant::now() + SETTLE;
    while caller.once(&api_addr, &call).await.is_none_or(|answer| answer.status != 200) {
        assert!(Instant::now() < deadline, "it does not answer\n{}", cluster.all_logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_survivor_had_not_is_named_and_never_given_out_again() {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_slotkeeper"));
    let mut cluster = Cluster::start(binary, 3, &[]).await;
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    let offer = json!({"task_manager_id": "tm", "session_id": "s", "address": "a:1", "slots": 4});
    let registered = must(&mut caller, ("POST", "/v1/task-managers"), "tm", &offer).await;
    must(&mut caller, ("PUT", "/v1/jobs/j"), "job", &json!({})).await;
    let known = allocate(&mut caller, "first").await;
    let left = (cluster.leader().await + 1) % 3;
    cluster.kill(left);
    let unknown = allocate(&mut caller, "second").await;
    for number in (0..3).filter(|number| *number != left) {
        cluster.kill(number);
    }
    let report = recover(&mut cluster, left).await;
    assert!(report.contains(&format!("tokens above {}", known["fencing_token"])), "{report}");

    let (first, _) = cluster.addresses(left);
    let mut caller = Caller::new(std::slice::from_ref(&first), 0);
    let held = caller.read("/v1/jobs/j/allocations", SETTLE).await.unwrap();
    let ids: Vec<&Value> =
        held.body["items"].as_array().unwrap().iter().map(|held| &held["allocation_id"]).collect();
    assert_eq!(ids, [&known["allocation_id"]], "the survivor's allocation lives, the other is not known");
    let heartbeat = json!({"epoch": registered.body["epoch"], "generation": 0});
    let answer = caller.unkeyed("POST", "/v1/task-managers/tm/heartbeat", &heartbeat, SETTLE).await.unwrap();
    assert_eq!(answer.code(), "stale_epoch", "a TaskManager must hear from the new cluster what it holds");
    let again = must(&mut caller, ("POST", "/v1/task-managers"), "tm-again", &offer).await;
    assert_eq!(again.body["allocations"].as_array().map(Vec::len), Some(1), "{}", again.body);

    let new = allocate(&mut caller, "third").await;
    let token = |grant: &Value| grant["fencing_token"].as_u64().unwrap();
    assert_eq!(new["slot_index"], unknown["slot_index"], "the slot of the lost allocation is free");
    assert!(token(&new) > token(&unknown), "a token below one that the old cluster gave out");
    assert_ne!(new["allocation_id"], unknown["allocation_id"]);
    let document = caller.read("/v1/cluster", SETTLE).await.unwrap().body;
    assert_eq!(member(&document, &first).map(|(_, role)| role).as_deref(), Some("voter"), "{document}");
}

async fn allocate(caller: &mut Caller, key: &str) -> Value {
    let answer = must(caller, ("POST", "/v1/jobs/j/allocations"), key, &json!({"slots": 1})).await;
    answer.body["allocations"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_former_member_can_be_reached_nothing_is_recovered() {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_slotkeeper"));
    let mut cluster = Cluster::start(binary, 3, &[]).await;
    // Only a log with something in it can be recovered; what was acknowledged is in the leader's.
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    must(&mut caller, ("PUT", "/v1/jobs/j"), "job", &json!({})).await;
    let left = cluster.leader().await;
    cluster.kill(left);
    let into = cluster.folder().join("recovered");
    let recover = |although: &[&str]| {
        let mut command = std::process::Command::new(binary);
        command
            .args(["recover", "--yes", "--api-addr", "127.0.0.1:1", "--peer-addr", "127.0.0.1:2"])
            .args(although);
        command.arg("--from").arg(cluster.data_dir(left)).arg("--data-dir").arg(&into).output().unwrap()
    };
    let output = recover(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("still answers at") && said.contains("--although-running"), "{said}");
    assert!(!into.exists(), "a refused recovery left a directory");
    let output = recover(&["--although-running"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_quorum_is_left_it_is_to_be_started_and_not_replaced() {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_slotkeeper"));
    let mut cluster = Cluster::start(binary, 3, &[]).await;
    for number in 0..3 {
        cluster.kill(number);
    }
    let into = cluster.folder().join("recovered");
    let refused = |from: &[usize]| {
        let mut command = std::process::Command::new(binary);
        command.args(["recover", "--yes", "--api-addr", "127.0.0.1:1", "--peer-addr", "127.0.0.1:2"]);
        for number in from {
            command.arg("--from").arg(cluster.data_dir(*number));
        }
        let output = command.arg("--data-dir").arg(&into).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(&[0, 1]);
    assert!(said.contains("2 of 3 voters are left") && said.contains("--although-quorum"), "{said}");
    assert!(!into.exists(), "a refused recovery left a directory");
    std::fs::create_dir(&into).unwrap();
    assert!(refused(&[0]).contains("exists"), "a directory that exists must not be taken");
}
