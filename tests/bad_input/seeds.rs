//! The stored seeds of the fuzz targets: one line of hexadecimal each, in `fuzz/seeds/TARGET.txt`.
//!
//! They come from the golden bytes and from random runs. `SLOTKEEPER_WRITE_SEEDS=1 cargo test --test bad_input seeds` writes
//! them anew, so that a new command is among them once the generator knows it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use slotkeeper::api::allocations::{AllocationRequest, Release};
use slotkeeper::api::cluster::{AddMember, TransferLeadership};
use slotkeeper::api::jobs::{JobHeartbeat, PutJob};
use slotkeeper::api::plan::PlanRequest;
use slotkeeper::api::queues::PutQueue;
use slotkeeper::api::requirements::PutRequirements;
use slotkeeper::api::settings::PatchSettings;
use slotkeeper::api::task_managers::{Confirm, Drain, Heartbeat, RegisterTaskManager};
use slotkeeper::codec;
use slotkeeper::domain::{Record, State};
use slotkeeper::replica::{RECORD_FORMAT, Replica, STATE_FORMAT, open, seal};

use crate::stored::played;

const TARGETS: [&str; 6] =
    ["decode_command", "decode_snapshot", "decode_tip", "http_json", "raft_rpc", "apply"];
/// What all seeds together may take in the tree.
const SEEDS_BYTES_MAX: u64 = 300 << 10;

#[test]
fn the_stored_seeds_are_what_their_targets_read() {
    if std::env::var("SLOTKEEPER_WRITE_SEEDS").is_ok_and(|value| value == "1") {
        write_all();
    }
    let stored = TARGETS.iter().map(|target| std::fs::metadata(path(target)).unwrap().len());
    assert!(stored.sum::<u64>() <= SEEDS_BYTES_MAX, "the seeds are too large for the tree");
    assert!(TARGETS.iter().all(|target| read(target).len() >= 4), "a target has hardly any seeds");
    for content in read("decode_command") {
        open(&codec::seal_bytes(RECORD_FORMAT, &content)).unwrap();
    }
    for content in read("decode_snapshot") {
        Replica::new().install(&codec::seal_bytes(STATE_FORMAT, &content)).unwrap();
    }
    assert_eq!(read("decode_tip"), tips());
    assert_eq!(read("http_json"), bodies());
    assert_eq!(read("raft_rpc"), messages(&golden_records()));
    for row in read("apply") {
        let records = records(&row);
        let mut state = State::new();
        let changes: usize = records.iter().map(|record| state.apply(record).events.len()).sum();
        assert!(records.len() > 3 && changes > 10, "{} records change {changes} things", records.len());
    }
}

fn path(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/seeds/{target}.txt"))
}

fn read(target: &str) -> Vec<Vec<u8>> {
    std::fs::read_to_string(path(target)).unwrap().lines().map(bytes).collect()
}

/// The records of a seed of the target `apply`.
fn records(mut row: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some((length, rest)) = row.split_first_chunk::<2>() {
        let (content, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)));
        records.push(codec::decode(content, content.len()).unwrap());
        row = rest;
    }
    records
}

fn write_all() {
    let logs: Vec<Vec<Record>> = (0..8).map(|seed| played(seed, 30).log).collect();
    let golden = golden_records();
    let contents: Vec<Vec<u8>> = logs.iter().flatten().step_by(5).map(content).collect();
    write("decode_command", golden.iter().cloned().chain(contents));
    write("decode_snapshot", logs.iter().map(|log| snapshot(&log[..log.len().min(6)])));
    write("decode_tip", tips());
    write("http_json", bodies());
    write("raft_rpc", messages(&golden));
    write("apply", logs.iter().map(|log| row(log.iter().map(content))).chain([row(golden.into_iter())]));
}

fn content(record: &Record) -> Vec<u8> {
    codec::encode(record).unwrap()
}

/// The records of `tests/golden/log-1.txt`: one of each kind of command.
fn golden_records() -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/log-1.txt");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("record ")).map(bytes).collect()
}

/// Records as the target `apply` takes them.
fn row(records: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let length = |record: &Vec<u8>| u16::try_from(record.len()).unwrap();
    records.flat_map(|record| [&length(&record).to_le_bytes()[..], &record].concat()).collect()
}

fn snapshot(log: &[Record]) -> Vec<u8> {
    let replica = Replica::new();
    for record in log {
        replica.apply(&seal(record)).unwrap();
    }
    let sealed = replica.snapshot().encode().unwrap();
    codec::open_bytes(STATE_FORMAT, &sealed).unwrap().to_vec()
}

/// Slots as `src/storage/tip.rs` lays them out: empty, with a vote, with entries, with a purged log.
fn tips() -> Vec<Vec<u8>> {
    let id = |last: u8| [&[16][..], &[0; 15], &[last]].concat();
    let head = [&[9][..], &id(1), &[2], &id(3), &[10]].concat();
    let position = |index: u8| [&[1, index, 6][..], &[7; 16]].concat();
    let vote = [&[1][..], &[8; 16]].concat();
    let none = vec![0];
    let states = [
        [none.clone(), none.clone(), none.clone()],
        [vote.clone(), none.clone(), none.clone()],
        [vote.clone(), position(5), none],
        [vote, position(250), position(200)],
    ];
    let slot = |state: [Vec<u8>; 3]| {
        let fields = [&head[..], &[4], &state.concat()].concat();
        let length = u16::try_from(fields.len()).unwrap();
        [&length.to_le_bytes()[..], &fields].concat()
    };
    states.into_iter().map(slot).collect()
}

