//! A process that is killed at a system call of its own, one after the other: opening, votes, appends, truncations, purges
//! and snapshots end at every kind of call that changes files.
//!
//! `strace` delivers the kill at the n-th call of one kind; it counts per thread, so one number stands for a few places.
//! `SLOTKEEPER_CRASH_POINTS=1500` tries so many numbers of each kind instead of the thirty that are spread here.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use slotkeeper::storage::SnapshotStore;

use crate::child::{self, Role};
use crate::script::requests_in;
use crate::store::{directory, open, quick_directory};

/// Every kind of call with which the storage room changes files.
const CALLS: [&str; 8] =
    ["pwrite64", "write", "fdatasync", "fsync", "sync_file_range", "rename", "unlink", "openat"];
/// The numbers of the call at which the process is killed: close together where files begin, farther apart later.
const NUMBERS: [u64; 30] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 24, 29, 35, 42, 50, 60, 72, 86, 103, 124, 149, 179, 215,
    258, 310, 372,
];
/// How many points there are at least.
const POINTS_MIN: usize = 150;
/// Long enough for a loaded machine.
const AT_MOST: Duration = Duration::from_secs(60);

fn numbers() -> Vec<u64> {
    match std::env::var("SLOTKEEPER_CRASH_POINTS").ok().and_then(|count| count.parse().ok()) {
        Some(count) => (1..=count).collect(),
        None => NUMBERS.to_vec(),
    }
}

pub fn strace_is_here() -> bool {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    let is_known = std::env::var("SLOTKEEPER_WITHOUT_STRACE").is_ok_and(|value| value == "1");
    assert!(
        is_known,
        "`strace` is missing: run `tests/run`, or set SLOTKEEPER_WITHOUT_STRACE=1 to go without"
    );
    eprintln!("without strace this test proves nothing; SLOTKEEPER_WITHOUT_STRACE=1 asked for it");
    false
}

/// Kills a writer at call number `number`; gives whether it came that far.
fn is_killed_and_opens_again(call: &str, number: u64) -> bool {
    let room = quick_directory();
    let (home, report) = (room.path().join("data"), room.path().join("report"));
    let seed = number;
    let inject = format!("inject={call}:signal=SIGKILL:when={number}");
    let trace = format!("trace={call}");
    let tracer = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let mut writer = child::start_under(&tracer, Role::BoundedWriter, (&home, &report), seed);
    let status = child::wait(&mut writer, AT_MOST).expect("the writer ends");
    let (submitted, acknowledged) = child::progress(&report);
    let place = format!("{call} number {number}, {acknowledged} to {submitted} requests");
    let store = open(&home).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(
        requests_in(&store, seed, acknowledged, submitted).is_some(),
        "{place}: not the state after them"
    );
    store.shutdown();
    check_snapshots(&home, &report, &place);
    !status.success()
}

fn check_snapshots(home: &Path, report: &Path, place: &str) {
    let saved = child::saved_snapshots(report);
    let snapshots = SnapshotStore::open(&directory(home)).unwrap_or_else(|error| panic!("{place}: {error}"));
    let newest = snapshots.newest(None).unwrap_or_else(|error| panic!("{place}: {error}"));
    let found = newest.map_or(0, |snapshot| snapshot.id.index);
    assert!(found == saved || found == saved + 1, "{place}: snapshot {saved} was saved, {found} is there");
}

#[test]
fn a_process_that_is_killed_at_a_system_call_leaves_what_it_acknowledged() {
    if !strace_is_here() {
        return;
    }
    let mut points = 0;
    for call in CALLS {
        let killed =
            numbers().into_iter().take_while(|number| is_killed_and_opens_again(call, *number)).count();
        assert!(killed > 0, "no {call} was ever made: the list is wrong");
        println!("{call}: killed at {killed} places");
        points += killed;
    }
    assert!(points >= POINTS_MIN, "only {points} points: the writer makes fewer calls than it did");
}
