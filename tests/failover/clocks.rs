//! Clocks that are wrong: nothing in a cluster may depend on them.
//!
//! libfaketime shows a server another wall clock, which a test sets while the server runs; the monotonic clock goes on
//! unharmed. A time namespace gives a restarted server another monotonic clock. `tests/run` installs what is needed;
//! `SLOTKEEPER_WITHOUT_CLOCKS=1` accepts in writing that it is not there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::cluster::{Cluster, SETTLE};
use super::drill::{Drill, must};
use super::faults::lost_task_managers;
use super::http::Caller;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// Steps of the wall clock, one a second.
const STEPS: usize = 8;

/// Whether something that the machine must have is missing, and that is accepted.
fn is_missing(what: &str, is_here: bool) -> bool {
    let accepted = std::env::var("SLOTKEEPER_WITHOUT_CLOCKS").is_ok_and(|value| value == "1");
    assert!(
        is_here || accepted,
        "{what} is missing: run `tests/run`, or set SLOTKEEPER_WITHOUT_CLOCKS=1 to go without"
    );
    if !is_here {
        println!("not tried: {what} is missing");
    }
    !is_here
}

/// The library of libfaketime for programs with threads, wherever this machine's architecture has it.
fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten().map(|folder| folder.path());
    let mut candidates = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1"));
    candidates.find(|candidate| candidate.exists())
}

/// The wall clock that one server sees.
struct WallClock {
    file: PathBuf,
}

impl WallClock {
    /// Restarts a server under a clock that is right for now.
    fn give_to(cluster: &mut Cluster, number: usize, library: &Path) -> Self {
        let file = cluster.folder().join(format!("clock-{number}"));
        let clock = Self { file };
        clock.set(0);
        let file = clock.file.display();
        let words = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={file}"),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ];
        cluster.run_under(number, &words.each_ref().map(String::as_str));
        assert_eq!(cluster.terminate(number), Some(0), "{}", cluster.log_tail(number));
        cluster.start_server(number);
        clock
    }

    /// Sets the clock so many seconds before or after the right time.
    fn set(&self, offset: i64) {
        let fresh = self.file.with_extension("fresh");
        std::fs::write(&fresh, format!("{offset:+}")).unwrap();
        std::fs::rename(fresh, &self.file).unwrap();
    }
}

/// Waits until a server writes something into its log at a time that is off by so much.
async fn wait_until_logged(cluster: &Cluster, number: usize, offset: i64) {
    let deadline = Instant::now() + SETTLE;
    let minute = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let then = UNIX_EPOCH + Duration::from_secs(now.checked_add_signed(offset).unwrap());
        humantime::format_rfc3339_seconds(then).to_string()[..16].to_owned()
    };
    let began = minute();
    while !cluster.log(number).lines().any(|line| line.starts_with(&began) || line.starts_with(&minute())) {
        assert!(Instant::now() < deadline, "nothing is logged at {began}\n{}", cluster.log_tail(number));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wall_clock_changes_a_lease_an_order_or_a_token() {
    let library = library();
    if is_missing("libfaketime", library.is_some()) {
        return;
    }
    let library = library.unwrap_or_default();
    let mut drill = Drill::begin(&[]).await;
    let mut clocks = Vec::new();
    for number in 0..3 {
        clocks.push(WallClock::give_to(&mut drill.cluster, number, &library));
        drill.cluster.wait_until_ready(SETTLE).await;
    }
    let mut caller = Caller::new(&drill.cluster.api_addrs(), 0);
    let lease = json!({"job_master_id": "master", "lease": "10m"});
    must(&mut caller, ("PUT", "/v1/jobs/leased"), "leased", &lease).await;
    for offset in [HOUR, -HOUR, DAY, -DAY] {
        let leader = drill.cluster.leader().await;
        clocks[leader].set(offset);
        drill.wait_for_acknowledgements(100).await;
        // The end of its leadership is what a leader writes down.
        let key = format!("hand-over-{offset}");
        must(&mut caller, ("POST", "/v1/cluster/transfer-leadership"), &key, &json!({})).await;
        wait_until_logged(&drill.cluster, leader, offset).await;
    }
    for step in 0..STEPS {
        for (number, clock) in clocks.iter().enumerate() {
            clock.set(if (step + number) % 2 == 0 { HOUR } else { -HOUR });
        }
        // The pace of the steps, not a wait for anything.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    drill.wait_for_acknowledgements(100).await;
    let job = caller.read("/v1/jobs/leased", SETTLE).await.unwrap();
    assert_eq!(job.body["state"], "running", "a wall clock ended a lease: {}", job.body);
    assert_eq!(lost_task_managers(&drill.cluster).await, 0, "{}", drill.cluster.all_logs());
    drill.end().await;
}

/// Puts a program on a monotonic clock of its own. A new time namespace is that of the children, which older kernels do not
/// change with the program; so the program is put into it by hand.
const ELSEWHERE: [&str; 8] = [
    "unshare",
    "--time",
    "--monotonic",
    "100000",
    "sh",
    "-c",
    "exec nsenter --time=/proc/self/ns/time_for_children \"$@\"",
    "sh",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_on_another_monotonic_clock_starts_normally() {
    let mut tried = Command::new(ELSEWHERE[0]);
    tried.args(&ELSEWHERE[1..]).args(["readlink", "/proc/self/ns/time"]);
    let clock = tried.stderr(Stdio::null()).output().map(|output| output.stdout).unwrap_or_default();
    let own = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
    let clock = String::from_utf8_lossy(&clock).trim().to_owned();
    if is_missing("a time namespace", !clock.is_empty() && own.as_os_str() != clock.as_str()) {
        return;
    }
    let mut drill = Drill::begin(&[]).await;
    for of_leader in [true, false] {
        let leader = drill.cluster.leader().await;
        let number = if of_leader { leader } else { (leader + 1) % 3 };
        drill.cluster.run_under(number, &ELSEWHERE);
        drill.cluster.kill(number);
        drill.cluster.start_server(number);
        drill.cluster.wait_until_ready(SETTLE).await;
        let clock_of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/time")).unwrap();
        let pid = drill.cluster.pid(number).to_string();
        assert_ne!(clock_of(&pid), clock_of("self"), "it runs on the clock that it had");
        drill.wait_for_acknowledgements(60).await;
    }
    drill.end().await;
}
