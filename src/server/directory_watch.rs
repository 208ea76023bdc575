//! Watching that the data directory is still where it was.
//!
//! What it promises: a node whose directory was removed, replaced or hidden by another file system ends within seconds.
//! Files that are open go on taking writes and syncs, and nobody would find them after a restart. It knows the
//! directory by its lock, so a lock that is removed counts as well. What it must not do: take a file system that does not
//! answer for a moment for a loss, or look at anything else in the directory. Tested in `tests/durability/lost_disk.rs`.

use std::io;
use std::time::Duration;

use crate::storage::{DataDir, StorageError};

/// How often it is looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Looks in a row that may fail for another reason than that it is gone: a file system that does not answer for a moment
/// is no loss.
const FAILED_LOOKS_MAX: u32 = 10;

/// Looks until the directory is gone, and says so.
pub(super) async fn lost(data_dir: DataDir) -> StorageError {
    let mut failed_looks = 0;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let looking = data_dir.clone();
        let looked = tokio::task::spawn_blocking(move || looking.check_place()).await;
        let Ok(Err(error)) = looked else {
            failed_looks = 0;
            continue;
        };
        failed_looks += 1;
        if is_gone(&error) || failed_looks > FAILED_LOOKS_MAX {
            return error;
        }
        tracing::warn!(%error, failed_looks, "the data directory can not be looked at");
    }
}

fn is_gone(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { kind: io::ErrorKind::NotFound, .. })
}
