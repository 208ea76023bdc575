//! Runs the program and keeps what it printed and how it ended.

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::scripted_server::{Asked, Reply, ScriptedServer};

/// How long one run may take before the test fails; only a hanging program takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// One run that has ended.
#[derive(Debug, Clone)]
pub struct Run {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Run {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    #[track_caller]
    pub fn assert_status(&self, status: i32) -> &Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    /// Compares standard output line by line.
    #[track_caller]
    pub fn assert_out(&self, lines: &[&str]) -> &Self {
        assert_eq!(self.out.lines().collect::<Vec<_>>(), lines, "{}", self.out);
        self
    }

    /// Compares standard error line by line.
    #[track_caller]
    pub fn assert_err(&self, lines: &[&str]) -> &Self {
        assert_eq!(self.err.lines().collect::<Vec<_>>(), lines, "{}", self.err);
        self
    }
}

/// The program with a clean environment.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotkeeper"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SLOTKEEPER_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

pub async fn run_command(mut command: Command) -> Run {
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    as_run(output.expect("the program ends").unwrap())
}

fn as_run(output: Output) -> Run {
    Run {
        status: output.status.code().expect("the program was not killed"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the program without servers.
pub async fn run_alone(args: &[&str]) -> Run {
    run_command(program(args)).await
}

/// Runs the program against `server`.
pub async fn run(server: &ScriptedServer, args: &[&str]) -> Run {
    let mut command = program(args);
    command.env("SLOTKEEPER_SERVERS", server.url());
    run_command(command).await
}

/// Runs the program against `server` with `input` on its standard input.
pub async fn run_with_input(server: &ScriptedServer, args: &[&str], input: &str) -> Run {
    let mut command = program(args);
    command.env("SLOTKEEPER_SERVERS", server.url()).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    as_run(output.expect("the program ends").unwrap())
}

/// A server that gives one answer to one kind of request and 404 to every other.
pub async fn one(line: &'static str, reply: Reply) -> ScriptedServer {
    several(vec![(line, reply)]).await
}

/// A server with an answer for each kind of request (`METHOD /path`).
pub async fn several(replies: Vec<(&'static str, Reply)>) -> ScriptedServer {
    ScriptedServer::start(move |asked: &Asked| {
        let found = replies.iter().find(|(line, _)| *line == asked.line());
        found.map_or_else(|| Reply::problem(404, "not_found", false), |(_, reply)| reply.clone())
    })
    .await
}
