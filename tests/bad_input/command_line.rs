//! Command lines and configuration files that can not be meant.

use std::process::{Command, Stdio};

use slotkeeper::server::{ServerConfig, ServerOptions};

use crate::mutation::{Dice, cases, mutated};

const VERBS: [&str; 16] = [
    "server",
    "agent",
    "status",
    "task-managers",
    "jobs",
    "alloc",
    "release",
    "requirements",
    "queues",
    "settings",
    "members",
    "transfer-leadership",
    "recover",
    "dev",
    "no-such-verb",
    "",
];

const ARGUMENTS: [&str; 26] = [
    "--no-such-option",
    "--slots=-1",
    "--slots=x",
    "--slots=99999999999",
    "--wait=soon",
    "--profile=cpu",
    "--profile={",
    "--api-addr=nowhere",
    "--peer-addr=:",
    "--initial-cluster=",
    "--data-dir=",
    "--config=/nowhere/at/all.toml",
    "--free-space-floor=much",
    "--output=xml",
    "--timeout=-5s",
    "--servers=",
    "--servers=http://",
    "\u{1}",
    "-",
    "--",
    "--task-managers=101",
    "--port=65536",
    "--from=",
    "put",
    "get",
    "list",
];

/// `no-such-option` and the like must be there, so that no line can be meant by chance.
fn line(dice: &mut Dice) -> Vec<String> {
    let mut line = vec![(*dice.pick(&VERBS)).to_owned(), "--no-such-option".to_owned()];
    for _ in 0..dice.below(4) {
        line.insert(1 + dice.below(line.len()), (*dice.pick(&ARGUMENTS)).to_owned());
    }
    line
}

#[test]
fn a_command_line_that_can_not_be_meant_ends_with_2_and_one_reason() {
    for case in 0..cases(300) {
        let line = line(&mut Dice::new(case as u64));
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotkeeper"));
        command.args(&line).stdin(Stdio::null()).env_clear();
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "case {case}: {line:?}: {said}");
        assert_eq!(said.matches("error:").count(), 1, "case {case}: {line:?}: {said}");
        assert!(output.stdout.is_empty() && !said.contains("panicked"), "case {case}: {line:?}: {said}");
    }
}

const FILE: &str = r#"
data_dir = "data"
api_addr = "127.0.0.1:7400"
peer_addr = "127.0.0.1:7401"
initial_cluster = ["127.0.0.1:7401", "127.0.0.1:7501"]
profile = "lan"
log_format = "json"
log = "info"
free_space_floor = "1GiB"
queue_length = 100
submission_deadline = "10s"
snapshot_interval = 5000
worker_threads = 2
stop_deadline = "10s"
"#;

#[test]
fn a_configuration_file_that_is_wrong_is_refused_with_its_line_or_its_option() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slotkeeper.toml");
    std::fs::write(&path, FILE).unwrap();
    ServerConfig::from_options(ServerOptions::from_file(&path).unwrap()).unwrap();
    let mut refused = 0;
    for case in 0..cases(600) {
        std::fs::write(&path, mutated(FILE.as_bytes(), &mut Dice::new(case as u64))).unwrap();
        let problem = match ServerOptions::from_file(&path) {
            Err(error) => error.to_string(),
            Ok(options) => match ServerConfig::from_options(options) {
                Err(error) => error.to_string(),
                Ok(_) => continue,
            },
        };
        let names_a_place = problem.contains("line ") || problem.contains("--") || problem.contains("UTF-8");
        assert!(names_a_place, "case {case}: {problem}");
        refused += 1;
    }
    assert!(refused > 200, "only {refused} files were refused");
}
