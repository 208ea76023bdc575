//! The values of the log engine: records of entries, chunks of large entries, and the marks beside them.
//!
//! A record holds a run of entries of at most [`RECORD_CAP_BYTES`]; an entry that is larger alone is cut into chunks
//! under keys of their own, so that no value exceeds the cap by more than its envelope. The reason for the cap: the
//! engine moves large pages into files that it never syncs. Every value carries a [`Stamp`], so recovery can order
//! the writes. Nothing here touches the disk. Tested below with golden bytes, and by the model test.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::LogEntry;
use super::chain::ChainHash;
use super::format;
use crate::codec::{self, CodecError};

/// Most payload bytes in one value of the engine.
pub const RECORD_CAP_BYTES: usize = 48 << 10;

/// What an entry adds to its payload in a record, at most.
const ENTRY_OVERHEAD_BYTES: usize = 48;

/// When a value was written, and what else was known then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// Counts every value written to the engine, from 1.
    pub(super) sequence: u64,
    /// The counter of the last tip record that was durable at that time.
    pub(super) tip_counter: u64,
    /// The caller's newest hint about what is committed.
    pub(super) committed: Option<Bytes>,
}

/// One entry inside a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredEntry {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) checksum: u32,
    pub(super) previous: ChainHash,
    pub(super) payload: Bytes,
}

impl StoredEntry {
    pub(super) fn new(entry: &LogEntry, previous: ChainHash) -> StoredEntry {
        let checksum = checksum(entry.index, entry.term, &entry.payload);
        StoredEntry {
            index: entry.index,
            term: entry.term,
            checksum,
            previous,
            payload: entry.payload.clone(),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.checksum == checksum(self.index, self.term, &self.payload)
    }

    pub(super) fn hash(&self) -> ChainHash {
        self.previous.followed_by(self.index, self.term, &self.payload)
    }

    pub(super) fn into_log_entry(self) -> LogEntry {
        LogEntry { index: self.index, term: self.term, payload: self.payload }
    }
}

fn checksum(index: u64, term: u64, payload: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&index.to_le_bytes()), &term.to_le_bytes());
    crc32c::crc32c_append(head, payload)
}

/// The value under a record key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogRecord {
    pub(super) stamp: Stamp,
    pub(super) content: RecordContent,
}

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RecordContent {
    /// One or more entries in a row.
    Entries(Vec<StoredEntry>),
    /// One entry whose payload lies in `chunks` chunk values; the payload here is empty.
    Chunked { entry: StoredEntry, payload_bytes: u64, chunks: u32 },
}

/// A piece of the payload of a large entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) stamp: Stamp,
    pub(super) index: u64,
    pub(super) number: u32,
    pub(super) bytes: Bytes,
}

/// The caller's vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VoteRecord {
    pub(super) stamp: Stamp,
    pub(super) vote: Bytes,
}

/// Up to where the log is purged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PurgeMark {
    pub(super) stamp: Stamp,
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) chain: ChainHash,
    pub(super) opaque: Bytes,
}

/// What the last truncation cut off: the proof that a shorter log than the tip's is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TruncationMark {
    pub(super) stamp: Stamp,
    /// Index and hash of the last entry before the truncation.
    pub(super) cut_last: Option<(u64, ChainHash)>,
}

/// Where a value lies in the engine. Keys sort by kind, then index, a record before its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Vote,
    PurgeMark,
    TruncationMark,
    Record(u64),
    Chunk(u64, u32),
}

const MARK_PREFIX: u8 = 1;
const LOG_PREFIX: u8 = 2;

