//! Figures of a log store.
//!
//! What it promises: counts since the store was opened; nothing is decided by them.

use std::time::Duration;

/// Figures of a log store since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Steps that became durable; each syncs the engine and the tip record once.
    pub syncs: u64,
    /// Bytes of all values written.
    pub written_bytes: u64,
    /// Time of all steps together.
    pub sync_time: Duration,
    /// Time of the longest step.
    pub longest_sync: Duration,
    /// Time of the latest step.
    pub latest_sync: Duration,
    /// Memory of the mirror.
    pub mirror_bytes: usize,
    /// Entries in the mirror.
    pub mirror_entries: usize,
    /// Requests not yet answered.
    pub queue_length: usize,
}

impl LogStatistics {
    pub(super) fn note_sync(&mut self, took: Duration, written_bytes: u64) {
        self.syncs += 1;
        self.written_bytes += written_bytes;
        self.sync_time += took;
        self.latest_sync = took;
        self.longest_sync = self.longest_sync.max(took);
    }
}
