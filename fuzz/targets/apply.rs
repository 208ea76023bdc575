//! Any records, one after the other, on the real state: none panics, every invariant holds after each, and a replica that was
//! restored in the middle comes to the same state.
//!
//! The input is a row of records, each behind its length in two bytes; what is no record is left out, as a node refuses it.
#![no_main]

use slotkeeper::codec;
use slotkeeper::domain::{Record, State};
use slotkeeper::replica::{Replica, seal};

/// Checking costs time in proportion to the state, after each record.
const RECORDS_MAX: usize = 64;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let records = records(input);
    let mut state = State::new();
    for record in &records {
        let before = state.clone();
        state.apply(record);
        assert_eq!(state.violations(), [], "after {record:?}");
        assert_eq!(state.violations_since(&before), [], "after {record:?}");
    }
    assert_eq!(restored_in_the_middle(&records), state.hash(), "a restored replica goes another way");
});

fn records(mut input: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk::<2>() {
        let (content, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        records.extend(codec::decode::<Record>(content, content.len()));
        input = rest;
        if records.len() == RECORDS_MAX {
            break;
        }
    }
    records
}

fn restored_in_the_middle(records: &[Record]) -> slotkeeper::domain::StateHash {
    let (first, second) = records.split_at(records.len() / 2);
    let replica = Replica::new();
    let restored = Replica::new();
    for record in first {
        replica.apply(&seal(record)).expect("a record is one");
    }
    let snapshot = replica.snapshot().encode().expect("a state has an encoded form");
    restored.install(&snapshot).expect("a snapshot of a replica can be installed");
    for record in second {
        restored.apply(&seal(record)).expect("a record is one");
    }
    restored.state_hash().1
}
