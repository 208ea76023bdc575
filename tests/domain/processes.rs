//! Processes replay one log and print one hash: nothing depends on a hash seed, an address, the environment, or where a
//! replica was given the next batch or the snapshot of another.
//!
//! The test starts its own program twice; a child finds the logs through `SLOTKEEPER_REPLAY_LOG` and where to cut them
//! through `SLOTKEEPER_REPLAY_CUTS`. `SLOTKEEPER_REPLAYS` sets how many logs there are (2,000 if not set).

use std::path::Path;
use std::process::{Child, Command, Stdio};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slotkeeper::codec;
use slotkeeper::domain::{Record, State};
use slotkeeper::replica::{Replica, seal};

use crate::generator::{play, run};

const LOG: &str = "SLOTKEEPER_REPLAY_LOG";
const CUTS: &str = "SLOTKEEPER_REPLAY_CUTS";
const MARK: &str = "replayed:";
/// Logs that are replayed unless the environment says otherwise.
const LOGS: usize = 2_000;

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

/// The same by replicas that get the records as bytes, in batches of random length; after some of them another replica
/// goes on from a snapshot.
fn replayed_in_batches(logs: &[Vec<Record>], cuts: u64) -> String {
    let mut random = StdRng::seed_from_u64(cuts);
    let hashes = logs.iter().map(|log| {
        let mut replica = Replica::new();
        let mut rest = &log[..];
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(random.random_range(1..=rest.len()));
            for record in batch {
                replica.apply(&seal(record)).unwrap();
            }
            rest = later;
            if random.random_ratio(1, 2) {
                let body = replica.snapshot().encode().unwrap();
                replica = Replica::new();
                replica.install(&body).unwrap();
            }
        }
        replica.state_hash().1.to_string()
    });
    hashes.collect::<Vec<_>>().join(",")
}

#[test]
fn a_child_process_prints_its_hashes() {
    let Some(path) = std::env::var_os(LOG) else { return };
    let bytes = std::fs::read(path).unwrap();
    let logs: Vec<Vec<Record>> = codec::decode(&bytes, bytes.len()).unwrap();
    let cuts = std::env::var(CUTS).unwrap().parse().unwrap();
    println!("{MARK}{}", replayed_in_batches(&logs, cuts));
}

fn start_child(log: &Path, cuts: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::a_child_process_prints_its_hashes", "--nocapture"])
        .env(LOG, log)
        .env(CUTS, cuts.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn hashes_of(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = text.split_once(MARK).unwrap_or_else(|| panic!("no hash in {text}"));
    rest.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn processes_replay_a_log_to_the_same_hash_however_it_is_cut_into_batches() {
    let count = std::env::var("SLOTKEEPER_REPLAYS").ok().and_then(|count| count.parse().ok()).unwrap_or(LOGS);
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let logs: Vec<_> =
        (0..count).map(|_| play(&run(60).new_tree(&mut runner).unwrap().current()).unwrap().log).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs");
    std::fs::write(&path, codec::encode(&logs).unwrap()).unwrap();
    let children = [1, 2].map(|cuts| start_child(&path, cuts));
    let expected = replayed(&logs);
    for (cuts, child) in children.into_iter().enumerate() {
        let found = hashes_of(child);
        let differing =
            expected.split(',').zip(found.split(',')).position(|(expected, found)| expected != found);
        assert_eq!(differing, None, "log number with the cuts {}", cuts + 1);
        assert_eq!(found, expected);
    }
}
