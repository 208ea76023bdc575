//! Hooks that are commands of the operator, run by `sh -c`.
//!
//! Promises: a command gets the work in its environment and, as JSON, on its standard input; it has a time limit, after
//! which it is killed with everything it started (its process group); what it prints goes to the log, line by line. A
//! command that is broken off is killed the same way. Must not: interpret what a command prints; its exit status is the
//! whole answer. Tested in `tests/agent/command_hooks.rs`.

use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tracing::{info, warn};

use super::hooks::{HookFailure, Hooks};
use super::work::{StopReason, Work};

/// Bytes of one printed line that the log gets. The rest of a longer line is left out.
const LINE_BYTES_MAX: usize = 4096;

/// The commands of the operator; a missing one does nothing and succeeds.
#[derive(Debug, Clone)]
pub struct CommandHooks {
    /// This TaskManager's id, for the environment of the commands.
    pub task_manager_id: String,
    /// Starts the work of a slot.
    pub on_start: Option<String>,
    /// Stops the work of a slot.
    pub on_stop: Option<String>,
    /// How long a command may take.
    pub time_limit: Duration,
}

#[async_trait]
impl Hooks for CommandHooks {
    async fn start(&self, work: &Work) -> Result<(), HookFailure> {
        match &self.on_start {
            None => Ok(()),
            Some(command) => self.run("on-start", command, work, "granted").await,
        }
    }

    async fn stop(&self, work: &Work, reason: StopReason) -> Result<(), HookFailure> {
        match &self.on_stop {
            None => Ok(()),
            Some(command) => self.run("on-stop", command, work, reason.code()).await,
        }
    }
}

impl CommandHooks {
    async fn run(
        &self,
        hook: &'static str,
        command: &str,
        work: &Work,
        reason: &str,
    ) -> Result<(), HookFailure> {
        let failed = |problem: String| HookFailure(format!("the {hook} command {problem}"));
        let mut child =
            self.spawn(command, work, reason).map_err(|error| failed(format!("did not start: {error}")))?;
        let group = KillOnDrop::of(&child);
        let allocation = work.allocation_id.to_string();
        if let Some(stdin) = child.stdin.take() {
            tokio::spawn(write_document(stdin, work.document.to_string()));
        }
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(log_lines(stdout, hook, allocation.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log_lines(stderr, hook, allocation));
        }
        let status = match tokio::time::timeout(self.time_limit, child.wait()).await {
            Err(_elapsed) => {
                return Err(failed(format!("took longer than {:?} and was killed", self.time_limit)));
            }
            Ok(Err(error)) => return Err(failed(format!("can not be waited for: {error}"))),
            Ok(Ok(status)) => status,
        };
        if status.success() {
            group.spare();
            return Ok(());
        }
        Err(failed(match status.code() {
            Some(code) => format!("ended with status {code}"),
            None => "was killed by a signal".to_owned(),
        }))
    }

    fn spawn(&self, command: &str, work: &Work, reason: &str) -> std::io::Result<Child> {
        let profile = serde_json::to_string(&work.profile).unwrap_or_default();
        Command::new("sh")
            .arg("-c")
            .arg(command)
            .env("SLOTKEEPER_ALLOCATION_ID", work.allocation_id.to_string())
            .env("SLOTKEEPER_JOB_ID", &work.job_id)
            .env("SLOTKEEPER_SLOT_INDEX", work.slot_index.to_string())
            .env("SLOTKEEPER_FENCING_TOKEN", work.fencing_token.to_string())
            .env("SLOTKEEPER_PROFILE", profile)
            .env("SLOTKEEPER_TASK_MANAGER_ID", &self.task_manager_id)
            .env("SLOTKEEPER_REASON", reason)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Kills the process group of a command unless it has ended well: then what it left running is the work itself.
struct KillOnDrop {
    group: Option<rustix::process::Pid>,
}

impl KillOnDrop {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { group: id.and_then(rustix::process::Pid::from_raw) }
    }

    fn spare(mut self) {
        self.group = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // An error means that nobody of the group is left, which is what is wanted.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// A command that does not read its input closes the pipe; that is no failure.
async fn write_document(mut stdin: ChildStdin, document: String) {
    let _ = stdin.write_all(document.as_bytes()).await;
    let _ = stdin.write_all(b"\n").await;
    let _ = stdin.shutdown().await;
}

/// Logs what a command prints until every process that holds the pipe has ended: the work of a slot may print on.
async fn log_lines(output: impl AsyncRead + Unpin, hook: &'static str, allocation: String) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(&mut reader, &mut line).await {
            Ok(true) => info!(hook, allocation, line = %String::from_utf8_lossy(&line), "hook output"),
            Ok(false) => return,
            Err(error) => {
                warn!(hook, allocation, %error, "the output of a hook can not be read");
                return;
            }
        }
    }
}

/// Reads one line, keeping its first bytes only, so that output without line ends takes no memory. False at the end.
async fn read_line(reader: &mut (impl AsyncBufReadExt + Unpin), line: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut seen = false;
    loop {
        let chunk = reader.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(seen);
        }
        seen = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(chunk.len());
        let room = LINE_BYTES_MAX.saturating_sub(line.len());
        line.extend_from_slice(&chunk[..taken.min(room)]);
        reader.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            return Ok(true);
        }
    }
}
