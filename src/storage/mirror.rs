//! The whole live log in memory, from which every read is answered.
//!
//! The mirror is ahead of the disk: what is appended is readable at once and durable later. It checks that requests
//! make sense, so that nothing nonsensical reaches the disk, and does nothing else. Tested below.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{LogBounds, LogEntry, StorageError};

/// What an entry takes beside its payload.
const ENTRY_BYTES: usize = std::mem::size_of::<LogEntry>();

/// The live log, as far as it is known to this process.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    purged: Option<(u64, u64, Bytes)>,
    entries: VecDeque<LogEntry>,
    bytes: usize,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
}

/// What was read at open, to start from.
pub(super) struct MirrorStart {
    pub(super) purged: Option<(u64, u64, Bytes)>,
    pub(super) entries: VecDeque<LogEntry>,
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
}

impl Mirror {
    pub(super) fn new(start: MirrorStart) -> Mirror {
        let bytes = start.entries.iter().map(bytes_of).sum();
        Mirror {
            purged: start.purged,
            entries: start.entries,
            bytes,
            vote: start.vote,
            committed: start.committed,
        }
    }

    pub(super) fn bounds(&self) -> LogBounds {
        let last = self.entries.back().map(|entry| (entry.index, entry.term));
        let purged = self.purged.as_ref().map(|(index, term, _)| (*index, *term));
        LogBounds { purged: self.purged.clone(), last: last.or(purged) }
    }

    pub(super) fn vote(&self) -> Option<Bytes> {
        self.vote.clone()
    }

