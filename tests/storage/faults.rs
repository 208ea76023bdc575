//! Single faults below the engine: a closed or killed store whose files are damaged in one place.
//!
//! A fault is a flipped bit, a zeroed page, a truncated file, a page over another, or a page as it was earlier; in the
//! engine's files, the tip, a snapshot or the identity. A process of its own then opens the directory. It must find
//! everything or say that it does not; it must neither lose anything silently nor end in a panic. The table of
//! outcomes is printed. `SLOTKEEPER_STORAGE_FAULTS` sets how many faults (300 if not set).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slotkeeper::storage::{DataDir, Identity, LogStore, RealDisk, SnapshotId, SnapshotStore, StorageError};
use tempfile::TempDir;

use crate::child::{self, Role};
use crate::script::{Dice, Script};
use crate::store::{answer, copy_directory, directory, directory_options, log_options, quick_directory};

const EARLY_REQUESTS: u64 = 700;
const REQUESTS: u64 = 1000;
const SEED: u64 = 42;
const PAGE: usize = 4096;

fn snapshot_body(index: u64) -> Vec<u8> {
    (0..20_000_u64).map(|place| ((place * 13 + index) % 251) as u8).collect()
}

fn later_identity(home: &Path) -> Identity {
    Identity { details: b"later details".to_vec(), ..directory(home).identity().unwrap() }
}

/// Opens directory, log and snapshots and says how that ended. The seed is the script's.
pub fn open_and_describe(home: &Path, seed: u64) -> String {
    match open_all(home, seed) {
        Ok(outcome) => outcome,
        Err(StorageError::Quarantine(quarantine)) => {
            let words: String = quarantine.damage.to_string();
            format!(
                "quarantine: {}",
                words.replace(|letter: char| letter.is_ascii_digit(), "").replace("  ", " ")
            )
        }
        Err(error) => format!("error: {error}"),
    }
}

fn open_all(home: &Path, seed: u64) -> Result<String, StorageError> {
    let directory = DataDir::open(home, directory_options(std::sync::Arc::new(RealDisk)))?;
    let store = LogStore::open(&directory, log_options())?;
    let purged = store.bounds().purged.map(|purged| purged.0);
    let snapshot = SnapshotStore::open(&directory)?.newest(purged)?;
    let mut script = Script::new(seed);
    for _ in 0..REQUESTS {
        script.next_request();
    }
    let is_whole = script.matches(&store)
        && directory.identity().is_some_and(|identity| identity.details == b"later details");
    let body_is_right = snapshot.as_ref().is_some_and(|found| found.body == snapshot_body(found.id.index));
    let is_newest = snapshot.is_some_and(|found| Some(found.id.index) > purged);
    Ok(match (is_whole && body_is_right, is_newest) {
        (true, true) => "intact".to_owned(),
        (true, false) => "intact with the snapshot before".to_owned(),
        (false, _) => "SILENT LOSS".to_owned(),
    })
}

/// The same history three times: some way back, closed in order, and killed at the end.
struct Subjects {
    early: TempDir,
    closed: TempDir,
    killed: TempDir,
}

fn prepare() -> Subjects {
    let subjects =
        Subjects { early: quick_directory(), closed: quick_directory(), killed: quick_directory() };
    let home = subjects.closed.path();
    let mut script = Script::new(SEED);
    write(home, &mut script, EARLY_REQUESTS, subjects.early.path());
    let later = later_identity(home);
    directory(home).save_identity(&later).unwrap();
    write(home, &mut script, REQUESTS - EARLY_REQUESTS, subjects.killed.path());
    subjects
}

/// Writes some requests and a snapshot that the log reaches, copies the directory while it is open, and closes it.
fn write(home: &Path, script: &mut Script, requests: u64, copy: &Path) {
    let directory = directory(home);
    let store = LogStore::open(&directory, log_options()).unwrap();
    for _ in 0..requests {
        let (done, durable) = answer();
        script.next_request().submit(&store, done);
        durable.recv().unwrap().unwrap();
    }
    let snapshots = SnapshotStore::open(&directory).unwrap();
    let bounds = store.bounds();
    let purged = bounds.purged.expect("the script purges");
    for (index, term) in [(purged.0, purged.1), (purged.0 + 10, bounds.last.unwrap().1)] {
        snapshots
            .save(SnapshotId { index, term }, b"meta", &|writer| writer.write_all(&snapshot_body(index)[..]))
            .unwrap();
    }
    copy_directory(home, copy);
    store.shutdown();
}

/// Where a fault hits.
const PLACES: [&str; 6] =
    ["engine file", "engine rest", "tip", "newest snapshot", "older snapshot", "identity"];

