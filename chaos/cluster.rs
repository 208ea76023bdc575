//! Real `slotkeeper server` processes, on loopback or in network namespaces, for tests and measurements.
//!
//! What it promises: each cluster has loopback addresses and a folder of its own, so that runs side by side do not
//! clash; waiting is for conditions with a deadline; processes are ended by the ids that were started here, also when a
//! test fails. What it must not do: reach into a server by any way that an operator does not have.

use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::{Call, Caller};

/// How long a cluster may take to come to a condition before the run fails.
pub const SETTLE: Duration = Duration::from_secs(120);

/// One server process and what it needs to start again.
pub struct Server {
    /// API address.
    pub api_addr: String,
    /// Peer address.
    pub peer_addr: String,
    data_dir: PathBuf,
    log: PathBuf,
    start: Vec<String>,
    /// A program that becomes the server, with its arguments; empty: none.
    under: Vec<String>,
    child: Option<Child>,
}

/// How a server ended.
pub struct Ending {
    /// Which server.
    pub number: usize,
    /// With which status.
    pub status: ExitStatus,
}

impl Ending {
    /// Whether it was killed, by the run or by the kernel. No server kills itself.
    pub fn is_kill(&self) -> bool {
        self.status.signal() == Some(Signal::KILL.as_raw())
    }
}

/// Where the servers of a cluster stand.
pub struct Ground {
    /// What stands before the number of a server in its address.
    pub host: String,
    /// What the namespaces are called before the number of the server; `None`: no namespaces.
    pub namespaces: Option<String>,
}

/// A cluster of server processes.
pub struct Cluster {
    binary: PathBuf,
    folder: tempfile::TempDir,
    ground: Ground,
    extra: Vec<String>,
    /// The servers, in the order of their start.
    pub servers: Vec<Server>,
    /// How each of them ended that has ended and was waited for.
    pub endings: Vec<Ending>,
}

impl Cluster {
    /// Starts `count` servers as the first members of a cluster and waits until all are ready. `extra` is given to each.
    pub async fn start(binary: &Path, count: usize, extra: &[&str]) -> Self {
        Self::start_on(Ground { host: free_host(), namespaces: None }, binary, count, extra).await
    }

    /// The same on another ground.
    pub async fn start_on(ground: Ground, binary: &Path, count: usize, extra: &[&str]) -> Self {
        let mut cluster = Self::empty_on(ground, binary, extra);
        cluster.found(count).await;
        cluster
    }

    /// A cluster without servers, so that their folders can be made ready.
    pub fn empty(binary: &Path, extra: &[&str]) -> Self {
        Self::empty_on(Ground { host: free_host(), namespaces: None }, binary, extra)
    }

    fn empty_on(ground: Ground, binary: &Path, extra: &[&str]) -> Self {
        let folder =
            tempfile::Builder::new().prefix("slotkeeper-cluster-").tempdir().expect("a temporary folder");
        Self {
            binary: binary.to_owned(),
            folder,
            ground,
            extra: extra.iter().map(|&option| option.to_owned()).collect(),
            servers: Vec::new(),
            endings: Vec::new(),
        }
    }

    /// Starts the first servers and waits until all are ready.
    pub async fn found(&mut self, count: usize) {
        let peers: Vec<String> = (0..count).map(|number| self.peer_addr(number)).collect();
        for _ in 0..count {
            self.add(&["--initial-cluster", &peers.join(",")]);
        }
        self.wait_until_ready(SETTLE).await;
    }

    /// Adds and starts one more server, with these options beside its addresses and folder.
    pub fn add(&mut self, start: &[&str]) -> usize {
        let number = self.reserve();
        self.servers[number].start = start.iter().map(|&option| option.to_owned()).collect();
        self.start_server(number);
        number
    }

    /// Keeps addresses and a folder for one more server, which is not started.
    pub fn reserve(&mut self) -> usize {
        let number = self.servers.len();
        let server = Server {
            api_addr: format!("{}{}:7400", self.ground.host, number + 1),
            peer_addr: self.peer_addr(number),
            data_dir: self.future_data_dir(number),
            log: self.folder.path().join(format!("server-{number}.log")),
            start: Vec::new(),
            under: Vec::new(),
            child: None,
        };
        self.servers.push(server);
        number
    }

    /// API and peer address of a server, whether it runs or not.
    pub fn addresses(&self, number: usize) -> (String, String) {
        let server = &self.servers[number];
        (server.api_addr.clone(), server.peer_addr.clone())
    }

