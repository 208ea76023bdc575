//! Notices a disk that hangs.
//!
//! A sync that never returns cannot be interrupted, so a thread beside the writer looks at the age of the step under
//! way. When it is older than the limit, the store has failed: whoever waits gets an error, the fatal channel fires,
//! and should the sync return after all, nothing is acknowledged. Tested in `tests/storage/durability.rs`.

use std::sync::Arc;
use std::time::Duration;

use super::StorageError;
use super::queue::Queue;

/// Watches until the store is closed or has failed.
pub(super) fn watch(queue: &Arc<Queue>, limit: Duration) {
    let pause = (limit / 8).max(Duration::from_millis(1));
    while queue.wait_while_open(pause) {
        if queue.step_age().is_some_and(|age| age > limit) {
            let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let error = StorageError::SyncTooSlow { limit_ms };
            tracing::error!(%error, "the log has failed, nothing is acknowledged any more");
            queue.fail(error, Vec::new());
        }
    }
}
