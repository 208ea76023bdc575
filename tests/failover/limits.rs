//! Servers that get too little of the machine: a tenth of a processor, or less memory than they ask for.
//!
//! Control groups of the kernel set the limits, of version 1 or 2, whichever has the controller on this machine. Where none
//! can be made, the server is stopped nine tenths of the time, or killed as the kernel would do it; what was done is printed.

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

/// Where both versions are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// In whose words a group is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A control group with one limit; dropped, its processes go back and it is gone.
struct Group {
    version: Version,
    folder: PathBuf,
    home: PathBuf,
}

impl Group {
    /// A group with this controller, if the machine lets us make one.
    fn new(controller: &str) -> Option<Self> {
        let made = Self::of_version_one(controller).or_else(|| Self::of_version_two(controller));
        match &made {
            Some(group) => {
                println!("{controller} is limited by a control group of version {:?}", group.version)
            }
            None => println!("no control group for {controller} can be made here"),
        }
        made
    }

    /// Each controller has a tree of its own.
    fn of_version_one(controller: &str) -> Option<Self> {
        let root = Path::new(ROOT).join(controller);
        Self::below(&root, controller, (root.clone(), Version::One))
    }

    /// One tree has all controllers that the groups below its root were given. The root may have processes only if it is
    /// the real one; in a container the kernel refuses to give anything to its groups, and that is an answer too.
    fn of_version_two(controller: &str) -> Option<Self> {
        let root = Path::new(ROOT);
        std::fs::write(root.join("cgroup.subtree_control"), format!("+{controller}")).ok()?;
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let home = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        Self::below(root, controller, (root.join(home), Version::Two))
    }

    fn below(root: &Path, controller: &str, (home, version): (PathBuf, Version)) -> Option<Self> {
        let folder = root.join(format!("slotkeeper-{controller}-{}", std::process::id()));
        let is_made = root.join("cgroup.procs").exists() && std::fs::create_dir(&folder).is_ok();
        is_made.then_some(Self { version, folder, home })
    }

    fn set(&self, file: &str, value: impl ToString) {
        std::fs::write(self.folder.join(file), value.to_string()).unwrap();
    }

    fn limit_to_a_tenth_of_a_processor(&self) {
        match self.version {
            Version::One => {
                self.set("cpu.cfs_period_us", 100_000);
                self.set("cpu.cfs_quota_us", 10_000);
            }
            Version::Two => self.set("cpu.max", "10000 100000"),
        }
    }

    /// What its processes hold that can not be taken from them.
    fn held_bytes(&self) -> u64 {
        match self.version {
            Version::One => self.number("memory.stat", "rss"),
            Version::Two => self.number("memory.stat", "anon"),
        }
    }

    fn limit_memory(&self, bytes: u64) {
        match self.version {
            Version::One => {
                self.set("memory.swappiness", 0);
                self.set("memory.limit_in_bytes", bytes);
            }
            Version::Two => {
                // A kernel without swap has no such file.
                if self.folder.join("memory.swap.max").exists() {
                    self.set("memory.swap.max", 0);
                }
                self.set("memory.max", bytes);
            }
        }
    }

    /// How many processes the kernel has ended for the limit of memory.
    fn kills(&self) -> u64 {
        match self.version {
            Version::One => self.number("memory.oom_control", "oom_kill"),
            Version::Two => self.number("memory.events", "oom_kill"),
        }
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
            group.limit_to_a_tenth_of_a_processor();
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
            group.limit_memory(group.held_bytes() + HEADROOM_BYTES);
            let ballast = Ballast::take_in(&group, 2 * HEADROOM_BYTES);
            assert_eq!(drill.cluster.wait_exit(victim), None, "{}", drill.cluster.log_tail(victim));
            assert!(group.kills() > 0, "it was not the kernel that ended it");
            drop(ballast);
            drill.cluster.run_under(victim, &[]);
        }
    }
    drill.wait_for_acknowledgements(60).await;
    drill.cluster.start_server(victim);
    drill.cluster.wait_until_ready(SETTLE).await;
    drill.end().await;
}
