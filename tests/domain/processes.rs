//! Two processes replay one log and print one hash: nothing depends on a hash seed, an address or the environment.
//!
//! The test starts its own program twice; a child finds the log through `SLOTKEEPER_REPLAY_LOG`.

use std::path::Path;
use std::process::Command;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use slotkeeper::codec;
use slotkeeper::domain::{Record, State};

use crate::generator::{play, run};

const LOG: &str = "SLOTKEEPER_REPLAY_LOG";
const MARK: &str = "replayed:";

/// The hashes after each of the logs, as one line.
fn replayed(logs: &[Vec<Record>]) -> String {
    let hashes = logs.iter().map(|log| {
        let mut state = State::new();
        for record in log {
            state.apply(record);
        }
        state.hash().to_string()
    });
    hashes.collect::<Vec<_>>().join(",")
}

#[test]
fn a_child_process_prints_its_hashes() {
    let Some(path) = std::env::var_os(LOG) else { return };
    let bytes = std::fs::read(path).unwrap();
    let logs: Vec<Vec<Record>> = codec::decode(&bytes, bytes.len()).unwrap();
    println!("{MARK}{}", replayed(&logs));
}

fn hashes_of_a_child(log: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::a_child_process_prints_its_hashes", "--nocapture"])
        .env(LOG, log)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = text.split_once(MARK).unwrap_or_else(|| panic!("no hash in {text}"));
    rest.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn two_processes_replay_a_log_to_the_same_hash() {
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let logs: Vec<_> =
        (0..40).map(|_| play(&run(60).new_tree(&mut runner).unwrap().current()).unwrap().log).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs");
    std::fs::write(&path, codec::encode(&logs).unwrap()).unwrap();
    let expected = replayed(&logs);
    assert_eq!(hashes_of_a_child(&path), expected);
    assert_eq!(hashes_of_a_child(&path), expected);
}
