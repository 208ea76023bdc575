//! Disks that refuse or hang under a running server: the process ends, the cluster goes on, and nothing is lost.

use std::time::{Duration, Instant};

use super::drill::Drill;
use super::strace::{self, Strace};
use super::trace;

/// Status of a server whose disk refused something; `docs/operations.md`.
const STORAGE: i32 = 74;

/// Which server has the bad disk.
#[derive(Clone, Copy)]
enum Role {
    Leader,
    Follower,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_sync_fails_ends_and_comes_back() {
    ends_and_comes_back(Role::Follower, &inject("fdatasync", "error=EIO")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_sync_fails_ends_and_comes_back() {
    ends_and_comes_back(Role::Leader, &inject("fdatasync", "error=EIO")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_failed_once_is_not_tried_again() {
    let Some(ending) = ends_and_comes_back(Role::Leader, &inject("fdatasync", "error=EIO:when=3")).await
    else {
        return;
    };
    let syncs = trace::calls(&ending.trace);
    let failed = syncs.iter().find(|sync| sync.returned < 0).expect("a sync was made to fail");
    let again = syncs.iter().find(|sync| sync.target == failed.target && sync.began > failed.ended);
    assert!(
        again.is_none(),
        "line {}: {} is synced again\n{}",
        failed.ended + 1,
        failed.target,
        ending.trace
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_disk_is_full_ends_and_comes_back() {
    ends_and_comes_back(Role::Follower, &inject("pwrite64", "error=ENOSPC")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_is_full_ends_and_comes_back() {
    ends_and_comes_back(Role::Leader, &inject("pwrite64", "error=ENOSPC")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_writes_fail_with_an_input_output_error_ends_and_comes_back() {
    ends_and_comes_back(Role::Leader, &inject("pwrite64", "error=EIO")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_hangs_is_ended_by_its_watchdog() {
    // In microseconds; six times as long as the watchdog waits.
    let ending = ends_and_comes_back(Role::Leader, &inject("fdatasync", "delay_enter=60000000")).await;
    assert!(ending.is_none_or(|ending| ending.log.contains("the disk hangs")), "the reason is not named");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_disk_hangs_is_ended_by_its_watchdog() {
    let ending = ends_and_comes_back(Role::Follower, &inject("fdatasync", "delay_enter=60000000")).await;
    assert!(ending.is_none_or(|ending| ending.log.contains("the disk hangs")), "the reason is not named");
}

fn inject(call: &str, fault: &str) -> [String; 2] {
    [format!("trace={call}"), format!("inject={call}:{fault}")]
}

/// What a server with a bad disk left.
struct Ending {
    /// The end of its log.
    log: String,
    /// The calls that were traced, as `strace` writes them.
    trace: String,
}

/// Gives one of three servers under load a bad disk; gives how it ended, or nothing where that can not be tried.
async fn ends_and_comes_back(role: Role, fault: &[String; 2]) -> Option<Ending> {
    if !strace::is_here() {
        return None;
    }
    let mut drill = Drill::begin(&[]).await;
    let leader = drill.cluster.leader().await;
    let victim = match role {
        Role::Leader => leader,
        Role::Follower => (leader + 1) % 3,
    };
    let pid = drill.cluster.pid(victim);
    let output = drill.cluster.folder().join("bad-disk.trace");
    let options = ["-y", "-o", output.to_str().unwrap(), "-e", &fault[0], "-e", &fault[1]];
    let tracer = Strace::attach(&[pid], &options, drill.cluster.folder());
    wait_until_it_has_exited(pid, &drill.cluster.log_tail(victim)).await;
    // A tracer that holds back a thread keeps what is left of the process until it is gone itself.
    drop(tracer);
    let status = drill.cluster.wait_exit(victim);
    let log = drill.cluster.log_tail(victim);
    assert_eq!(status, Some(STORAGE), "{log}");
    assert!(!log.contains("panicked") && !log.contains("a panic"), "a refusing disk is no panic:\n{log}");
    let trace = std::fs::read_to_string(&output).unwrap();
    drill.wait_for_acknowledgements(100).await;
    drill.cluster.start_server(victim);
    drill.end().await;
    Some(Ending { log, trace })
}

/// Waits until the first thread of a process is gone, which is what is left when it has asked to exit. Bounded by the
/// watchdog's 10 s and what a slow machine adds.
async fn wait_until_it_has_exited(pid: u32, log_so_far: &str) {
    let deadline = Instant::now() + Duration::from_secs(25);
    let lives = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
    };
    while lives() {
        assert!(Instant::now() < deadline, "it lives on with a bad disk; its log until then:\n{log_so_far}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
