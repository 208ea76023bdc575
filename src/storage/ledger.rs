//! What the writer knows about the log in the engine, so that it never has to read it back.
//!
//! The ledger says which records exist, which entry they hold and what the hash of each live entry is; it numbers
//! the writes and makes the tip state. It does no input or output: it turns a request into the changes that the
//! writer then applies, and is told nothing about their success, because a failed write is the end of the store.
//! Tested through the model test in `tests/storage/model.rs`.

use std::collections::VecDeque;

use bytes::Bytes;

use super::chain::ChainHash;
use super::image::{Image, RecordSpan};
use super::record::{self, Key, PurgeMark, Stamp, StoredEntry, TruncationMark, VoteRecord};
use super::recovery;
use super::tip::{Position, TipState};
use super::{LogEntry, StorageError, format};
use crate::codec::{self, CodecError};

/// A value to store, in the order given.
pub(super) type Write = (Key, Bytes);

/// The writer's view of the engine.
#[derive(Debug)]
pub(super) struct Ledger {
    state: TipState,
    /// The counter of the last durable tip record.
    tip_counter: u64,
    committed: Option<Bytes>,
    spans: VecDeque<RecordSpan>,
    /// The live entries, without a hole, up to the last.
    positions: VecDeque<Position>,
    /// Keys that may be removed at leisure.
    removable: VecDeque<Key>,
}

/// How a truncation changes the engine.
#[derive(Debug)]
pub(super) struct Truncation {
    /// The record that holds entries on both sides of the cut, as it must be afterwards.
    pub(super) boundary: Option<RecordSpan>,
    /// Keys that go.
    pub(super) removed: Vec<Key>,
    /// The mark, to be stored in the same step.
    pub(super) mark: TruncationMark,
}

impl Ledger {
    pub(super) fn new(image: &Image, tip_counter: u64) -> Ledger {
        let positions = image.entries.iter().map(|entry| Position {
            index: entry.index,
            term: entry.term,
            chain: entry.hash(),
        });
        Ledger {
            state: recovery::tip_state_of(image),
            tip_counter,
            committed: image.committed.clone(),
            spans: image.spans.iter().copied().collect(),
            positions: positions.collect(),
            removable: image.leftovers.iter().copied().collect(),
        }
    }

    /// What the tip record must say once the changes made so far are durable.
    pub(super) fn tip_state(&self) -> TipState {
        self.state
    }

    pub(super) fn note_tip(&mut self, counter: u64) {
        self.tip_counter = counter;
    }

    pub(super) fn note_committed(&mut self, committed: Bytes) {
        self.committed = Some(committed);
    }

    fn next_stamp(&mut self) -> Stamp {
        self.state.sequence += 1;
        Stamp {
            sequence: self.state.sequence,
            tip_counter: self.tip_counter,
            committed: self.committed.clone(),
        }
    }

    /// The values that hold these entries, which follow the last one.
    pub(super) fn append(&mut self, entries: &[LogEntry]) -> Result<Vec<Write>, StorageError> {
        let mut previous = self.state.last.map_or(ChainHash::START, |last| last.chain);
        let mut stored = Vec::with_capacity(entries.len());
        for entry in entries {
            let next = StoredEntry::new(entry, previous);
            previous = next.hash();
            self.positions.push_back(Position { index: entry.index, term: entry.term, chain: previous });
            stored.push(next);
        }
        self.state.last = self.positions.back().copied().or(self.state.last);
        let mut writes = Vec::new();
        for run in record::packed(stored) {
            let (first, last) = (run[0].index, run[run.len() - 1].index);
            let stamp = self.next_stamp();
            let values = record::values_of_run(run, stamp).map_err(unencodable)?;
            let chunks = u32::try_from(values.len() - 1).map_err(|_| {
                StorageError::refused(format!("entry {first} is too large for one log entry"))
            })?;
            self.spans.push_back(RecordSpan { first, last, chunks });
            writes.extend(values);
        }
        Ok(writes)
    }

    /// The value that holds this vote.
    pub(super) fn vote(&mut self, vote: Bytes) -> Result<Write, StorageError> {
        self.state.vote = Some(ChainHash::of_bytes(&vote));
        let record = VoteRecord { stamp: self.next_stamp(), vote };
        Ok((Key::Vote, codec::seal(format::VOTE, &record).map_err(unencodable)?))
    }

    /// The value of the purge mark; what it covers becomes removable.
    pub(super) fn purge(&mut self, index: u64, term: u64, opaque: Bytes) -> Result<Write, StorageError> {
        let chain = self.chain_at(index).unwrap_or_else(|| ChainHash::restarted_at(index, term));
        while self.positions.front().is_some_and(|position| position.index <= index) {
            self.positions.pop_front();
        }
        while let Some(span) = self.spans.front().copied().filter(|span| span.last <= index) {
            self.removable.extend(keys_of(span));
            self.spans.pop_front();
        }
        let purged = Position { index, term, chain };
        self.state.purged = Some(purged);
        self.state.last = self.positions.back().copied().or(Some(purged));
        let mark = PurgeMark { stamp: self.next_stamp(), index, term, chain, opaque };
        Ok((Key::PurgeMark, codec::seal(format::PURGE_MARK, &mark).map_err(unencodable)?))
    }

    /// How to drop every live entry after `kept`, or every one; nothing if there is none.
    pub(super) fn truncate(&mut self, kept: Option<u64>) -> Option<Truncation> {
        let goes = |index: u64| kept.is_none_or(|kept| index > kept);
        let cut_last = self.positions.back().copied().filter(|last| goes(last.index))?;
        while self.positions.back().is_some_and(|position| goes(position.index)) {
            self.positions.pop_back();
        }
        // A record that would keep only purged entries goes as a whole.
        let nothing_stays =
            kept.is_none_or(|kept| self.state.purged.is_some_and(|purged| kept <= purged.index));
        let mut removed = Vec::new();
        while let Some(span) = self.spans.back().copied().filter(|span| nothing_stays || goes(span.first)) {
            removed.extend(keys_of(span));
            self.spans.pop_back();
        }
        let mut boundary = None;
        if let (Some(span), Some(kept)) = (self.spans.back_mut(), kept)
            && span.last > kept
        {
            span.last = kept;
            boundary = Some(*span);
        }
        self.state.last = self.positions.back().copied().or(self.state.purged);
        let stamp = self.next_stamp();
        let mark = TruncationMark { stamp, cut_last: Some((cut_last.index, cut_last.chain)) };
        Some(Truncation { boundary, removed, mark })
    }

    /// Up to `most` keys whose removal nobody waits for.
    pub(super) fn take_removable(&mut self, most: usize) -> Vec<Key> {
        let count = self.removable.len().min(most);
        self.removable.drain(..count).collect()
    }

    pub(super) fn has_removable(&self) -> bool {
        !self.removable.is_empty()
    }
}

impl Ledger {
    fn chain_at(&self, index: u64) -> Option<ChainHash> {
        let first = self.positions.front()?.index;
        let place = usize::try_from(index.checked_sub(first)?).ok()?;
        self.positions.get(place).map(|position| position.chain)
    }
}

/// The record goes first: chunks without a record are known to be leftovers.
fn keys_of(span: RecordSpan) -> impl Iterator<Item = Key> {
    let chunks = (0..span.chunks).map(move |number| Key::Chunk(span.first, number));
    std::iter::once(Key::Record(span.first)).chain(chunks)
}

fn unencodable(error: CodecError) -> StorageError {
    StorageError::refused(error.to_string())
}
