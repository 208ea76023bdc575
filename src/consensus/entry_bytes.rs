//! How one entry of the log is laid out: one byte for its kind, then its content.
//!
//! What it promises: reading a record out of an entry copies nothing; an unknown kind is an error that names the
//! entry, never skipped. What it must not do: add a checksum or a version of its own; `storage` guards every entry
//! with both. Golden bytes are tested below.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};

use super::types::{Entry, EntryPayload, Payload, log_id};
use crate::codec;
use crate::storage::LogEntry;

const BLANK: u8 = 0;
const RECORD: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// The stored form of an entry.
pub(super) fn to_stored(entry: &Entry) -> LogEntry {
    let payload = match &entry.payload {
        EntryPayload::Blank => Bytes::from_static(&[BLANK]),
        EntryPayload::Normal(Payload(record)) => tagged(RECORD, record),
        EntryPayload::Membership(membership) => {
            let bytes = codec::encode(membership).expect("a membership has an encoded form");
            tagged(MEMBERSHIP, &bytes)
        }
    };
    LogEntry { index: entry.log_id.index, term: entry.log_id.leader_id.term, payload }
}

/// The entry that was stored.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] with the index of an entry of unknown kind or content.
pub(super) fn from_stored(stored: LogEntry) -> io::Result<Entry> {
    let LogEntry { index, term, payload: bytes } = stored;
    let payload = match bytes.first() {
        Some(&BLANK) if bytes.len() == 1 => EntryPayload::Blank,
        Some(&RECORD) => EntryPayload::Normal(Payload(bytes.slice(1..))),
        Some(&MEMBERSHIP) => EntryPayload::Membership(
            codec::decode(&bytes[1..], bytes.len())
                .map_err(|error| unreadable(index, &format!("its membership: {error}")))?,
        ),
        kind => return Err(unreadable(index, &format!("unknown kind {kind:?}; a newer release wrote it"))),
    };
    Ok(Entry { log_id: log_id(term, index), payload })
}

fn tagged(kind: u8, content: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + content.len());
    bytes.put_u8(kind);
    bytes.put_slice(content);
    bytes.freeze()
}

fn unreadable(index: u64, reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index} can not be read: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use uuid::Uuid;

    use super::super::types::NodeAddress;
    use super::*;

    fn entry(payload: EntryPayload) -> Entry {
        Entry { log_id: log_id(3, 7), payload }
    }

    fn membership() -> openraft::Membership<u64, NodeAddress> {
        let address = NodeAddress {
            api_addr: "a:1".to_owned(),
            peer_addr: "b:2".to_owned(),
            incarnation: Uuid::from_u128(5),
        };
        openraft::Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, address)])).unwrap()
    }

    #[test]
    fn the_layout_of_entries_does_not_change() {
        assert_eq!(to_stored(&entry(EntryPayload::Blank)).payload.as_ref(), [0]);
        let record = EntryPayload::Normal(Payload(Bytes::from_static(b"xy")));
        assert_eq!(to_stored(&entry(record)).payload.as_ref(), [1, b'x', b'y']);
        let stored = to_stored(&entry(EntryPayload::Membership(membership())));
        let mut golden = vec![2, 1, 1, 1, 1, 1, 3, b'a', b':', b'1', 3, b'b', b':', b'2', 16];
        golden.extend_from_slice(Uuid::from_u128(5).as_bytes());
        assert_eq!(stored.payload.as_ref(), golden);
        assert_eq!((stored.index, stored.term), (7, 3));
    }

    #[test]
    fn every_kind_of_entry_is_read_back() {
        let record = EntryPayload::Normal(Payload(Bytes::from_static(b"xy")));
        for payload in [EntryPayload::Blank, record, EntryPayload::Membership(membership())] {
            let entry = entry(payload);
            assert_eq!(from_stored(to_stored(&entry)).unwrap(), entry);
        }
    }

    #[test]
    fn an_unknown_entry_is_an_error_that_names_it() {
        for bytes in [&b""[..], b"\x00x", b"\x02", b"\x09"] {
            let stored = LogEntry { index: 41, term: 1, payload: Bytes::copy_from_slice(bytes) };
            assert!(from_stored(stored).unwrap_err().to_string().contains("log entry 41"));
        }
    }
}
