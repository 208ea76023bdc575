//! Command lines and configuration files that can not be meant.

use std::process::{Command, Stdio};

use slotkeeper::server::{ServerConfig, ServerOptions};

use crate::mutation::{Dice, cases, mutated};

/// Lines that are right as they stand.
const RIGHT: [&str; 28] = [
    "status",
    "task-managers list",
    "task-managers get tm",
    "task-managers cordon tm",
    "task-managers uncordon tm",
    "task-managers drain tm",
    "task-managers remove tm --yes",
    "jobs list",
    "jobs get j",
    "jobs put j",
    "jobs delete j --yes",
    "jobs heartbeat j --job-master-id m",
    "alloc j --slots 1",
    "release j 00000000-0000-0000-0000-000000000001",
    "requirements get j",
    "requirements clear j",
    "queues list",
    "queues get q",
    "queues put q",
    "queues delete q",
    "settings get",
    "settings set heartbeat_timeout=7s",
    "members list",
    "members remove 1 --yes",
    "members promote 1",
    "transfer-leadership",
    "recover --from left --data-dir new --api-addr 127.0.0.1:1 --peer-addr 127.0.0.1:2",
    "agent --id tm --slots 1",
];

/// What makes each of them wrong, and is named in the answer.
const WRONG_ANYWHERE: [(&str, &str); 9] = [
    ("--no-such-option", "--no-such-option"),
    ("--output=xml", "xml"),
    ("--timeout=-5s", "-5s"),
    ("--timeout=soon", "soon"),
    ("--servers=", "address of a server"),
    ("--servers=http://", "`http://`"),
    ("--servers=a,http://", "`http://`"),
    ("--yes=maybe", "--yes"),
    ("\u{1}", "''"),
];

/// Lines that are wrong in one place of their own, and what the answer names.
const WRONG: [(&str, &str); 57] = [
    ("no-such-verb", "no-such-verb"),
    ("jobs no-such-verb", "no-such-verb"),
    ("jobs put", "<JOB"),
    ("jobs put ..", "`..`"),
    ("jobs put j --priority=x", "--priority"),
    ("jobs put j --priority=99999999999", "--priority"),
    ("jobs put j --lease=soon", "--lease"),
    ("jobs heartbeat j", "--job-master-id"),
    ("task-managers drain", "<TASK_MANAGER"),
    ("task-managers drain tm --deadline=soon", "--deadline"),
    ("alloc", "<JOB"),
    ("alloc j --slots=x", "--slots"),
    ("alloc j --slots=-1", "--slots"),
    ("alloc j --slots=0", "--slots"),
    ("alloc j --slots=99999999999", "--slots"),
    ("alloc j --slots 1 --slots 2", "--slots"),
    ("alloc j --slots 1 --wait=soon", "--wait"),
    ("alloc j --slots 1 --profile=cpu", "--profile"),
    ("alloc j --slots 1 --profile={", "--profile"),
    ("alloc j --slots 1 --mode=most", "--mode"),
    ("release j", "ALLOCATION"),
    ("release j not-an-id", "not-an-id"),
    ("requirements put j", "required"),
    ("queues put q --maximum=cpu", "--maximum"),
    ("settings set heartbeat_timeout", "heartbeat_timeout"),
    ("settings set nothing=1", "nothing"),
    ("settings set mass_loss_share_percent=x", "\"x\""),
    ("members remove x --yes", "NODE_ID"),
    ("members promote", "NODE_ID"),
    ("members add", "required"),
    ("transfer-leadership --to=x", "--to"),
    ("recover", "--from"),
    ("recover --data-dir new --from=", "--from"),
    ("server", "--data-dir"),
    ("server --data-dir=", "--data-dir"),
    ("server --data-dir a --data-dir b", "--data-dir"),
    ("server --data-dir d --api-addr=nowhere", "--api-addr"),
    ("server --data-dir d --peer-addr=:", "--peer-addr"),
    ("server --data-dir d --peer-addr 127.0.0.1:99999", "--peer-addr"),
    ("server --data-dir d --initial-cluster=a,b", "--initial-cluster"),
    ("server --data-dir d --join=nowhere", "--join"),
    ("server --data-dir d --join=127.0.0.1:3 --initial-cluster=127.0.0.1:2", "--join"),
    ("server --data-dir d --config=/nowhere/at/all.toml", "/nowhere/at/all.toml"),
    ("server --data-dir d --free-space-floor=much", "--free-space-floor"),
    ("server --data-dir d --profile=cpu", "--profile"),
    ("server --data-dir d --queue-length=0", "--queue-length"),
    ("server --data-dir d --queue-length=x", "--queue-length"),
    ("server --data-dir d --snapshot-interval=0", "--snapshot-interval"),
    ("server --data-dir d --connections-max=-1", "--connections-max"),
    ("server --data-dir d --log-format=xml", "--log-format"),
    ("server --data-dir d --worker-threads=0", "--worker-threads"),
    ("dev --task-managers=101", "--task-managers"),
    ("dev --port=65536", "--port"),
    ("agent --id ..", "--id"),
    ("agent --id tm --slots=0", "--slots"),
    ("agent --id tm --slots=x", "--slots"),
    ("bench --clients=x", "--clients"),
];

/// Every line that is wrong in one place, with what must be named.
fn lines() -> Vec<(String, &'static str)> {
    let anywhere = RIGHT.iter().flat_map(|right| {
        WRONG_ANYWHERE.iter().map(move |(wrong, named)| (format!("{right} {wrong}"), *named))
    });
    anywhere.chain(WRONG.iter().map(|(line, named)| ((*line).to_owned(), *named))).collect()
}

#[test]
fn a_command_line_that_can_not_be_meant_ends_with_2_and_one_reason() {
    let (lines, folder) = (lines(), tempfile::tempdir().unwrap());
    assert!(lines.len() >= 300, "only {} lines", lines.len());
    for (line, named) in lines {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotkeeper"));
        command.args(line.split(' ')).stdin(Stdio::null()).env_clear().current_dir(folder.path());
        // Nobody is there, so a line that is taken for a right one does nothing.
        command.env("SLOTKEEPER_SERVERS", "127.0.0.1:1");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line:?}: {said}");
        assert_eq!(said.matches("error:").count(), 1, "{line:?}: {said}");
        let reason = said.split("\n\nUsage:").next().unwrap_or_default();
        assert!(reason.contains(named), "{line:?}: `{named}` is not named: {said}");
        assert!(output.stdout.is_empty() && !said.contains("panicked"), "{line:?}: {said}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "a line that was refused left something"
    );
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
