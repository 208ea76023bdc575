//! Bytes on disk: the log in sled under a guard, the snapshots in plain files.
//!
//! The room keeps entries, a vote, a committed hint, an identity and snapshots, all opaque bytes to it; it knows
//! neither consensus nor the domain. It promises that what it acknowledged is there after a crash or a power cut, or
//! that opening says what is missing: loss is never silent, and damage is never repaired by cutting. It may use the
//! codec only. Every error is final for the process: nothing is retried.
//!
//! The way through the room: [`DataDir`] locks a directory and knows whose it is; [`LogStore`] opens the log in it;
//! [`SnapshotStore`] keeps snapshots beside it. Tested beside the code and in `tests/storage/`.

mod atomic_file;
mod chain;
mod directory;
mod disk;
mod engine;
mod error;
mod format;
mod identity;
mod image;
mod ledger;
mod log;
mod mirror;
mod queue;
mod record;
mod recovery;
mod snapshot;
mod snapshot_file;
mod space;
mod statistics;
mod stores;
mod tip;
mod watchdog;
mod writer;

/// What threads meet with. `tests/concurrency` includes the queue with a scheduler of its own in this place.
mod sync {
    pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
}

pub use directory::{DataDir, DataDirOptions};
pub use disk::{Disk, RealDisk};
pub use error::{Damage, Quarantine, StorageError};
pub use identity::Identity;
pub use log::{Done, LogBounds, LogEntry, LogOptions, LogStore};
pub use record::RECORD_CAP_BYTES;
pub use snapshot::{IncomingSnapshot, SavedSnapshot, Snapshot, SnapshotId, SnapshotStore, WriteBody};
pub use space::{Space, SpaceState};
pub use statistics::LogStatistics;
pub use stores::{DiskStores, LogStorage, OpenStores, SnapshotStorage, Stores};
#[cfg(fuzzing)]
pub use tip::is_tip;