/// Bodies with many fields, behind the number of their request in `fuzz/targets/http_json.rs`.
fn bodies() -> Vec<Vec<u8>> {
    let rules = r#""profile":{"cpu_cores":1.5,"task_heap_memory":"1GiB","extended_resources":{"gpu":1}},
        "constraints":[{"label":"zone","op":"in","values":["a","b"]},{"spread_by":"rack","max_per":1}],
        "prefer":{"labels":{"disk":"ssd"}},"strategy":"any_fit""#;
    let line = format!(r#"{{"name":"workers","min":1,"desired":2,{rules}}}"#);
    let id = r#""00000000-0000-0000-0000-000000000001""#;
    let failed = format!(r#"{{"allocation_id":{id},"reason":"no disk"}}"#);
    [
        body::<AllocationRequest>(0, r#"{"slots":1}"#),
        body::<AllocationRequest>(0, &format!(r#"{{"slots":2,"mode":"best_effort","wait":"5s",{rules}}}"#)),
        body::<Release>(1, &format!(r#"{{"allocation_ids":[{id}]}}"#)),
        body::<AddMember>(2, r#"{"api_addr":"10.0.0.4:7400","peer_addr":"10.0.0.4:7401"}"#),
        body::<TransferLeadership>(3, r#"{"to":2}"#),
        body::<JobHeartbeat>(4, r#"{"job_master_id":"jm-1"}"#),
        body::<PutJob>(5, r#"{"queue":"default","priority":10,"job_master_id":"jm-1","lease":"30s"}"#),
        body::<PlanRequest>(6, &format!(r#"{{"job_id":"wordcount","slots":2,{rules}}}"#)),
        body::<PutQueue>(7, r#"{"maximum":{"slots":100,"cpu_cores":64},"state":"running"}"#),
        body::<PutRequirements>(8, &format!(r#"{{"version":1,"requirements":[{line}]}}"#)),
        body::<PatchSettings>(9, r#"{"strategy":"least_utilization","heartbeat_timeout":"10s"}"#),
        body::<Confirm>(10, &format!(r#"{{"epoch":7,"allocation_ids":[{id}],"failed":[{failed}]}}"#)),
        body::<Drain>(11, r#"{"deadline":"10m"}"#),
        body::<Heartbeat>(12, &format!(r#"{{"epoch":7,"generation":12,"held":[{id}]}}"#)),
        body::<RegisterTaskManager>(
            255,
            r#"{"task_manager_id":"tm","session_id":"s","address":"a:1","slots":4,
            "total_profile":{"cpu_cores":4},"labels":{"zone":"a"}}"#,
        ),
    ]
    .into()
}

fn body<T: DeserializeOwned>(which: u8, json: &str) -> Vec<u8> {
    let read = serde_json::from_str::<T>(json);
    assert!(read.is_ok(), "{json}: {:?}", read.err());
    [&[which], json.as_bytes()].concat()
}

/// Requests and answers as `src/consensus/messages.rs` lays them out, with the golden records as entries.
fn messages(records: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let id = [&[16_u8][..], &[0; 16]].concat();
    let head = [&id[..], &[1], &id, &[2], &id].concat();
    let request = |body: &[u8]| [&head[..], body].concat();
    let entry = |index: u8, record: &Vec<u8>| {
        let length = u8::try_from(record.len()).ok().filter(|length| *length <= 250)?;
        Some([&[5, index, 1, length][..], record].concat())
    };
    let entries: Vec<Vec<u8>> =
        (1..).zip(records).filter_map(|(index, record)| entry(index, record)).take(8).collect();
    let count = u8::try_from(entries.len()).unwrap();
    let append = [&[0, 5, 1, 1, 1, 1, 4, 9, count][..], &entries.concat(), &[1, 4, 9]].concat();
    let address = [&[9][..], b"[::]:7400", &[9], b"[::]:7401", &id].concat();
    let member = [&[1][..], &address].concat();
    let snapshot = [&[4, 5, 1, 1, 1, 1, 4, 9, 1, 4, 2, 1, 1, 1, 1][..], &member, &[1, b's', 100]].concat();
    let adopt = [&[8][..], &id, &[7, 1], &member, &[1]].concat();
    let mut seeds: Vec<Vec<u8>> =
        [&[7][..], &[2, 5, 1, 1, 0, 1, 4, 9, 0], &[1, 5, 1, 1, 0, 0, 0], &[9], &[10], &[6, 7]]
            .into_iter()
            .chain([&append[..], &[0, 5, 1, 1, 1, 1, 4, 9, 0, 0], &snapshot, &[5, 3, 1, 2, 3], &adopt])
            .map(request)
            .collect();
    let answers: [&[u8]; 7] =
        [&[0, 0, 1, 4, 9], &[0, 1, 4, 9], &[0, 2, 5, 1, 1, 0], &[2, 0], &[3, 5, 1, 1, 0], &[5], &[7, 7]];
    seeds.extend(answers.map(<[u8]>::to_vec));
    let hello = [&[4][..], &address, &[2], &id, &[1]].concat();
    let report = [&[6, 5, 6, 7][..], &[9; 32], &[1], &[8; 32]].concat();
    seeds.extend([hello, report]);
    seeds
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
    (0..hexadecimal.len()).step_by(2).map(digits).collect()
}

fn write(target: &str, seeds: impl IntoIterator<Item = Vec<u8>>) {
    let mut text = String::new();
    for seed in seeds {
        for byte in seed {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    std::fs::write(path(target), text).unwrap();
}
