//! A store in a directory of its own, and calls that wait for their acknowledgement.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use slotkeeper::storage::{
    DataDir, DataDirOptions, Disk, Done, Identity, LogEntry, LogOptions, LogStore, RealDisk, StorageError,
};
use uuid::Uuid;

pub use crate::directories::copy_directory;

/// The cluster of every test directory.
pub const CLUSTER: Uuid = Uuid::from_u128(0xc1);
/// The node of every test directory.
pub const NODE: u64 = 7;

/// Options with a small floor and a fixed incarnation.
pub fn directory_options(disk: Arc<dyn Disk>) -> DataDirOptions {
    DataDirOptions { free_space_floor_bytes: Some(0), disk, ..DataDirOptions::new(|| Uuid::from_u128(0x1c)) }
}

/// Opens a directory and gives it its identity if it has none.
pub fn directory(path: &Path) -> DataDir {
    directory_on(path, Arc::new(RealDisk)).unwrap()
}

/// The same on a disk of the test's choice.
pub fn directory_on(path: &Path, disk: Arc<dyn Disk>) -> Result<DataDir, StorageError> {
    let directory = DataDir::open(path, directory_options(disk))?;
    if directory.identity().is_none() {
        directory.save_identity(&Identity {
            cluster_id: CLUSTER,
            node_id: NODE,
            incarnation: directory.incarnation(),
            details: b"details".to_vec(),
        })?;
    }
    Ok(directory)
}

/// Options that keep many test stores small.
pub fn log_options() -> LogOptions {
    LogOptions { cache_bytes: 16 << 20, ..LogOptions::default() }
}

/// Opens directory and log.
pub fn open(path: &Path) -> Result<LogStore, StorageError> {
    LogStore::open(&directory_on(path, Arc::new(RealDisk))?, log_options())
}

/// An entry whose payload is made from its place, so that it can be checked.
pub fn entry(index: u64, term: u64, payload_bytes: usize) -> LogEntry {
    LogEntry { index, term, payload: payload(index, term, payload_bytes) }
}

/// Bytes that depend on the place of the entry.
pub fn payload(index: u64, term: u64, payload_bytes: usize) -> Bytes {
    let seed = index.wrapping_mul(31).wrapping_add(term);
    (0..payload_bytes as u64).map(|place| (seed.wrapping_add(place * 7) % 251) as u8).collect()
}

/// A callback and the end on which its answer arrives.
pub fn answer() -> (Done, mpsc::Receiver<Result<(), StorageError>>) {
    let (sender, receiver) = mpsc::channel();
    (Box::new(move |result| sender.send(result).unwrap_or(())), receiver)
}

/// Calls that return when the request is durable.
pub trait Waiting {
    fn append_now(&self, entries: Vec<LogEntry>) -> Result<(), StorageError>;
    fn vote_now(&self, vote: &[u8]) -> Result<(), StorageError>;
    fn truncate_now(&self, kept: Option<u64>) -> Result<(), StorageError>;
    fn purge_now(&self, index: u64, term: u64) -> Result<(), StorageError>;
}

fn wait(submit: impl FnOnce(Done)) -> Result<(), StorageError> {
    let (done, answer) = answer();
    submit(done);
    answer.recv().expect("every request is answered")
}

impl Waiting for LogStore {
    fn append_now(&self, entries: Vec<LogEntry>) -> Result<(), StorageError> {
        wait(|done| self.append(entries, done))
    }

    fn vote_now(&self, vote: &[u8]) -> Result<(), StorageError> {
        wait(|done| self.save_vote(Bytes::copy_from_slice(vote), done))
    }

    fn truncate_now(&self, kept: Option<u64>) -> Result<(), StorageError> {
        wait(|done| self.truncate_after(kept, done))
    }

    fn purge_now(&self, index: u64, term: u64) -> Result<(), StorageError> {
        wait(|done| self.purge_through(index, term, opaque(index), done))
    }
}

/// What tests hand to a purge.
pub fn opaque(index: u64) -> Bytes {
    Bytes::from(format!("purged through {index}"))
}

/// A directory in memory where there is one: for tests that do not need a disk.
pub fn quick_directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}
