//! Servers that are killed while they open, and two servers on one data directory.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::cluster::{Cluster, SETTLE, free_host};
use super::drill::{Drill, must};
use super::http::{Call, Caller};
use super::program;
use super::strace;

/// Status of a server that something outside keeps from starting; `docs/operations.md`.
const UNAVAILABLE: i32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_a_data_directory_is_refused() {
    let cluster = Cluster::start(program::path(), 1, &[]).await;
    let data_dir = cluster.data_dir(0).to_str().unwrap();
    let arguments =
        ["server", "--data-dir", data_dir, "--api-addr", "127.0.0.1:0", "--peer-addr", "127.0.0.1:0"];
    let ended = program::run(cluster.folder(), &arguments);
    assert_eq!(ended.status, Some(UNAVAILABLE), "{}", ended.said);
    assert!(
        ended.said.contains(data_dir) && ended.said.contains("in use by another process"),
        "{}",
        ended.said
    );
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    must(&mut caller, ("PUT", "/v1/jobs/after"), "after", &json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_log_can_not_be_written_serves_and_stops_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let host = free_host();
    let (api_addr, peer_addr) = (format!("{host}1:7400"), format!("{host}1:7401"));
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut server = Command::new(program::path())
        .args(["server", "--api-addr", &api_addr, "--peer-addr", &peer_addr, "--initial-cluster", &peer_addr])
        .args(["--free-space-floor", "16MiB", "--data-dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(full)
        .spawn()
        .unwrap();
    let mut caller = Caller::new(std::slice::from_ref(&api_addr), 0);
    must(&mut caller, ("PUT", "/v1/jobs/unlogged"), "unlogged", &json!({})).await;
    kill_process(pid_of(&server), Signal::TERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_all_are_killed_at_once_five_times() {
    let mut drill = Drill::begin(&[]).await;
    for _ in 0..5 {
        for number in 0..3 {
            drill.cluster.signal(number, Signal::KILL);
        }
        for number in 0..3 {
            drill.cluster.wait_exit(number);
        }
        for number in 0..3 {
            drill.cluster.start_server(number);
        }
        drill.cluster.wait_until_ready(SETTLE).await;
        drill.wait_for_acknowledgements(100).await;
    }
    drill.end().await;
}

/// Calls of opening, and how many of each in one thread are worth a kill.
const POINTS: [(&str, u32); 6] =
    [("fdatasync", 3), ("fsync", 3), ("pwrite64", 3), ("rename", 1), ("ftruncate", 1), ("openat", 4)];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_it_opens_always_opens_again() {
    if !strace::is_here() {
        return;
    }
    let mut cluster = Cluster::start(program::path(), 1, &[]).await;
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    must(&mut caller, ("PUT", "/v1/jobs/kept"), "kept", &json!({})).await;
    cluster.kill(0);
    let mut killed = 0;
    for (call, most) in POINTS {
        for at in 1..=most {
            // Starts fresh under the tracer, so that the very first calls count.
            match KilledAt::start(&cluster, call, at * 2 - 1).ends_or_serves(&cluster).await {
                Ending::Killed => killed += 1,
                Ending::Serves => {}
                Ending::Status(status, said) => panic!("after a kill it ends with {status:?}:\n{said}"),
            }
        }
    }
    assert!(killed >= 5, "only {killed} of the kills came before it served");
    cluster.start_server(0);
    cluster.wait_until_ready(SETTLE).await;
    let answer = Caller::new(&cluster.api_addrs(), 0).read("/v1/jobs/kept", SETTLE).await;
    assert!(answer.is_some_and(|answer| answer.is_done()), "what was acknowledged is gone");
}

/// A server under a tracer that kills it at one call.
struct KilledAt {
    tracer: Child,
    log: PathBuf,
}

enum Ending {
    Killed,
    Serves,
    Status(Option<i32>, String),
}

impl KilledAt {
    fn start(cluster: &Cluster, call: &str, at: u32) -> Self {
        let server = &cluster.servers[0];
        let log = cluster.folder().join(format!("killed-at-{call}-{at}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let tracer = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:signal=SIGKILL:when={at}")])
            .arg(program::path())
            .arg("server")
            .arg("--data-dir")
            .arg(cluster.data_dir(0))
            .args(["--api-addr", &server.api_addr, "--peer-addr", &server.peer_addr])
            .args(["--initial-cluster", &server.peer_addr])
            .env("SLOTKEEPER_FREE_SPACE_FLOOR", "16MiB")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { tracer, log }
    }

    /// Waits until it is killed, ends by itself, or serves; in that case it is killed then.
    async fn ends_or_serves(mut self, cluster: &Cluster) -> Ending {
        let server = [cluster.servers[0].api_addr.clone()];
        let caller = Caller::new(&server, 0);
        let ready = Call { method: "GET", path: "/readyz", key: None, body: None };
        let deadline = Instant::now() + SETTLE;
        let mut serves = false;
        loop {
            if let Some(status) = self.tracer.try_wait().unwrap() {
                return match status.code() {
                    None if serves => Ending::Serves,
                    None => Ending::Killed,
                    code => Ending::Status(code, std::fs::read_to_string(&self.log).unwrap_or_default()),
                };
            }
            if !serves && caller.once(&server[0], &ready).await.is_some_and(|answer| answer.status == 200) {
                serves = true;
                self.kill_traced();
            }
            assert!(Instant::now() < deadline, "it neither serves nor ends");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn kill_traced(&self) {
        let strace = self.tracer.id();
        let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children"));
        for pid in children.unwrap_or_default().split_whitespace() {
            let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a process id");
            // It may be killed by its tracer at this moment.
            let _gone = kill_process(pid, Signal::KILL);
        }
    }
}

impl Drop for KilledAt {
    fn drop(&mut self) {
        self.kill_traced();
        let _gone = self.tracer.kill();
        let _status = self.tracer.wait();
    }
}