impl Key {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        match self {
            Key::Vote => vec![MARK_PREFIX, 1],
            Key::PurgeMark => vec![MARK_PREFIX, 2],
            Key::TruncationMark => vec![MARK_PREFIX, 3],
            Key::Record(index) => [&[LOG_PREFIX], &index.to_be_bytes()[..]].concat(),
            Key::Chunk(index, number) => {
                [&[LOG_PREFIX], &index.to_be_bytes()[..], &number.to_be_bytes()[..]].concat()
            }
        }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Key> {
        match bytes {
            [MARK_PREFIX, 1] => Some(Key::Vote),
            [MARK_PREFIX, 2] => Some(Key::PurgeMark),
            [MARK_PREFIX, 3] => Some(Key::TruncationMark),
            [LOG_PREFIX, rest @ ..] => {
                let (index, rest) = rest.split_first_chunk::<8>()?;
                let index = u64::from_be_bytes(*index);
                match rest {
                    [] => Some(Key::Record(index)),
                    _ => Some(Key::Chunk(index, u32::from_be_bytes(rest.try_into().ok()?))),
                }
            }
            _ => None,
        }
    }
}

/// Cuts entries that follow each other into runs, each of which becomes one record.
pub(super) fn packed(entries: Vec<StoredEntry>) -> Vec<Vec<StoredEntry>> {
    let mut runs: Vec<Vec<StoredEntry>> = Vec::new();
    let mut run_bytes = 0;
    for entry in entries {
        let entry_bytes = entry.payload.len() + ENTRY_OVERHEAD_BYTES;
        match runs.last_mut() {
            Some(run) if run_bytes + entry_bytes <= RECORD_CAP_BYTES => {
                run_bytes += entry_bytes;
                run.push(entry);
            }
            _ => {
                run_bytes = entry_bytes;
                runs.push(vec![entry]);
            }
        }
    }
    runs
}