    pub(super) fn committed(&self) -> Option<Bytes> {
        self.committed.clone()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn entry_count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn set_vote(&mut self, vote: Bytes) {
        self.vote = Some(vote);
    }

    pub(super) fn set_committed(&mut self, committed: Bytes) {
        self.committed = Some(committed);
    }

    /// Entries of `from..until` that are there; at least one if any is, and no more once `limit_bytes` is reached.
    pub(super) fn entries(
        &self,
        from: u64,
        until: u64,
        limit_bytes: Option<usize>,
    ) -> Result<Vec<LogEntry>, StorageError> {
        if from > until {
            return Err(StorageError::refused(format!("the range of entries {from}..{until} is reversed")));
        }
        let Some(first) = self.entries.front().map(|entry| entry.index) else { return Ok(Vec::new()) };
        let begin = self.place(from.max(first));
        let end = self.place(until.max(first)).max(begin);
        let mut taken_bytes = 0;
        let mut taken = Vec::new();
        for entry in self.entries.range(begin..end) {
            taken_bytes += entry.payload.len();
            if !taken.is_empty() && limit_bytes.is_some_and(|limit| taken_bytes > limit) {
                break;
            }
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    /// The place of an index in the queue, at most its end.
    fn place(&self, index: u64) -> usize {
        let first = self.entries.front().map_or(0, |entry| entry.index);
        usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX).min(self.entries.len())
    }

    /// Takes entries in that follow the last one and each other.
    pub(super) fn append(&mut self, entries: &[LogEntry]) -> Result<(), StorageError> {
        let mut expected = self.bounds().last.map(|(index, _)| index + 1);
        for entry in entries {
            if expected.is_some_and(|expected| entry.index != expected) || entry.index == u64::MAX {
                let reason =
                    format!("entry {} does not follow the end of the log, {expected:?}", entry.index);
                return Err(StorageError::refused(reason));
            }
            expected = Some(entry.index + 1);
        }
        self.bytes += entries.iter().map(bytes_of).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
        Ok(())
    }

    /// Drops entries after `kept`, or all of them.
    pub(super) fn truncate_after(&mut self, kept: Option<u64>) -> Result<(), StorageError> {
        if let (Some(kept), Some((purged, _, _))) = (kept, &self.purged)
            && kept < *purged
        {
            let reason = format!("the log cannot be cut after {kept}: it is purged through {purged}");
            return Err(StorageError::refused(reason));
        }
        while self.entries.back().is_some_and(|last| kept.is_none_or(|kept| last.index > kept)) {
            if let Some(dropped) = self.entries.pop_back() {
                self.bytes -= bytes_of(&dropped);
            }
        }
        Ok(())
    }

    /// Drops entries up to `index`; gives false if the log is purged that far already.
    pub(super) fn purge_through(
        &mut self,
        index: u64,
        term: u64,
        opaque: &Bytes,
    ) -> Result<bool, StorageError> {
        if self.purged.as_ref().is_some_and(|(purged, _, _)| *purged >= index) {
            return Ok(false);
        }
        let known = self.entries.get(self.place(index)).filter(|entry| entry.index == index);
        if let Some(known) = known
            && known.term != term
        {
            let reason = format!("entry {index} has term {}, it cannot be purged as term {term}", known.term);
            return Err(StorageError::refused(reason));
        }
        while self.entries.front().is_some_and(|entry| entry.index <= index) {
            if let Some(dropped) = self.entries.pop_front() {
                self.bytes -= bytes_of(&dropped);
            }
        }
        self.purged = Some((index, term, opaque.clone()));
        Ok(true)
    }
}

fn bytes_of(entry: &LogEntry) -> usize {
    entry.payload.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(indexes: std::ops::RangeInclusive<u64>) -> Vec<LogEntry> {
        indexes.map(|index| LogEntry { index, term: 1, payload: Bytes::from(vec![0; 10]) }).collect()
    }

    fn mirror_of(indexes: std::ops::RangeInclusive<u64>) -> Mirror {
        let mut mirror = Mirror::default();
        mirror.append(&entries(indexes)).unwrap();
        mirror
    }

    fn indexes(mirror: &Mirror, from: u64, until: u64, limit_bytes: Option<usize>) -> Vec<u64> {
        mirror.entries(from, until, limit_bytes).unwrap().iter().map(|entry| entry.index).collect()
    }

    #[test]
    fn a_range_gives_what_is_there_and_a_reversed_range_is_an_error() {
        let mirror = mirror_of(5..=9);
        assert_eq!(indexes(&mirror, 0, 7, None), [5, 6]);
        assert_eq!(indexes(&mirror, 8, 100, None), [8, 9]);
        assert_eq!(indexes(&mirror, 10, 100, None), [0; 0]);
        assert_eq!(indexes(&mirror, 0, 3, None), [0; 0]);
        assert_eq!(indexes(&mirror, 0, u64::MAX, None).len(), 5);
        assert!(mirror.entries(7, 6, None).is_err());
    }

    #[test]
    fn a_byte_limit_cuts_but_never_to_nothing() {
        let mirror = mirror_of(1..=5);
        assert_eq!(indexes(&mirror, 1, 6, Some(25)), [1, 2]);
        assert_eq!(indexes(&mirror, 1, 6, Some(30)), [1, 2, 3]);
        assert_eq!(indexes(&mirror, 1, 6, Some(0)), [1]);
    }

    #[test]
    fn entries_must_follow_the_end() {
        let mut mirror = mirror_of(1..=3);
        assert!(mirror.append(&entries(5..=6)).is_err());
        assert!(mirror.append(&entries(3..=3)).is_err());
        assert!(mirror.append(&[entries(4..=4), entries(6..=6)].concat()).is_err());
        assert_eq!(mirror.bounds().last, Some((3, 1)));
        mirror.append(&entries(4..=5)).unwrap();
        assert_eq!(mirror.bounds().last, Some((5, 1)));
    }

    #[test]
    fn purging_beyond_the_end_empties_the_log_and_moves_it() {
        let mut mirror = mirror_of(1..=3);
        assert!(mirror.purge_through(10, 2, &Bytes::new()).unwrap());
        assert_eq!(mirror.bounds().last, Some((10, 2)));
        assert_eq!(mirror.bytes(), 0);
        assert!(!mirror.purge_through(10, 2, &Bytes::new()).unwrap());
        mirror.append(&entries(11..=12)).unwrap();
        assert!(mirror.truncate_after(Some(9)).is_err());
        mirror.truncate_after(Some(10)).unwrap();
        assert_eq!(mirror.bounds().last, Some((10, 2)));
    }

    #[test]
    fn an_entry_is_not_purged_under_another_term() {
        let mut mirror = mirror_of(1..=3);
        assert!(mirror.purge_through(2, 9, &Bytes::new()).is_err());
        assert_eq!(mirror.bounds().purged, None);
    }
}
