//! Processes that are killed at any moment, and processes that come second.
//!
//! A kill leaves the page cache as it is, so this proves nothing about syncs; it proves that no moment leaves files
//! behind that cannot be opened.

use std::time::{Duration, Instant};

use crate::child::{self, Role};
use crate::script::{Dice, requests_in};
use crate::store::{open, quick_directory};

#[test]
fn a_writer_killed_at_any_moment_loses_nothing_acknowledged() {
    for seed in 0..12_u64 {
        let room = quick_directory();
        let (home, report) = (room.path().join("data"), room.path().join("report"));
        let mut writer = child::start(Role::Writer, &home, &report, seed);
        let wanted = Dice::new(seed).below(400) * seed / 6;
        let deadline = Instant::now() + Duration::from_secs(60);
        while child::progress(&report).1 < wanted {
            assert!(Instant::now() < deadline, "the writer does not come to {wanted}");
            std::thread::yield_now();
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        let (submitted, acknowledged) = child::progress(&report);
        let store = open(&home).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found = requests_in(&store, seed, acknowledged, submitted);
        assert!(found.is_some(), "seed {seed}: not the state after {acknowledged} to {submitted} requests");
    }
}

#[test]
fn kills_while_opening_do_no_harm() {
    let room = quick_directory();
    let (home, report) = (room.path().join("data"), room.path().join("report"));
    let mut writer = child::start(Role::Writer, &home, &report, 5);
    let deadline = Instant::now() + Duration::from_secs(60);
    while child::progress(&report).1 < 1500 {
        assert!(Instant::now() < deadline, "the writer is too slow");
        std::thread::yield_now();
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    let (submitted, acknowledged) = child::progress(&report);
    let mut dice = Dice::new(9);
    for _ in 0..40 {
        let mut opener = child::start(Role::Opener, &home, &room.path().join("outcome"), 5);
        std::thread::sleep(Duration::from_millis(dice.below(40)));
        opener.kill().unwrap();
        opener.wait().unwrap();
    }
    let store = open(&home).unwrap();
    assert!(requests_in(&store, 5, acknowledged, submitted).is_some());
}

#[test]
fn what_a_kill_leaves_of_an_engine_snapshot_is_removed() {
    let room = quick_directory();
    open(room.path()).unwrap().shutdown();
    let unfinished = room.path().join("log/snap.00000000000000FF.generating");
    std::fs::write(&unfinished, b"half").unwrap();
    open(room.path()).unwrap().shutdown();
    assert!(!unfinished.exists());
}

#[test]
fn a_second_process_is_refused() {
    let room = quick_directory();
    let home = room.path().join("data");
    let store = open(&home).unwrap();
    let report = room.path().join("report");
    let mut opener = child::start(Role::Opener, &home, &report, 0);
    child::wait(&mut opener, Duration::from_secs(60)).unwrap();
    let outcome = std::fs::read_to_string(&report).unwrap();
    assert!(outcome.starts_with("error") && outcome.contains("in use by another process"), "{outcome}");
    store.shutdown();
}