/// The values that hold one run, in the order in which they must be written: the record comes last, so that a
/// record without all its chunks is damage and chunks without a record are an unfinished write.
pub(super) fn values_of_run(
    mut run: Vec<StoredEntry>,
    stamp: Stamp,
) -> Result<Vec<(Key, Bytes)>, CodecError> {
    let first = run.first().expect("a run has at least one entry").index;
    let alone_and_large = run.len() == 1 && run[0].payload.len() > RECORD_CAP_BYTES - ENTRY_OVERHEAD_BYTES;
    if !alone_and_large {
        let record = LogRecord { stamp, content: RecordContent::Entries(run) };
        return Ok(vec![(Key::Record(first), codec::seal(format::RECORD, &record)?)]);
    }
    let mut entry = run.remove(0);
    let payload = std::mem::take(&mut entry.payload);
    let mut values = Vec::new();
    let mut number = 0;
    for offset in (0..payload.len()).step_by(RECORD_CAP_BYTES) {
        let bytes = payload.slice(offset..payload.len().min(offset + RECORD_CAP_BYTES));
        let chunk = Chunk { stamp: Stamp { committed: None, ..stamp.clone() }, index: first, number, bytes };
        values.push((Key::Chunk(first, number), codec::seal(format::CHUNK, &chunk)?));
        number += 1;
    }
    let content = RecordContent::Chunked { entry, payload_bytes: payload.len() as u64, chunks: number };
    values.push((Key::Record(first), codec::seal(format::RECORD, &LogRecord { stamp, content })?));
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(index: u64, payload_bytes: usize) -> StoredEntry {
        let entry = LogEntry { index, term: 1, payload: Bytes::from(vec![7; payload_bytes]) };
        StoredEntry::new(&entry, ChainHash::START)
    }

    fn stamp() -> Stamp {
        Stamp { sequence: 5, tip_counter: 3, committed: Some(Bytes::from_static(b"c")) }
    }

    #[test]
    fn the_layout_of_records_and_marks_does_not_change() {
        let run = vec![StoredEntry::new(
            &LogEntry { index: 9, term: 2, payload: Bytes::from_static(b"xy") },
            ChainHash([3; 16]),
        )];
        let (key, value) = values_of_run(run, stamp()).unwrap().remove(0);
        assert_eq!(key.to_bytes(), [2, 0, 0, 0, 0, 0, 0, 0, 9]);
        let body: Vec<u8> = [
            &[5, 3, 1, 1, b'c', 0, 1, 9, 2, 252][..],
            &checksum(9, 2, b"xy").to_le_bytes(),
            &[3; 16],
            &[2, b'x', b'y'],
        ]
        .concat();
        assert_eq!(codec::open_bytes(format::RECORD, &value).unwrap(), body);
        let mark =
            PurgeMark { stamp: stamp(), index: 1, term: 2, chain: ChainHash([4; 16]), opaque: Bytes::new() };
        let golden = [&[5, 3, 1, 1, b'c', 1, 2][..], &[4; 16], &[0]].concat();
        assert_eq!(codec::encode(&mark).unwrap(), golden);
        let mark = TruncationMark { stamp: stamp(), cut_last: Some((1, ChainHash([4; 16]))) };
        assert_eq!(codec::encode(&mark).unwrap(), [&[5, 3, 1, 1, b'c', 1, 1][..], &[4; 16]].concat());
        let vote = VoteRecord { stamp: stamp(), vote: Bytes::from_static(b"v") };
        assert_eq!(codec::encode(&vote).unwrap(), [5, 3, 1, 1, b'c', 1, b'v']);
    }

    #[test]
    fn the_layout_of_chunked_entries_does_not_change() {
        let chunk = Chunk { stamp: stamp(), index: 9, number: 1, bytes: Bytes::from_static(b"xy") };
        assert_eq!(codec::encode(&chunk).unwrap(), [5, 3, 1, 1, b'c', 9, 1, 2, b'x', b'y']);
        let entry = StoredEntry {
            index: 9,
            term: 2,
            checksum: 4,
            previous: ChainHash([3; 16]),
            payload: Bytes::new(),
        };
        let content = RecordContent::Chunked { entry, payload_bytes: 50_000, chunks: 2 };
        let golden = [&[5, 3, 1, 1, b'c', 1, 9, 2, 4][..], &[3; 16], &[0, 251, 80, 195, 2]].concat();
        assert_eq!(codec::encode(&LogRecord { stamp: stamp(), content }).unwrap(), golden);
        assert_eq!(Key::Chunk(9, 1).to_bytes(), [2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1]);
    }

    #[test]
    fn the_entry_checksum_does_not_change() {
        assert_eq!(checksum(9, 2, b"xy"), 0x0523_c712);
    }

    #[test]
    fn an_entry_at_the_cap_is_one_record_and_one_byte_more_is_chunked() {
        let largest_whole = RECORD_CAP_BYTES - ENTRY_OVERHEAD_BYTES;
        assert_eq!(values_of_run(vec![entry(1, largest_whole)], stamp()).unwrap().len(), 1);
        let chunked = values_of_run(vec![entry(1, largest_whole + 1)], stamp()).unwrap();
        assert_eq!(
            chunked.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
            [Key::Chunk(1, 0), Key::Record(1)]
        );
        let chunked = values_of_run(vec![entry(1, 2 * RECORD_CAP_BYTES + 1)], stamp()).unwrap();
        assert_eq!(chunked.len(), 4);
    }

    proptest! {
        #[test]
        fn no_value_exceeds_the_cap_by_more_than_its_envelope(
            sizes in prop::collection::vec(prop_oneof![0..500_usize, 0..100_000_usize, 48_000..50_000_usize], 1..20),
        ) {
            let entries: Vec<_> = sizes.iter().enumerate().map(|(n, size)| entry(n as u64, *size)).collect();
            let runs = packed(entries.clone());
            prop_assert_eq!(runs.concat(), entries);
            for run in runs {
                for (_, value) in values_of_run(run, stamp()).unwrap() {
                    prop_assert!(value.len() <= RECORD_CAP_BYTES + 128, "{} bytes", value.len());
                }
            }
        }

        #[test]
        fn keys_are_read_back_and_a_record_sorts_before_its_chunks(index in 0..u64::MAX, number in any::<u32>()) {
            let keys = [
                Key::Vote,
                Key::PurgeMark,
                Key::TruncationMark,
                Key::Record(index),
                Key::Chunk(index, number),
                Key::Record(index + 1),
            ];
            let bytes = keys.map(Key::to_bytes);
            prop_assert!(bytes.is_sorted());
            for key in keys {
                prop_assert_eq!(Key::from_bytes(&key.to_bytes()), Some(key));
            }
        }
    }
}
