//! Watching that the data directory is still where it was.
//!
//! What it promises: a node whose directory was removed, replaced or hidden by another file system ends within seconds.
//! Files that are open go on taking writes and syncs, and nobody would find them after a restart. What it must not do:
//! look at what is in the directory. Tested in `tests/durability/lost_disk.rs`.

use std::time::Duration;

use crate::storage::{DataDir, StorageError};

/// How often it is looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Looks until the directory is gone, and says so.
pub(super) async fn lost(data_dir: DataDir) -> StorageError {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let looking = data_dir.clone();
        let looked = tokio::task::spawn_blocking(move || looking.check_place()).await;
        if let Ok(Err(error)) = looked {
            return error;
        }
    }
}
