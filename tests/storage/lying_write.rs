//! Writes that the kernel claims to have made and has not: the next opening finds what is missing, or nothing is.
//!
//! `strace` leaves one `pwrite64` of a writer out and returns that it wrote so many bytes; the writer puts the rest behind
//! them, as it would after a short write. It counts per thread, so one number stands for a few places. Syncs succeed.

use std::collections::BTreeMap;
use std::time::Duration;

use slotkeeper::storage::StorageError;

use crate::child::{self, Role};
use crate::crash_points::strace_is_here;
use crate::script::requests_in;
use crate::store::{open, quick_directory};

/// Which files are lied about, how many bytes are claimed, which is less than any write there has, and at which call of one
/// thread.
const LIES: [(&str, u64, &[u64]); 2] = [
    ("log/db", 16, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20]),
    ("tip", 256, &[1, 2, 3, 50, 200, 310]),
];
/// Long enough for a loaded machine.
const AT_MOST: Duration = Duration::from_secs(60);

/// Lets one call of a writer lie; gives what came of it, or nothing if no thread came so far.
fn lie(file: &str, claimed_bytes: u64, number: u64) -> Option<String> {
    let room = quick_directory();
    let (home, report, trace) =
        (room.path().join("data"), room.path().join("report"), room.path().join("trace"));
    let inject = format!("inject=pwrite64:retval={claimed_bytes}:when={number}");
    let file = home.join(file);
    let (file, output) = (file.to_str().unwrap(), trace.to_str().unwrap());
    let tracer = ["strace", "-f", "-qq", "-o", output, "-P", file, "-e", "trace=pwrite64", "-e", &inject];
    let mut writer = child::start_under(&tracer, Role::BoundedWriter, (&home, &report), number);
    child::wait(&mut writer, AT_MOST).expect("the writer ends");
    if !std::fs::read_to_string(&trace).unwrap().contains("(INJECTED)") {
        return None;
    }
    let (submitted, acknowledged) = child::progress(&report);
    Some(match open(&home) {
        Err(StorageError::Quarantine(quarantine)) => {
            quarantine.damage.to_string().replace(|letter: char| letter.is_ascii_digit(), "")
        }
        Err(error) => format!("UNNAMED {error}"),
        Ok(store) => {
            let is_whole = requests_in(&store, number, acknowledged, submitted).is_some();
            store.shutdown();
            if is_whole { "nothing is missing" } else { "SILENT LOSS" }.to_owned()
        }
    })
}

#[test]
fn a_write_that_was_only_claimed_is_never_missed_in_silence() {
    if !strace_is_here() {
        return;
    }
    let mut outcomes: BTreeMap<String, Vec<(&str, u64)>> = BTreeMap::new();
    for (file, claimed_bytes, numbers) in LIES {
        for number in numbers {
            let Some(outcome) = lie(file, claimed_bytes, *number) else { break };
            outcomes.entry(outcome).or_default().push((file, *number));
        }
    }
    println!("{outcomes:#?}");
    let is_bad = |outcome: &&String| outcome.contains("SILENT") || outcome.contains("UNNAMED");
    assert_eq!(outcomes.keys().find(is_bad), None, "{outcomes:#?}");
    let found: usize = outcomes
        .iter()
        .filter(|(outcome, _)| *outcome != "nothing is missing")
        .map(|(_, lies)| lies.len())
        .sum();
    assert!(found >= 3, "hardly any lie did harm, so this proves nothing: {outcomes:#?}");
}