    /// Where a server, started or not, keeps its data.
    pub fn future_data_dir(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("data-{number}"))
    }

    fn peer_addr(&self, number: usize) -> String {
        format!("{}{}:7401", self.ground.host, number + 1)
    }

    /// From its next start on, a server runs under another program, which must become the server without a process of its
    /// own between; an empty list: under none.
    pub fn run_under(&mut self, number: usize, program: &[&str]) {
        self.servers[number].under = program.iter().map(|&word| word.to_owned()).collect();
    }

    /// Starts a server that is not running, with the options that it had.
    pub fn start_server(&mut self, number: usize) {
        let namespace =
            self.ground.namespaces.as_ref().map(|namespaces| format!("{namespaces}-{}", number + 1));
        let server = &mut self.servers[number];
        let log = File::options().create(true).append(true).open(&server.log).expect("a log file");
        let mut words: Vec<&OsStr> = Vec::new();
        if let Some(namespace) = &namespace {
            words.extend(["ip", "netns", "exec", namespace].map(OsStr::new));
        }
        words.extend(server.under.iter().map(OsStr::new));
        words.push(self.binary.as_os_str());
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg("server")
            .arg("--data-dir")
            .arg(&server.data_dir)
            .args(["--api-addr", &server.api_addr, "--peer-addr", &server.peer_addr])
            .args(&server.start)
            .args(&self.extra)
            .env("SLOTKEEPER_FREE_SPACE_FLOOR", "16MiB")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle of the log"))
            .stderr(log)
            .spawn()
            .expect("the server's binary starts");
        server.child = Some(child);
    }

    /// Takes in a process that was started at the addresses of server `number`, which does not run.
    pub fn adopt(&mut self, number: usize, child: Child) {
        self.servers[number].child = Some(child);
    }

    /// Leaves data and logs in place when the cluster is gone.
    pub fn keep_folder(&mut self) {
        self.folder.disable_cleanup(true);
    }

    /// The numbers of the servers that were started and not waited for.
    pub fn running(&self) -> Vec<usize> {
        (0..self.servers.len()).filter(|number| self.servers[*number].child.is_some()).collect()
    }

    /// The whole log of a server.
    pub fn log(&self, number: usize) -> String {
        std::fs::read_to_string(&self.servers[number].log).unwrap_or_default()
    }

    /// The API addresses of the servers that run.
    pub fn api_addrs(&self) -> Vec<String> {
        self.servers
            .iter()
            .filter(|server| server.child.is_some())
            .map(|server| server.api_addr.clone())
            .collect()
    }

    /// The process id of a running server.
    pub fn pid(&self, number: usize) -> u32 {
        self.servers[number].child.as_ref().expect("the server runs").id()
    }

    /// Sends a signal to a running server.
    pub fn signal(&self, number: usize, signal: Signal) {
        let pid = i32::try_from(self.pid(number)).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the process was started here and not waited for");
    }

    /// kill -9, and waits until the process is gone.
    pub fn kill(&mut self, number: usize) {
        self.signal(number, Signal::KILL);
        self.wait_exit(number);
    }

    /// SIGTERM, and waits until the process is gone; gives its exit status.
    pub fn terminate(&mut self, number: usize) -> Option<i32> {
        self.signal(number, Signal::TERM);
        self.wait_exit(number)
    }

    /// Whether a server that was told to end has ended.
    pub fn has_ended(&mut self, number: usize) -> bool {
        let child = self.servers[number].child.as_mut().expect("the server was started");
        child.try_wait().expect("the child is ours").is_some()
    }

    /// Waits until a server that is about to end has ended; gives its exit status.
    pub fn wait_exit(&mut self, number: usize) -> Option<i32> {
        let mut child = self.servers[number].child.take().expect("the server runs");
        let deadline = Instant::now() + SETTLE;
        loop {
            if let Some(status) = child.try_wait().expect("the child is ours") {
                self.endings.push(Ending { number, status });
                return status.code();
            }
            if Instant::now() > deadline {
                child.kill().expect("the child is ours");
                panic!("server {number} did not end; its log:\n{}", self.log_tail(number));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The number of the leader, once all running servers that answer name the same one.
    pub async fn leader(&self) -> usize {
        let deadline = Instant::now() + SETTLE;
        let mut caller = Caller::new(&self.api_addrs(), 0);
        while Instant::now() < deadline {
            let answer = caller.read("/v1/cluster", Duration::from_secs(2)).await;
            if let Some(number) = answer.and_then(|answer| self.leader_in(&answer.body)) {
                return number;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no leader within {SETTLE:?}\n{}", self.all_logs());
    }

    fn leader_in(&self, cluster: &Value) -> Option<usize> {
        let leader = cluster["leader_id"].as_u64()?;
        let members = cluster["members"].as_array()?;
        let member = members.iter().find(|member| member["node_id"].as_u64() == Some(leader))?;
        let number = self.servers.iter().position(|server| member["api_addr"] == server.api_addr.as_str())?;
        self.servers[number].child.is_some().then_some(number)
    }

    /// Waits until every running server says that it is ready.
    pub async fn wait_until_ready(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let caller = Caller::new(&self.api_addrs(), 0);
        let call = Call { method: "GET", path: "/readyz", key: None, body: None };
        for api_addr in self.api_addrs() {
            while caller.once(&api_addr, &call).await.is_none_or(|answer| answer.status != 200) {
                assert!(Instant::now() < deadline, "`{api_addr}` is not ready\n{}", self.all_logs());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// A folder of this cluster for reports.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a server keeps its data.
    pub fn data_dir(&self, number: usize) -> &Path {
        &self.servers[number].data_dir
    }

    /// The end of a server's log.
    pub fn log_tail(&self, number: usize) -> String {
        let text = std::fs::read_to_string(&self.servers[number].log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The end of each server's log.
    pub fn all_logs(&self) -> String {
        let tail = |number| format!("--- server {number} ---\n{}\n", self.log_tail(number));
        (0..self.servers.len()).map(tail).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in &mut self.servers {
            if let Some(mut child) = server.child.take() {
                // Already gone is as good: the folder goes next.
                let _gone = child.kill();
                let _reaped = child.wait();
            }
        }
    }
}

/// A loopback network of this cluster's own, as a prefix to which the number of a server is appended. All of 127/8 is
/// loopback, so clusters side by side need no agreement on ports.
pub fn free_host() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let host = format!("127.{}.{}.", 1 + number / 254 % 250, 1 + number % 254);
        let free = |last: u8, port: u16| TcpListener::bind(format!("{host}{last}:{port}")).is_ok();
        if (1..=6).all(|last| free(last, 7400) && free(last, 7401)) {
            return host;
        }
    }
}
