//! The log as the engine holds it, read and checked value by value when the store opens.
//!
//! An [`Image`] exists only if every value is whole, the live entries have no hole, and each entry follows from the
//! one before it. What is not live is listed to be removed: records at or below the purge mark, whose removal is
//! never synced on its own, and chunks that no record claims behind the last entry, which an unfinished write left.
//! Nothing is ever dropped because it cannot be read. Tested in `tests/storage/quarantine.rs`.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;

use super::chain::ChainHash;
use super::engine::Values;
use super::record::{
    Chunk, Key, LogRecord, PurgeMark, RecordContent, Stamp, StoredEntry, TruncationMark, VoteRecord,
};
use super::{Damage, StorageError, format};
use crate::codec::{self, CodecError, ENVELOPE_BYTES, Format};

/// Where a record lies: its entries and how many chunks belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordSpan {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) chunks: u32,
}

/// Everything the engine holds.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// The highest sequence number of any value.
    pub(super) sequence: u64,
    /// The highest counter of a tip record that any value was written after.
    pub(super) tip_counter: u64,
    /// The hint beside the highest sequence number.
    pub(super) committed: Option<Bytes>,
    pub(super) vote: Option<VoteRecord>,
    pub(super) purged: Option<PurgeMark>,
    pub(super) truncation: Option<TruncationMark>,
    /// Entries above the purge mark, without a hole.
    pub(super) entries: Vec<StoredEntry>,
    /// Records that hold at least one live entry.
    pub(super) spans: Vec<RecordSpan>,
    /// Keys that are not needed any more.
    pub(super) leftovers: Vec<Key>,
}

impl Image {
    /// Reads and checks all values, which come in order of their keys.
    pub(super) fn read(values: Values) -> Result<Image, StorageError> {
        let mut image = Image::default();
        let mut records = BTreeMap::new();
        let mut chunks = BTreeMap::new();
        for (key, value) in values {
            match Key::from_bytes(&key) {
                Some(Key::Vote) => {
                    let vote: VoteRecord = read_mark(format::VOTE, &value, "vote")?;
                    image.note(&vote.stamp);
                    image.vote = Some(vote);
                }
                Some(Key::PurgeMark) => {
                    let mark: PurgeMark = read_mark(format::PURGE_MARK, &value, "purge mark")?;
                    image.note(&mark.stamp);
                    image.purged = Some(mark);
                }
                Some(Key::TruncationMark) => {
                    let mark: TruncationMark = read_mark(format::TRUNCATION_MARK, &value, "truncation mark")?;
                    image.note(&mark.stamp);
                    image.truncation = Some(mark);
                }
                Some(Key::Record(index)) => {
                    let record = read_record(index, &value)?;
                    image.note(&record.stamp);
                    records.insert(index, record.content);
                }
                Some(Key::Chunk(index, number)) => {
                    let chunk = read_chunk(index, number, &value)?;
                    image.note(&chunk.stamp);
                    chunks.insert((index, number), chunk.bytes);
                }
                None => {
                    let detail = format!("a value lies under the unknown key {key:02x?}");
                    return Err(StorageError::quarantine(Damage::MarkDamaged, detail));
                }
            }
        }
        image.take_records(records, &mut chunks)?;
        image.take_stray_chunks(chunks)?;
        Ok(image)
    }

    /// Sequence numbers are unique, except that chunks share that of their record and bear no hint.
    fn note(&mut self, stamp: &Stamp) {
        if stamp.sequence > self.sequence || (stamp.sequence == self.sequence && stamp.committed.is_some()) {
            self.committed = stamp.committed.clone();
        }
        self.sequence = self.sequence.max(stamp.sequence);
        self.tip_counter = self.tip_counter.max(stamp.tip_counter);
    }

    fn take_records(
        &mut self,
        records: BTreeMap<u64, RecordContent>,
        chunks: &mut BTreeMap<(u64, u32), Bytes>,
    ) -> Result<(), StorageError> {
        let purged = self.purged.as_ref().map(|mark| mark.index);
        for (first, content) in records {
            let (entries, chunk_count) = match content {
                RecordContent::Entries(entries) => (entries, 0),
                RecordContent::Chunked { entry, payload_bytes, chunks: count } => {
                    if purged.is_some_and(|purged| entry.index <= purged) {
                        self.leftovers.push(Key::Record(first));
                        continue;
                    }
                    (vec![assemble(entry, payload_bytes, count, chunks)?], count)
                }
            };
            let last = check_run(first, &entries)?;
            if purged.is_some_and(|purged| last <= purged) {
                self.leftovers.push(Key::Record(first));
                continue;
            }
            self.spans.push(RecordSpan { first, last, chunks: chunk_count });
            for entry in entries {
                self.take_entry(entry)?;
            }
        }
        Ok(())
    }

