//! Parts of tests that run in a process of their own: this test binary, started again with a role.
//!
//! A writer acknowledges outside the file system under test; an opener reports how opening ended, so that an abort or a
//! hang of the process under test is an outcome and not the end of the test.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use slotkeeper::storage::{Disk, LogStore, RealDisk, SnapshotId, SnapshotStore, StorageError};

use crate::faults;
use crate::script::Script;
use crate::store::{answer, directory_on, log_options};

const ROLE: &str = "SLOTKEEPER_STORAGE_ROLE";
const HOME: &str = "SLOTKEEPER_STORAGE_HOME";
const REPORT: &str = "SLOTKEEPER_STORAGE_REPORT";
const SEED: &str = "SLOTKEEPER_STORAGE_SEED";

/// What a child process is started for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// Writes the script without end.
    Writer,
    /// The same on a disk that only claims to sync.
    LyingWriter,
    /// Writes a part of the script, saves a snapshot now and then, and ends.
    BoundedWriter,
    /// Opens a store and reports the outcome.
    Opener,
}

impl Role {
    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// Starts this binary in a role. The report is a file outside the directory under test.
pub fn start(role: Role, home: &Path, report: &Path, seed: u64) -> Child {
    start_under(&[], role, (home, report), seed)
}

/// The same under another program, such as a tracer.
pub fn start_under(program: &[&str], role: Role, (home, report): (&Path, &Path), seed: u64) -> Child {
    let own = std::env::current_exe().unwrap();
    let mut words = program.iter().map(std::ffi::OsStr::new).chain([own.as_os_str()]);
    Command::new(words.next().expect("at least this binary"))
        .args(words)
        .args(["--exact", "child::plays_its_role_if_it_is_a_child", "--nocapture", "--test-threads", "1"])
        .env(ROLE, role.name())
        .env(HOME, home)
        .env(REPORT, report)
        .env(SEED, seed.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits for a child; one that does not end in time is killed and gives nothing.
pub fn wait(child: &mut Child, at_most: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + at_most;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn plays_its_role_if_it_is_a_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let home = PathBuf::from(std::env::var(HOME).unwrap());
    let report = PathBuf::from(std::env::var(REPORT).unwrap());
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    if role == Role::Opener.name() {
        std::fs::write(report, faults::open_and_describe(&home, seed)).unwrap();
    } else if role == Role::BoundedWriter.name() {
        write_and_end(&home, &report, seed);
    } else if role == Role::LyingWriter.name() {
        write_without_end(&home, &report, seed, Arc::new(LyingDisk));
    } else {
        write_without_end(&home, &report, seed, Arc::new(RealDisk));
    }
}

/// How far a writer came: requests submitted and requests acknowledged.
pub fn progress(report: &Path) -> (u64, u64) {
    let mut numbers = [0; 16];
    if File::open(report).and_then(|file| file.read_exact_at(&mut numbers, 0)).is_err() {
        return (0, 0);
    }
    let (submitted, acknowledged) = numbers.split_at(8);
    (u64::from_le_bytes(submitted.try_into().unwrap()), u64::from_le_bytes(acknowledged.try_into().unwrap()))
}

/// Submits the script with up to 24 requests under way; writes down each number before it submits and after it is told.
fn write_without_end(home: &Path, report: &Path, seed: u64, disk: Arc<dyn Disk>) {
    let report = Arc::new(OpenOptions::new().create(true).truncate(false).write(true).open(report).unwrap());
    report.write_all_at(&[0; 16], 0).unwrap();
    let store = LogStore::open(&directory_on(home, disk).unwrap(), log_options()).unwrap();
    // Each callback frees the place that its request took.
    let (take_place, free_place) = sync_channel(24);
    let free_place = Arc::new(Mutex::new(free_place));
    let mut script = Script::new(seed);
    for submitted in 1_u64.. {
        take_place.send(()).unwrap();
        report.write_all_at(&submitted.to_le_bytes(), 0).unwrap();
        let (report, free_place) = (Arc::clone(&report), Arc::clone(&free_place));
        let acknowledge = move |result: Result<(), StorageError>| {
            result.unwrap();
            report.write_all_at(&submitted.to_le_bytes(), 8).unwrap();
            free_place.lock().unwrap().recv().unwrap();
        };
        script.next_request().submit(&store, Box::new(acknowledge));
    }
}

/// Requests of a bounded writer, and between two of its snapshots.
const BOUND: u64 = 320;
const SNAPSHOT_EVERY: u64 = 40;

/// How many snapshots a bounded writer has saved; each has the next index.
pub fn saved_snapshots(report: &Path) -> u64 {
    let mut number = [0; 8];
    let read = File::open(report).and_then(|file| file.read_exact_at(&mut number, 16));
    read.map_or(0, |()| u64::from_le_bytes(number))
}

/// Submits one request after the other, each after the one before it was acknowledged.
fn write_and_end(home: &Path, report: &Path, seed: u64) {
    let report = OpenOptions::new().create(true).truncate(false).write(true).open(report).unwrap();
    report.write_all_at(&[0; 24], 0).unwrap();
    let directory = directory_on(home, Arc::new(RealDisk)).unwrap();
    let store = LogStore::open(&directory, log_options()).unwrap();
    let snapshots = SnapshotStore::open(&directory).unwrap();
    let mut script = Script::new(seed);
    for submitted in 1..=BOUND {
        report.write_all_at(&submitted.to_le_bytes(), 0).unwrap();
        let (done, acknowledged) = answer();
        script.next_request().submit(&store, done);
        acknowledged.recv().unwrap().unwrap();
        report.write_all_at(&submitted.to_le_bytes(), 8).unwrap();
        if submitted % SNAPSHOT_EVERY == 0 {
            let index = submitted / SNAPSHOT_EVERY;
            let body = vec![7; 300_000];
            snapshots
                .save(SnapshotId { index, term: 1 }, b"meta", &|writer| writer.write_all(&body[..]))
                .unwrap();
            report.write_all_at(&index.to_le_bytes(), 16).unwrap();
        }
    }
}

/// A disk that claims every sync and does none.
#[derive(Debug)]
struct LyingDisk;

impl Disk for LyingDisk {
    fn write_at(&self, file: &File, path: &Path, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        RealDisk.write_at(file, path, offset, bytes)
    }

    fn sync_data(&self, _: &File, _: &Path) -> std::io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> std::io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn free_bytes(&self, path: &Path) -> std::io::Result<u64> {
        RealDisk.free_bytes(path)
    }
}
