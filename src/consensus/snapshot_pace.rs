//! When this node takes a snapshot.
//!
//! What it promises: not before a number of entries; not before the entries behind the newest snapshot cost as much to go
//! through again as that snapshot does, so that snapshots cost no more than what they save; and, whatever they cost, before the
//! entries, all of which are in memory, take too much of it. What it must not do: build a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::time::sleep;

use super::types::Raft;
use crate::storage::LogStorage;

/// Between two looks at the log, each of which costs next to nothing.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Looks after which a snapshot that was asked for is asked for again.
const LOOKS_MAX: u32 = 100;
/// Bytes of entries behind the newest snapshot that call for another one, however few they are and however large it is.
const LOG_BYTES_MAX: u64 = 64 << 20;
/// What it costs to go through an entry again, beside its bytes: as much as so many bytes of a snapshot.
const ENTRY_COST_BYTES: u64 = 1 << 10;

/// What decides when a snapshot is taken.
pub(super) struct SnapshotPace {
    pub(super) raft: Raft,
    pub(super) store: Arc<dyn LogStorage>,
    /// Bytes of the newest snapshot.
    pub(super) newest_bytes: Arc<AtomicU64>,
    /// Entries behind the newest snapshot that call for another one at the earliest.
    pub(super) entries_min: u64,
}

/// The entries behind the newest snapshot.
#[derive(Debug, Clone, Copy)]
struct Behind {
    entries: u64,
    bytes: u64,
}

impl SnapshotPace {
    /// Asks for snapshots until the engine ends.
    pub(super) async fn run(self) {
        loop {
            sleep(LOOK_EVERY).await;
            let newest_bytes = self.newest_bytes.load(Ordering::Relaxed);
            if !self.behind().calls_for_another(newest_bytes, self.entries_min) {
                continue;
            }
            let before = self.newest();
            if self.raft.trigger().snapshot().await.is_err() {
                return;
            }
            for _ in 0..LOOKS_MAX {
                if self.newest() != before {
                    break;
                }
                sleep(LOOK_EVERY).await;
            }
        }
    }

    /// The index of the newest snapshot.
    fn newest(&self) -> Option<u64> {
        self.raft.metrics().borrow_watched().snapshot.map(|id| id.index)
    }

    fn behind(&self) -> Behind {
        let last = self.raft.metrics().borrow_watched().last_applied.map(|id| id.index);
        let statistics = self.store.statistics();
        let in_memory = u64::try_from(statistics.mirror_entries).unwrap_or(u64::MAX).max(1);
        let bytes_each = u64::try_from(statistics.mirror_bytes).unwrap_or(u64::MAX) / in_memory;
        let entries = last.map_or(0, |last| last.saturating_sub(self.newest().unwrap_or_default()));
        Behind { entries, bytes: entries.saturating_mul(bytes_each) }
    }
}

impl Behind {
    fn calls_for_another(self, newest_bytes: u64, entries_min: u64) -> bool {
        let cost = self.bytes.saturating_add(self.entries.saturating_mul(ENTRY_COST_BYTES));
        self.bytes > LOG_BYTES_MAX || (self.entries >= entries_min && cost >= newest_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn calls(entries: u64, bytes: u64, newest_bytes: u64) -> bool {
        Behind { entries, bytes }.calls_for_another(newest_bytes, 5_000)
    }

    #[test]
    fn a_small_state_is_written_after_a_number_of_entries() {
        assert!(!calls(4_999, MIB, 0));
        assert!(calls(5_000, MIB, 0));
        assert!(calls(5_000, MIB, 2 * MIB));
    }

    #[test]
    fn a_large_state_waits_until_the_entries_cost_as_much() {
        assert!(!calls(5_000, 20 * MIB, 200 * MIB));
        assert!(calls(180_000, 30 * MIB, 200 * MIB), "many small entries cost too");
    }

    #[test]
    fn entries_that_take_much_memory_do_not_wait() {
        assert!(calls(10, 65 * MIB, 200 * MIB));
        assert!(!calls(10, 64 * MIB, 0));
    }
}
