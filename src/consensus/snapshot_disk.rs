//! The snapshots of a node, with their failures told as what they are.
//!
//! What it promises: a disk that refuses a snapshot, or has damaged one, is named as the reason why the node stops, before
//! the engine stops over it. What it must not do: keep the engine from stopping. Tested in `tests/durability/lost_disk.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::errors::StopReason;
use super::start::end;
use crate::storage::{Snapshot, SnapshotId, SnapshotStorage, StorageError, WriteBody};

pub(super) struct SnapshotDisk {
    snapshots: Arc<dyn SnapshotStorage>,
    stop: watch::Sender<Option<StopReason>>,
    failure: watch::Sender<Option<StorageError>>,
    newest_bytes: Arc<AtomicU64>,
}

impl SnapshotDisk {
    /// The snapshots of a node that ends its part in the cluster by `stop`.
    pub(super) fn new(snapshots: Arc<dyn SnapshotStorage>, stop: watch::Sender<Option<StopReason>>) -> Self {
        let (failure, _) = watch::channel(None);
        Self { snapshots, stop, failure, newest_bytes: Arc::default() }
    }

    /// The first failure, known here before the engine can stop over it.
    pub(super) fn failure(&self) -> watch::Receiver<Option<StorageError>> {
        self.failure.subscribe()
    }

    /// Bytes of the newest snapshot that was saved or read.
    pub(super) fn newest_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.newest_bytes)
    }

    fn told<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if let Err(error) = &result {
            self.failure.send_if_modified(|known| known.is_none() && known.replace(error.clone()).is_none());
            end(&self.stop, StopReason::Storage(error.clone()));
        }
        result
    }

    fn note_size(&self, body_bytes: u64) {
        self.newest_bytes.store(body_bytes, Ordering::Relaxed);
    }
}

impl SnapshotStorage for SnapshotDisk {
    fn save(&self, id: SnapshotId, meta: &[u8], write_body: &WriteBody<'_>) -> Result<u64, StorageError> {
        let body_bytes = self.told(self.snapshots.save(id, meta, write_body))?;
        self.note_size(body_bytes);
        Ok(body_bytes)
    }

    fn newest_id(&self) -> Result<Option<SnapshotId>, StorageError> {
        self.told(self.snapshots.newest_id())
    }

    fn newest(&self, log_purged_through: Option<u64>) -> Result<Option<Snapshot>, StorageError> {
        let newest = self.told(self.snapshots.newest(log_purged_through))?;
        if let Some(snapshot) = &newest {
            self.note_size(snapshot.body.len() as u64);
        }
        Ok(newest)
    }
}
