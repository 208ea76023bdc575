//! Stored bytes and the behaviour of `apply`, compared with what was recorded earlier.
//!
//! `tests/golden/values.txt` holds the bytes of one example of every variant, one line each: label, then hex. Old lines
//! never change: a node of this release must read what a node of the last one wrote, and the encoding carries no
//! names that would notice a swap. `tests/golden/log-*.txt` hold a log, its chain hash and its state hash: the same
//! records must lead to the same state for ever. New lines and logs are written by
//! `SLOTKEEPER_WRITE_GOLDEN=1 cargo test --test domain golden`, which never touches what is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use slotkeeper::codec;
use slotkeeper::domain::*;

use crate::examples;
use crate::story;

const HOW_TO_ADD: &str =
    "to append what is new, run: SLOTKEEPER_WRITE_GOLDEN=1 cargo test --test domain golden";
const WHY_NOT: &str = "variants are append-only and fields of stored types do not change; to change a meaning, append \
    a new variant, or raise the version of the format and read both (docs/invariants.md, section Stored bytes)";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn may_write() -> bool {
    std::env::var_os("SLOTKEEPER_WRITE_GOLDEN").is_some()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().map(|digit| digit.to_digit(16).expect("a hex digit")).collect();
    assert!(digits.len() % 2 == 0, "an odd number of hex digits");
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// The recorded lines by label, in any order; comments begin with `#`.
fn recorded(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &str| line.split_once(' ').map(|(label, hex)| (label.to_owned(), hex.to_owned()));
    let mut labels = BTreeMap::new();
    for (label, hex) in lines.map(|line| split(line).unwrap_or_else(|| panic!("no label in `{line}`"))) {
        assert_eq!(labels.insert(label.clone(), hex), None, "{label} is there twice");
    }
    labels
}

#[test]
fn the_bytes_of_every_stored_variant_never_change() {
    let path = folder().join("values.txt");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let mut golden = recorded(&text);
    let mut missing = String::new();
    for example in examples::all() {
        let bytes = hex(&example.bytes);
        let Some(line) = golden.remove(&example.label) else {
            missing.push_str(&format!("{} {bytes}\n", example.label));
            continue;
        };
        assert_eq!(line, bytes, "the stored form of {} changed; {WHY_NOT}", example.label);
        assert_eq!((example.again)(&from_hex(&line)), Ok(example.bytes), "{} does not decode", example.label);
    }
    let gone: Vec<_> = golden.keys().collect();
    assert!(gone.is_empty(), "these are still in logs, but have no example any more: {gone:?}; {WHY_NOT}");
    if !missing.is_empty() && may_write() {
        std::fs::write(&path, text + &missing).unwrap();
    } else {
        assert!(missing.is_empty(), "not in {}; {HOW_TO_ADD}\n{missing}", path.display());
    }
}

#[test]
fn a_log_of_an_earlier_release_leads_to_the_same_state() {
    let path = folder().join("log-1.txt");
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(may_write(), "{} is missing; {HOW_TO_ADD}", path.display());
        return write_log(&path);
    };
    let mut state = State::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("record ")) {
        let bytes = from_hex(line);
        let record: Record = codec::decode(&bytes, bytes.len()).expect("an old record decodes");
        state.apply(&record);
    }
    let expected = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    let changed = "an old log leads to another state than the releases before this one: replicas of two releases would \
        diverge. Make the new behaviour a new command, or a setting that the log switches on";
    assert_eq!(hex(&state.chain().0), expected("chain "), "{changed}");
    assert_eq!(state.hash_over_values().to_string(), expected("state "), "{changed}");
    assert_eq!(state.hash().to_string(), expected("state-with-answers-as-bytes "), "{changed}");
}

fn write_log(path: &Path) {
    let ledger = story::told();
    let mut text =
        "# A log of every kind of command, its chain hash and the hash of its state. Never changes.\n"
            .to_owned();
    for record in &ledger.log {
        text.push_str(&format!("record {}\n", hex(&codec::encode(record).unwrap())));
    }
    text.push_str(&format!(
        "chain {}\nstate {}\n",
        hex(&ledger.state.chain().0),
        ledger.state.hash_over_values()
    ));
    text.push_str(&format!("state-with-answers-as-bytes {}\n", ledger.state.hash()));
    std::fs::write(path, text).unwrap();
}