    /// Adds the next live entry, or checks one that the purge mark covers.
    fn take_entry(&mut self, entry: StoredEntry) -> Result<(), StorageError> {
        let purged = self.purged.as_ref();
        if let Some(mark) = purged
            && entry.index <= mark.index
        {
            return if entry.index < mark.index || (entry.term == mark.term && entry.hash() == mark.chain) {
                Ok(())
            } else {
                Err(chain_broken(entry.index, "it differs from the purge mark"))
            };
        }
        let (expected_index, expected_hash) = match self.entries.last() {
            Some(last) => (last.index + 1, last.hash()),
            None => match purged {
                Some(mark) => (mark.index + 1, mark.chain),
                // The caller decides whether its log starts at 0 or at 1.
                None => (entry.index, ChainHash::START),
            },
        };
        if entry.index > expected_index {
            let damage = Damage::EntriesMissing { first: expected_index, last: entry.index - 1 };
            return Err(StorageError::quarantine(damage, format!("the next entry is {}", entry.index)));
        }
        if entry.index < expected_index {
            return Err(chain_broken(entry.index, "two records hold it"));
        }
        if entry.previous != expected_hash {
            return Err(chain_broken(entry.index, "it follows another entry than the one before it"));
        }
        self.entries.push(entry);
        Ok(())
    }

    fn take_stray_chunks(&mut self, chunks: BTreeMap<(u64, u32), Bytes>) -> Result<(), StorageError> {
        let purged = self.purged.as_ref().map(|mark| mark.index);
        let last = self.entries.last().map(|entry| entry.index).or(purged);
        for (index, number) in chunks.into_keys() {
            let is_purged = purged.is_some_and(|purged| index <= purged);
            let is_behind_the_end = last.is_none_or(|last| index > last);
            if !is_purged && !is_behind_the_end {
                let detail = format!("chunk {number} has no record");
                return Err(StorageError::quarantine(Damage::EntryDamaged { index }, detail));
            }
            self.leftovers.push(Key::Chunk(index, number));
        }
        Ok(())
    }
}

fn read_mark<T: DeserializeOwned>(format: Format, value: &Bytes, name: &str) -> Result<T, StorageError> {
    codec::open(format, value)
        .map_err(|error| unreadable(error, Damage::MarkDamaged, &format!("the {name} cannot be read")))
}

fn read_record(index: u64, value: &Bytes) -> Result<LogRecord, StorageError> {
    let record: LogRecord = codec::open(format::RECORD, value).map_err(|error| {
        let damage = Damage::EntryDamaged { index: damaged_index(value).unwrap_or(index) };
        unreadable(error, damage, &format!("the record from {index} cannot be read"))
    })?;
    Ok(record)
}

/// Which entry of a record with a wrong checksum is the damaged one, if the rest can still be read.
fn damaged_index(value: &Bytes) -> Option<u64> {
    let body = value.get(ENVELOPE_BYTES..)?;
    let record: LogRecord = codec::decode(body, body.len()).ok()?;
    match record.content {
        RecordContent::Entries(entries) => {
            entries.iter().find(|entry| !entry.is_whole()).map(|entry| entry.index)
        }
        RecordContent::Chunked { .. } => None,
    }
}

fn read_chunk(index: u64, number: u32, value: &Bytes) -> Result<Chunk, StorageError> {
    let damage = Damage::EntryDamaged { index };
    let chunk: Chunk = codec::open(format::CHUNK, value)
        .map_err(|error| unreadable(error, damage.clone(), &format!("chunk {number} cannot be read")))?;
    if (chunk.index, chunk.number) != (index, number) {
        let detail = format!("in the place of chunk {number} lies {} of {}", chunk.number, chunk.index);
        return Err(StorageError::quarantine(damage, detail));
    }
    Ok(chunk)
}

fn unreadable(error: CodecError, damage: Damage, what: &str) -> StorageError {
    match error {
        CodecError::NewerVersion { .. } | CodecError::OlderVersion { .. } => {
            StorageError::OtherRelease { path: "the log".into(), reason: error.to_string() }
        }
        error => StorageError::quarantine(damage, format!("{what}: {error}")),
    }
}

/// Puts the payload of a chunked entry together.
fn assemble(
    mut entry: StoredEntry,
    payload_bytes: u64,
    count: u32,
    chunks: &mut BTreeMap<(u64, u32), Bytes>,
) -> Result<StoredEntry, StorageError> {
    let index = entry.index;
    let mut payload = BytesMut::new();
    for number in 0..count {
        let Some(bytes) = chunks.remove(&(index, number)) else {
            let detail = format!("chunk {number} of {count} is missing");
            return Err(StorageError::quarantine(Damage::EntryDamaged { index }, detail));
        };
        payload.extend_from_slice(&bytes);
    }
    if payload.len() as u64 != payload_bytes {
        let detail = format!("its chunks have {} of {payload_bytes} bytes", payload.len());
        return Err(StorageError::quarantine(Damage::EntryDamaged { index }, detail));
    }
    entry.payload = payload.freeze();
    Ok(entry)
}

/// The entries of one record are whole and numbered from its key; gives the last number.
fn check_run(first: u64, entries: &[StoredEntry]) -> Result<u64, StorageError> {
    for (expected, entry) in (first..).zip(entries) {
        if entry.index != expected || !entry.is_whole() {
            let detail = format!("found entry {} in its place, or its checksum is wrong", entry.index);
            return Err(StorageError::quarantine(Damage::EntryDamaged { index: expected }, detail));
        }
    }
    match entries.last() {
        Some(entry) => Ok(entry.index),
        None => {
            let damage = Damage::EntryDamaged { index: first };
            Err(StorageError::quarantine(damage, "its record is empty"))
        }
    }
}

fn chain_broken(index: u64, detail: &str) -> StorageError {
    StorageError::quarantine(Damage::ChainBroken { index }, detail)
}