fn file_in(home: &Path, place: &str, dice: &mut Dice) -> PathBuf {
    let of_engine = |name: &str| home.join("log").join(name);
    match place {
        "engine file" => of_engine("db"),
        "engine rest" => {
            let mut files: Vec<_> = fs::read_dir(home.join("log"))
                .unwrap()
                .map(|file| file.unwrap().path())
                .filter(|path| path.is_file() && !path.ends_with("db"))
                .collect();
            files.sort();
            files[dice.below(files.len() as u64) as usize].clone()
        }
        "tip" | "identity" => home.join(place),
        _ => {
            let mut files: Vec<_> =
                fs::read_dir(home.join("snapshots")).unwrap().map(|file| file.unwrap().path()).collect();
            files.sort_by_key(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                name.split('-').nth(2).and_then(|index| index.parse::<u64>().ok())
            });
            if place == "newest snapshot" { files.pop().unwrap() } else { files.remove(0) }
        }
    }
}

const FAULTS: [&str; 5] = ["bit flip", "zeroed page", "truncation", "misplaced page", "stale page"];

/// Damages the content in one place; gives false if the fault would change nothing.
fn damage(content: &mut Vec<u8>, earlier: &[u8], fault: &str, dice: &mut Dice) -> bool {
    let before = content.clone();
    let place = dice.below(content.len() as u64) as usize;
    let page = place / PAGE * PAGE;
    let page_end = (page + PAGE).min(content.len());
    match fault {
        "bit flip" => content[place] ^= 1 << dice.below(8),
        "zeroed page" => content[page..page_end].fill(0),
        "truncation" => content.truncate(place),
        "misplaced page" => {
            let other = dice.below(content.len() as u64) as usize / PAGE * PAGE;
            let length = (page_end - page).min(content.len() - other);
            content.copy_within(other..other + length, page);
        }
        _ => {
            let length = page_end.min(earlier.len()).saturating_sub(page);
            if length > 0 {
                content[page..page + length].copy_from_slice(&earlier[page..page + length]);
            }
        }
    }
    *content != before
}

/// Most faults hit the engine's file, which is the largest and the least careful.
fn drawn_place(dice: &mut Dice) -> &'static str {
    PLACES[match dice.below(20) {
        0..11 => 0,
        11 => 1,
        12..16 => 2,
        16 | 17 => 3,
        18 => 4,
        _ => 5,
    }]
}

fn outcome_of(home: &Path, report: &Path) -> String {
    let _ = fs::remove_file(report);
    let mut opener = child::start(Role::Opener, home, report, SEED);
    match child::wait(&mut opener, Duration::from_secs(150)) {
        None => "HANG".to_owned(),
        Some(status) => fs::read_to_string(report).unwrap_or_else(|_| format!("PANIC or abort: {status}")),
    }
}

/// One fault on a copy of a subject; gives the outcome, and that of a second opening if the first refused.
fn try_fault(subjects: &Subjects, fault: &str, place: &str, dice: &mut Dice) -> Option<(String, String)> {
    let room = quick_directory();
    let home = room.path().join("data");
    let subject = if dice.below(2) == 0 { &subjects.closed } else { &subjects.killed };
    copy_directory(subject.path(), &home);
    let file = file_in(&home, place, dice);
    let mut content = fs::read(&file).unwrap();
    let earlier = fs::read(file_in(subjects.early.path(), place, &mut dice.clone())).unwrap_or_default();
    if content.is_empty() || !damage(&mut content, &earlier, fault, dice) {
        return None;
    }
    fs::write(&file, content).unwrap();
    let report = room.path().join("report");
    let first = outcome_of(&home, &report);
    let second = if first == "intact" { first.clone() } else { outcome_of(&home, &report) };
    Some((first, second))
}

#[test]
fn a_single_fault_is_never_silent_and_never_a_panic() {
    let faults = std::env::var("SLOTKEEPER_STORAGE_FAULTS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let subjects = prepare();
    let unharmed = outcome_of(subjects.killed.path(), &subjects.early.path().join("report"));
    assert_eq!(unharmed, "intact");
    let table = std::sync::Mutex::new(BTreeMap::<(String, String), u64>::new());
    let bad = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for lane in 0..2_u64 {
            let (subjects, table, bad) = (&subjects, &table, &bad);
            scope.spawn(move || {
                let mut dice = Dice::new(1000 + lane);
                let mut done = lane;
                while done < faults {
                    let fault = FAULTS[dice.below(5) as usize];
                    let place = drawn_place(&mut dice);
                    let Some((first, second)) = try_fault(subjects, fault, place, &mut dice) else {
                        continue;
                    };
                    done += 2;
                    for outcome in [&first, &second] {
                        if outcome.contains("SILENT") || outcome.contains("PANIC") || outcome.contains("HANG")
                        {
                            bad.lock().unwrap().push(format!("{fault} in {place}: {first}, then {second}"));
                        }
                    }
                    let row = (format!("{fault} in {place}"), first);
                    *table.lock().unwrap().entry(row).or_default() += 1;
                }
            });
        }
    });
    for ((fault, outcome), count) in table.into_inner().unwrap() {
        println!("{count:4}  {fault:32} {outcome}");
    }
    let bad = bad.into_inner().unwrap();
    assert!(bad.is_empty(), "{bad:#?}");
}
