//! What consensus needs of the disk, as traits: a seam, so that a simulated disk can take the place of sled and files.
//!
//! What it promises: the contracts of [`LogStore`] and [`SnapshotStore`], which are the implementations that ship. What it
//! must not do: add behaviour. Tested through both.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    DataDir, Done, LogBounds, LogEntry, LogOptions, LogStatistics, LogStore, Snapshot, SnapshotId,
    SnapshotStore, StorageError, WriteBody,
};

/// The log of a node; see [`LogStore`] for what each method promises.
pub trait LogStorage: Send + Sync {
    fn bounds(&self) -> LogBounds;
    fn vote(&self) -> Option<Bytes>;
    fn committed(&self) -> Option<Bytes>;
    fn entries(
        &self,
        from: u64,
        until: u64,
        limit_bytes: Option<usize>,
    ) -> Result<Vec<LogEntry>, StorageError>;
    fn append(&self, entries: Vec<LogEntry>, done: Done);
    fn save_vote(&self, vote: Bytes, done: Done);
    fn save_committed(&self, committed: Bytes);
    fn truncate_after(&self, kept: Option<u64>, done: Done);
    fn purge_through(&self, index: u64, term: u64, opaque: Bytes, done: Done);
    fn fatal(&self) -> watch::Receiver<Option<StorageError>>;
    fn statistics(&self) -> LogStatistics;
    /// Finishes what was submitted and lets go of the disk. Blocks.
    fn close(&self);
}

/// The snapshots of a node; see [`SnapshotStore`] for what each method promises.
pub trait SnapshotStorage: Send + Sync {
    /// Gives the length of the body.
    fn save(&self, id: SnapshotId, meta: &[u8], write_body: &WriteBody<'_>) -> Result<u64, StorageError>;
    /// The newest by name; its content is not looked at.
    fn newest_id(&self) -> Result<Option<SnapshotId>, StorageError>;
    fn newest(&self, log_purged_through: Option<u64>) -> Result<Option<Snapshot>, StorageError>;
}

/// Log and snapshots of one directory.
pub type OpenStores = (Arc<dyn LogStorage>, Arc<dyn SnapshotStorage>);

/// Where a node's log and snapshots are.
pub trait Stores: Send + Sync {
    /// Opens what belongs to a directory that has an identity. Blocks.
    ///
    /// # Errors
    /// As [`LogStore::open`] and [`SnapshotStore::open`].
    fn open(&self, directory: &DataDir) -> Result<OpenStores, StorageError>;
}

/// Sled and files in the data directory itself.
#[derive(Debug, Clone, Default)]
pub struct DiskStores {
    /// How the log is kept.
    pub log: LogOptions,
}

impl Stores for DiskStores {
    fn open(&self, directory: &DataDir) -> Result<OpenStores, StorageError> {
        let log = LogStore::open(directory, self.log.clone())?;
        Ok((Arc::new(log), Arc::new(SnapshotStore::open(directory)?)))
    }
}

impl LogStorage for LogStore {
    fn bounds(&self) -> LogBounds {
        self.bounds()
    }

    fn vote(&self) -> Option<Bytes> {
        self.vote()
    }

    fn committed(&self) -> Option<Bytes> {
        self.committed()
    }

    fn entries(
        &self,
        from: u64,
        until: u64,
        limit_bytes: Option<usize>,
    ) -> Result<Vec<LogEntry>, StorageError> {
        self.entries(from, until, limit_bytes)
    }

    fn append(&self, entries: Vec<LogEntry>, done: Done) {
        self.append(entries, done);
    }

    fn save_vote(&self, vote: Bytes, done: Done) {
        self.save_vote(vote, done);
    }

    fn save_committed(&self, committed: Bytes) {
        self.save_committed(committed);
    }

    fn truncate_after(&self, kept: Option<u64>, done: Done) {
        self.truncate_after(kept, done);
    }

    fn purge_through(&self, index: u64, term: u64, opaque: Bytes, done: Done) {
        self.purge_through(index, term, opaque, done);
    }

    fn fatal(&self) -> watch::Receiver<Option<StorageError>> {
        self.fatal()
    }

    fn statistics(&self) -> LogStatistics {
        self.statistics()
    }

    fn close(&self) {
        self.clone().shutdown();
    }
}

impl SnapshotStorage for SnapshotStore {
    fn save(&self, id: SnapshotId, meta: &[u8], write_body: &WriteBody<'_>) -> Result<u64, StorageError> {
        self.save(id, meta, write_body).map(|saved| saved.body_bytes)
    }

    fn newest_id(&self) -> Result<Option<SnapshotId>, StorageError> {
        Ok(self.list()?.first().map(|(newest, _)| *newest))
    }

    fn newest(&self, log_purged_through: Option<u64>) -> Result<Option<Snapshot>, StorageError> {
        self.newest(log_purged_through)
    }
}
