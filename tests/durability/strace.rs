//! `strace` on servers: to record what they ask of the kernel, and to make the kernel refuse.
//!
//! What it promises: a tracer is attached to all threads when `attach` returns, and gone when `detach` returns, with
//! the whole trace written, or when the value is dropped; the traced servers live on. What it must not do: decide what a trace proves (`proof.rs`).

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const ATTACH_MAX: Duration = Duration::from_secs(30);

/// Whether `strace` can be used; fails if it is missing and nobody said that this is known.
pub fn is_here() -> bool {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    let is_known = std::env::var("SLOTKEEPER_WITHOUT_STRACE").is_ok_and(|value| value == "1");
    assert!(
        is_known,
        "`strace` is missing: run `tests/run`, which installs it, or set SLOTKEEPER_WITHOUT_STRACE=1 to go without \
         the proof that every acknowledgement follows a sync"
    );
    eprintln!("without strace this test proves nothing; SLOTKEEPER_WITHOUT_STRACE=1 asked for it");
    false
}

/// A running tracer.
pub struct Strace {
    child: Child,
    said: PathBuf,
}

impl Strace {
    /// Attaches to these processes and all their threads. Files for its messages are made in `folder`.
    pub fn attach(pids: &[u32], options: &[&str], folder: &Path) -> Self {
        let said = folder.join(format!("strace-{}.err", pids[0]));
        let messages = std::fs::File::create(&said).expect("a file in a temporary folder");
        let mut command = Command::new("strace");
        command.arg("-f").args(options);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let child = command.stdin(Stdio::null()).stderr(messages).spawn().expect("strace starts");
        let mut tracer = Self { child, said };
        let deadline = Instant::now() + ATTACH_MAX;
        while !pids.iter().all(|pid| is_traced(*pid)) {
            let ended = tracer.child.try_wait().expect("the child is ours");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "strace does not attach: {ended:?} {}",
                tracer.messages()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        tracer
    }

    /// What it wrote on standard error.
    pub fn messages(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Lets go of the servers and waits until the trace is written.
    pub fn detach(mut self) {
        self.signal(Signal::INT);
        let deadline = Instant::now() + ATTACH_MAX;
        while self.child.try_wait().expect("the child is ours").is_none() {
            assert!(Instant::now() < deadline, "strace does not let go: {}", self.messages());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&mut self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        if self.child.try_wait().expect("the child is ours").is_none() {
            // It may end by itself at this moment, with the last process that it traces.
            let _gone = kill_process(pid, signal);
        }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // The kernel lets the traced threads go on; asking politely may hang while it holds one of them back.
        self.signal(Signal::KILL);
        let _status = self.child.wait();
    }
}

/// Whether every thread of a process has a tracer, or the process is gone.
fn is_traced(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_none_or(|tracer| tracer.trim() != "0")
    })
}
