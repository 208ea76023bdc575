//! What happens to processes: they die, stop, go on, and come back.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cluster::{Cluster, SETTLE};
use super::drill::{Drill, cluster_document};
use super::history::{self, Happening, Line};
use super::http::Caller;

/// Small enough that a follower is soon further behind than the log reaches.
const SHORT_LOG: [&str; 2] = ["--snapshot-interval", "200"];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_leader_is_killed() {
    let mut drill = Drill::begin(&[]).await;
    for _ in 0..2 {
        let leader = drill.cluster.leader().await;
        drill.cluster.kill(leader);
        drill.wait_for_acknowledgements(100).await;
        drill.cluster.start_server(leader);
        drill.cluster.wait_until_ready(SETTLE).await;
    }
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_leader_hands_over_and_ends_cleanly() {
    let mut drill = Drill::begin(&[]).await;
    let leader = drill.cluster.leader().await;
    let status = drill.cluster.terminate(leader);
    assert_eq!(status, Some(0), "{}", drill.cluster.log_tail(leader));
    drill.wait_for_acknowledgements(100).await;
    drill.cluster.start_server(leader);
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_all_are_killed_and_restart_in_another_order() {
    let mut drill = Drill::begin(&[]).await;
    for order in [[2, 0, 1], [1, 2, 0]] {
        for number in 0..3 {
            drill.cluster.kill(number);
        }
        for number in order {
            drill.cluster.start_server(number);
        }
        drill.cluster.wait_until_ready(SETTLE).await;
        drill.wait_for_acknowledgements(100).await;
    }
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_restarts_faster_than_an_election_gives_nothing_twice() {
    let mut drill = Drill::begin(&[]).await;
    for _ in 0..10 {
        let leader = drill.cluster.leader().await;
        drill.cluster.kill(leader);
        drill.cluster.start_server(leader);
        drill.wait_for_acknowledgements(40).await;
    }
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_sleeps_past_its_successors_election_decides_nothing_when_it_wakes() {
    let drill = Drill::begin(&[]).await;
    let leader = drill.cluster.leader().await;
    drill.cluster.signal(leader, Signal::STOP);
    wait_for_another_leader(&drill, leader).await;
    drill.wait_for_acknowledgements(100).await;
    drill.cluster.signal(leader, Signal::CONT);
    drill.wait_for_acknowledgements(100).await;
    drill.end().await;
}

/// How long the leader stands still: shorter than an election takes, about as long, longer, and longer than TaskManagers
/// are forgiven their silence.
const STOPS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];

async fn wait_until_stopped(pid: u32) {
    let deadline = Instant::now() + SETTLE;
    let status = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    while !status().contains("T (stopped)") {
        assert!(Instant::now() < deadline, "it was not stopped: {}", status());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stands_still_for_any_time_loses_no_task_manager() {
    let drill = Drill::begin(&[]).await;
    for stop in STOPS {
        let leader = drill.cluster.leader().await;
        drill.cluster.signal(leader, Signal::STOP);
        wait_until_stopped(drill.cluster.pid(leader)).await;
        // The fault itself.
        tokio::time::sleep(stop).await;
        drill.cluster.signal(leader, Signal::CONT);
        drill.wait_for_acknowledgements(60).await;
    }
    assert_eq!(lost_task_managers(&drill.cluster).await, 0, "{}", drill.cluster.all_logs());
    drill.end().await;
}

/// Waits until a server other than the sleeping one names another leader.
async fn wait_for_another_leader(drill: &Drill, sleeping: usize) {
    let deadline = Instant::now() + SETTLE;
    let asleep = &drill.cluster.servers[sleeping].api_addr;
    let awake: Vec<String> = drill.cluster.api_addrs().into_iter().filter(|addr| addr != asleep).collect();
    let mut caller = Caller::new(&awake, 0);
    loop {
        let document = cluster_document(&mut caller).await;
        let leader = document["leader_id"].as_u64();
        let of_sleeper =
            document["members"].as_array().into_iter().flatten().find(|m| m["api_addr"] == asleep.as_str());
        if leader.is_some() && of_sleeper.is_some_and(|member| member["node_id"].as_u64() != leader) {
            return;
        }
        assert!(Instant::now() < deadline, "no other leader: {document}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_away_for_longer_than_the_log_is_kept_comes_back_by_snapshot() {
    let mut drill = Drill::begin(&SHORT_LOG).await;
    let follower = (drill.cluster.leader().await + 1) % 3;
    drill.cluster.kill(follower);
    drill.wait_for_acknowledgements(1000).await;
    drill.cluster.start_server(follower);
    let cluster = drill.end().await;
    let log = std::fs::read_to_string(cluster.folder().join(format!("server-{follower}.log"))).unwrap();
    assert!(log.contains("installed a snapshot"), "the follower caught up without a snapshot:\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_manager_lost_during_a_leader_change_loses_its_slots_once() {
    let mut drill = Drill::begin_with(&[], Some(Duration::from_secs(1))).await;
    wait_for_silence(&drill).await;
    let leader = drill.cluster.leader().await;
    drill.cluster.kill(leader);
    drill.wait_for_acknowledgements(50).await;
    drill.cluster.start_server(leader);
    wait_for_lost_task_manager(&drill).await;
    drill.end().await;
}

/// Waits until the workload has let its TaskManager go silent.
async fn wait_for_silence(drill: &Drill) {
    let deadline = Instant::now() + SETTLE;
    let is_silent = |line: &Line| matches!(line.what, Happening::TaskManagerStopped { .. });
    while !history::load(&drill.report).is_ok_and(|lines| lines.iter().any(is_silent)) {
        assert!(Instant::now() < deadline, "no TaskManager went silent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until exactly one TaskManager is lost; more would be a false verdict.
async fn wait_for_lost_task_manager(drill: &Drill) {
    let deadline = Instant::now() + SETTLE;
    loop {
        match lost_task_managers(&drill.cluster).await {
            0 => assert!(Instant::now() < deadline, "the silent TaskManager is not declared lost"),
            1 => return,
            lost => panic!("one TaskManager went silent, {lost} are lost"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How many TaskManagers the cluster has declared lost.
pub async fn lost_task_managers(cluster: &Cluster) -> usize {
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    let answer = caller.read("/v1/task-managers?state=lost", SETTLE).await.expect("the cluster answers");
    answer.body["items"].as_array().map_or(0, Vec::len)
}
