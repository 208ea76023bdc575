//! The log store as the Raft engine wants it, over the one of `storage`.
//!
//! What it promises: the engine hears that entries are durable only after they are; a vote is durable before
//! `save_vote` returns and keeps its place between the appends; a present entry is never left out of a range; nothing
//! here retries or repairs. What it must not do: hold state of its own. The engine's own test suite runs against it
//! in `tests/consensus/suite.rs`, fresh and reopened.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::entry_bytes::{from_stored, to_stored};
use super::types::{Entry, LogId, TypeConfig, Vote, log_id};
use crate::codec;
use crate::storage::{Done, LogEntry, LogStorage, StorageError};

/// Bytes of entries that are handed to replication at once; one entry may overshoot it.
const REPLICATION_BATCH_BYTES: usize = 1 << 20;

/// The log of this node. Clones share it.
#[derive(Clone)]
pub struct LogAdapter {
    store: Arc<dyn LogStorage>,
}

impl LogAdapter {
    /// Lets the engine use `store`.
    pub fn new(store: Arc<dyn LogStorage>) -> Self {
        Self { store }
    }

    fn read(&self, from: u64, until: u64, limit_bytes: Option<usize>) -> io::Result<Vec<Entry>> {
        let stored: Vec<LogEntry> = self.store.entries(from, until, limit_bytes)?;
        stored.into_iter().map(from_stored).collect()
    }
}

impl RaftLogReader<TypeConfig> for LogAdapter {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, until) = half_open(&range);
        self.read(from, until, None)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        decoded(self.store.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, Some(REPLICATION_BATCH_BYTES))
    }
}

impl RaftLogStorage<TypeConfig> for LogAdapter {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let bounds = self.store.bounds();
        let last_purged_log_id = bounds.purged.map(|(index, term, _)| log_id(term, index));
        let last_log_id = bounds.last.map(|(index, term)| log_id(term, index));
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = encoded(vote);
        self.durably(|store, done| store.save_vote(vote, done)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.store.save_committed(encoded(&committed));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let hint = decoded::<Option<LogId>>(self.store.committed())?.flatten();
        // A crash between two writes of one step can leave the hint on the disk and take the entry that it names. What is
        // left of the log comes before that entry, so it is committed; the engine would not start over the rest.
        let last = self.store.bounds().last.map(|(index, term)| log_id(term, index));
        Ok(hint.min(last))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let stored = entries.into_iter().map(|entry| to_stored(&entry)).collect();
        self.store.append(stored, Box::new(|result| callback.io_completed(result.map_err(io::Error::from))));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let kept = last_log_id.map(|log_id| log_id.index);
        self.durably(|store, done| store.truncate_after(kept, done)).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let term = log_id.leader_id.term;
        self.durably(|store, done| store.purge_through(log_id.index, term, Bytes::new(), done)).await
    }
}

impl LogAdapter {
    /// Submits a request and waits until it is durable.
    async fn durably(&self, submit: impl FnOnce(&dyn LogStorage, Done)) -> io::Result<()> {
        let (answer, result) = oneshot::channel();
        // The engine may have stopped waiting.
        submit(self.store.as_ref(), Box::new(move |result| drop(answer.send(result))));
        result.await.unwrap_or(Err(StorageError::Closed)).map_err(io::Error::from)
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(&index) => index,
        Bound::Excluded(&index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let until = match range.end_bound() {
        Bound::Included(&index) => index.saturating_add(1),
        Bound::Excluded(&index) => index,
        Bound::Unbounded => u64::MAX,
    };
    (from, until)
}

fn encoded(value: &impl Serialize) -> Bytes {
    codec::encode(value).expect("votes and log ids have an encoded form").into()
}

fn decoded<T: DeserializeOwned>(stored: Option<Bytes>) -> io::Result<Option<T>> {
    let decode = |bytes: Bytes| codec::decode(&bytes, bytes.len());
    stored.map(decode).transpose().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_of_votes_and_committed_hints_does_not_change() {
        assert_eq!(encoded(&Vote::new(300, 2)).as_ref(), [251, 44, 1, 1, 2, 0]);
        assert_eq!(encoded(&Vote::new_committed(1, 2)).as_ref(), [1, 1, 2, 1]);
        assert_eq!(encoded(&Some(log_id(4, 9))).as_ref(), [1, 4, 9]);
        assert_eq!(encoded(&None::<LogId>).as_ref(), [0]);
    }

    #[test]
    fn every_kind_of_range_becomes_half_open() {
        assert_eq!(half_open(&(3..5)), (3, 5));
        assert_eq!(half_open(&(3..=5)), (3, 6));
        assert_eq!(half_open(&(..5)), (0, 5));
        assert_eq!(half_open(&(3..)), (3, u64::MAX));
        assert_eq!(half_open(&(Bound::Excluded(3), Bound::Included(5))), (4, 6));
    }
}
