//! Servers that get too little of the machine: a tenth of a processor, or less memory than they ask for.
//!
//! Control groups of the kernel (version 1) set the limits. Where none can be made, the server is stopped nine tenths of
//! the time, or killed as the kernel would do it; what was done is printed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cluster::SETTLE;
use super::drill::Drill;
use super::faults::lost_task_managers;

/// How long the leader is slow.
const SLOW: Duration = Duration::from_secs(10);
/// What a server may still take once the limit is set; twice as much is asked for beside it.
const HEADROOM_BYTES: u64 = 24 << 20;

/// A control group with one limit; dropped, its processes go back and it is gone.
struct Group {
    folder: PathBuf,
    home: PathBuf,
}

impl Group {
    /// A group below `controller`, if this machine lets us make one.
    fn new(controller: &str) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup").join(controller);
        let folder = root.join(format!("slotkeeper-{}", std::process::id()));
        if !root.join("cgroup.procs").exists() || std::fs::create_dir(&folder).is_err() {
            println!("no control group for {controller} can be made here");
            return None;
        }
        Some(Self { folder, home: root })
    }

    fn set(&self, file: &str, value: impl ToString) {
        std::fs::write(self.folder.join(file), value.to_string()).unwrap();
    }

    /// The number behind `name` in a file of the group.
    fn number(&self, file: &str, name: &str) -> u64 {
        let text = std::fs::read_to_string(self.folder.join(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no `{name}` in {text}"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let inside = std::fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        for pid in inside.lines() {
            // It may end at this moment.
            let _gone = std::fs::write(self.home.join("cgroup.procs"), pid);
        }
        let deadline = Instant::now() + SETTLE;
        // A process that has ended is in the group until the kernel has cleaned up behind it.
        while std::fs::remove_dir(&self.folder).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_a_tenth_of_a_processor_loses_nothing() {
    let drill = Drill::begin(&[]).await;
    let leader = drill.cluster.leader().await;
    let group = Group::new("cpu");
    let until = Instant::now() + SLOW;
    match &group {
        Some(group) => {
            group.set("cpu.cfs_period_us", 100_000);
            group.set("cpu.cfs_quota_us", 10_000);
            group.set("cgroup.procs", drill.cluster.pid(leader));
            tokio::time::sleep(SLOW).await;
            assert!(group.number("cpu.stat", "nr_throttled") > 0, "it was never slow");
        }
        None => {
            while Instant::now() < until {
                drill.cluster.signal(leader, Signal::STOP);
                tokio::time::sleep(Duration::from_millis(90)).await;
                drill.cluster.signal(leader, Signal::CONT);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    drill.wait_for_acknowledgements(60).await;
    drop(group);
    assert_eq!(lost_task_managers(&drill.cluster).await, 0, "{}", drill.cluster.all_logs());
    drill.end().await;
}

/// Something else in the group that takes as much memory as it can get.
struct Ballast(Child);

impl Ballast {
    fn take_in(group: &Group, bytes: u64) -> Self {
        // `tail` keeps what has no end of a line.
        let script = format!("echo $$ > \"$0\" && head -c {bytes} /dev/zero | tail");
        let procs = group.folder.join("cgroup.procs");
        let child =
            Command::new("sh").arg("-c").arg(script).arg(procs).stdout(Stdio::null()).spawn().unwrap();
        Self(child)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // It ends by itself or by the kernel once the server's memory is its own.
        let _status = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_for_its_memory_comes_back() {
    let mut drill = Drill::begin(&[]).await;
    let victim = drill.cluster.leader().await;
    match Group::new("memory") {
        None => drill.cluster.kill(victim),
        Some(group) => {
            // It is the first that the kernel ends.
            let enter = format!(
                "echo $$ > {} && echo 1000 > /proc/self/oom_score_adj && exec \"$0\" \"$@\"",
                group.folder.join("cgroup.procs").display()
            );
            drill.cluster.kill(victim);
            drill.cluster.run_under(victim, &["sh", "-c", &enter]);
            drill.cluster.start_server(victim);
            drill.cluster.wait_until_ready(SETTLE).await;
            drill.wait_for_acknowledgements(60).await;
            group.set("memory.swappiness", 0);
            let limit = group.number("memory.stat", "rss") + HEADROOM_BYTES;
            group.set("memory.limit_in_bytes", limit);
            let ballast = Ballast::take_in(&group, 2 * HEADROOM_BYTES);
            assert_eq!(drill.cluster.wait_exit(victim), None, "{}", drill.cluster.log_tail(victim));
            assert!(
                group.number("memory.oom_control", "oom_kill") > 0,
                "it was not the kernel that ended it"
            );
            drop(ballast);
            drill.cluster.run_under(victim, &[]);
        }
    }
    drill.wait_for_acknowledgements(60).await;
    drill.cluster.start_server(victim);
    drill.cluster.wait_until_ready(SETTLE).await;
    drill.end().await;
}
