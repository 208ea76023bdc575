//! What a trace of a whole cluster proves: no acknowledgement before its syncs.
//!
//! Three rules, each over every instance in the trace:
//!
//! 1. an answer 2xx to a request under a key is sent only after a majority of the servers have, since the request came
//!    in, written an entry that holds the key, synced the log, written the tip record and synced it;
//! 2. a follower tells the leader that its log agrees up to an index only after a synced tip record holds that index;
//! 3. a tip record is written only when everything that was written to the log before it is synced.
//!
//! What it must not do: run anything. The checks at the end show that each rule can be broken.

use std::collections::BTreeMap;

use super::trace::{self, Call};

const TIP_SLOT_DISTANCE: usize = 4096;
const ENVELOPE_BYTES: usize = 18;

/// A traced server.
#[derive(Debug, Clone)]
pub struct Traced {
    /// Its API address.
    pub api_addr: String,
    /// Its peer address.
    pub peer_addr: String,
    /// Its data directory.
    pub data_dir: String,
    /// The last index in its tip record when the trace begins.
    pub durable_index: u64,
}

/// What was looked at, and what was wrong.
#[derive(Debug, Default)]
pub struct Findings {
    /// Keys whose requests were acknowledged.
    pub keys: Vec<String>,
    /// Indexes that followers acknowledged beyond where the trace began.
    pub appends: usize,
    /// Tip records written.
    pub tips: usize,
    /// Broken rules.
    pub broken: Vec<String>,
}

/// One complete step of a log writer: a write of the log that was synced, and a tip record after it that was synced.
struct Disk {
    log_writes: Vec<Call>,
    log_syncs: Vec<Call>,
    tip_writes: Vec<Call>,
    tip_syncs: Vec<Call>,
}

/// Holds the trace against the rules.
pub fn examine(trace: &str, servers: &[Traced]) -> Findings {
    let calls = trace::calls(trace);
    let disks: Vec<Disk> = servers.iter().map(|server| Disk::of(server, &calls)).collect();
    let mut findings = Findings::default();
    for server in servers {
        acknowledgements(&calls, server, &disks, &mut findings);
    }
    for (server, disk) in servers.iter().zip(&disks) {
        appends(&calls, server, disk, &mut findings);
        tips(server, disk, &mut findings);
    }
    findings
}

impl Disk {
    fn of(server: &Traced, calls: &[Call]) -> Self {
        let select = |name: &str, file: &str| {
            let path = format!("{}/{file}", server.data_dir);
            let done = |call: &&Call| call.name == name && call.target == path && call.returned >= 0;
            calls.iter().filter(done).cloned().collect()
        };
        Self {
            log_writes: select("pwrite64", "log/db"),
            log_syncs: select("fdatasync", "log/db"),
            tip_writes: select("pwrite64", "tip"),
            tip_syncs: select("fdatasync", "tip"),
        }
    }

    /// When the first write of `key` after line `since` had been synced with its tip record.
    fn durable_at(&self, key: &str, since: usize) -> Option<usize> {
        let write = self.log_writes.iter().find(|call| call.began > since && holds(&call.data, key))?;
        let log_sync = self.log_syncs.iter().find(|call| call.began > write.ended)?;
        let tip_write = self.tip_writes.iter().find(|call| call.began > log_sync.ended)?;
        Some(self.tip_syncs.iter().find(|call| call.began > tip_write.ended)?.ended)
    }

    /// The highest index in a tip record that was synced before line `at`.
    fn durable_index(&self, at: usize) -> Option<u64> {
        let synced =
            |tip: &&Call| self.tip_syncs.iter().any(|sync| sync.began > tip.ended && sync.ended < at);
        self.tip_writes.iter().filter(synced).filter_map(|tip| index_in_slot(&tip.data)).max()
    }
}

fn holds(data: &[u8], text: &str) -> bool {
    data.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Rule 1 for the connections of one server's API.
fn acknowledgements(calls: &[Call], server: &Traced, disks: &[Disk], findings: &mut Findings) {
    let local = format!("{}->", server.api_addr);
    // What came in on each connection since its last answer, and when that began to come in.
    let mut requests: BTreeMap<&str, (usize, Vec<u8>)> = BTreeMap::new();
    for call in in_order_of_effect(calls).filter(|call| call.target.starts_with(&local)) {
        if is_receiving(call) {
            let request = requests.entry(&call.target).or_insert((call.ended, Vec::new()));
            request.1.extend_from_slice(&call.data);
        } else if call.data.starts_with(b"HTTP/1.1 ") {
            let Some((since, request)) = requests.remove(call.target.as_str()) else { continue };
            let Some(key) = key_of(&request).filter(|_| call.data.starts_with(b"HTTP/1.1 2")) else {
                continue;
            };
            let durable =
                disks.iter().filter(|disk| disk.durable_at(&key, since).is_some_and(|at| at < call.began));
            let durable = durable.count();
            if durable * 2 <= disks.len() {
                let (at, api_addr) = (call.began + 1, &server.api_addr);
                findings.broken.push(format!(
                    "line {at}: {api_addr} acknowledges `{key}` when {durable} of {} servers have synced it",
                    disks.len()
                ));
            }
            findings.keys.push(key);
        }
    }
}

/// Rule 2 for the connections on which one server answers a leader.
fn appends(calls: &[Call], server: &Traced, disk: &Disk, findings: &mut Findings) {
    let local = format!("{}->", server.peer_addr);
    for call in calls.iter().filter(|call| call.target.starts_with(&local) && !is_receiving(call)) {
        for index in matched_indexes(&call.data) {
            let durable = disk.durable_index(call.began).unwrap_or(0).max(server.durable_index);
            if index > durable {
                let (at, peer_addr) = (call.began + 1, &server.peer_addr);
                findings.broken.push(format!(
                    "line {at}: {peer_addr} says that its log agrees up to {index}, but {durable} is synced"
                ));
            }
            findings.appends += usize::from(index > server.durable_index);
        }
    }
}

/// Rule 3.
fn tips(server: &Traced, disk: &Disk, findings: &mut Findings) {
    findings.tips += disk.tip_writes.len();
    for tip in &disk.tip_writes {
        let Some(write) = disk.log_writes.iter().rfind(|write| write.began < tip.began) else { continue };
        let is_synced = disk.log_syncs.iter().any(|sync| sync.began > write.ended && sync.ended < tip.began);
        if !is_synced {
            let (at, data_dir) = (tip.began + 1, &server.data_dir);
            findings.broken.push(format!(
                "line {at}: a tip record of {data_dir} is written before the log of line {} is synced",
                write.began + 1
            ));
        }
    }
}

fn is_receiving(call: &Call) -> bool {
    matches!(call.name.as_str(), "recvfrom" | "read" | "readv" | "recvmsg")
}

/// Bytes are there when receiving ends, and are on their way when sending begins.
fn in_order_of_effect(calls: &[Call]) -> impl Iterator<Item = &Call> {
    let mut order: Vec<&Call> = calls.iter().filter(|call| call.returned > 0).collect();
    order.sort_by_key(|call| if is_receiving(call) { call.ended } else { call.began });
    order.into_iter()
}

fn key_of(request: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(request);
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("idempotency-key").then(|| value.trim().to_owned())
    };
    text.lines().find_map(header)
}

/// The indexes up to which the answers in `data` say that the log agrees.
fn matched_indexes(mut data: &[u8]) -> Vec<u64> {
    let mut indexes = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let length = (u32::from_le_bytes(*length) as usize).min(rest.len());
        let (message, rest) = rest.split_at(length);
        data = rest;
        if !message.starts_with(b"SKpa") {
            continue;
        }
        // An answer to an append that agrees up to an entry: its term and index follow.
        let body = message.get(ENVELOPE_BYTES..).unwrap_or_default();
        if let Some(mut log_id) = body.strip_prefix(&[0, 0, 1]) {
            let _term = number(&mut log_id);
            indexes.extend(number(&mut log_id));
        }
    }
    indexes
}

/// The last index in the tip file of a data directory.
pub fn index_in_tip(file: &[u8]) -> u64 {
    let slots = [file.get(..TIP_SLOT_DISTANCE), file.get(TIP_SLOT_DISTANCE..)];
    slots.into_iter().flatten().filter_map(index_in_slot).max().unwrap_or(0)
}

/// The last index in one tip record, whose layout is `storage/tip.rs`.
fn index_in_slot(slot: &[u8]) -> Option<u64> {
    let mut fields = slot.strip_prefix(b"SKtp")?.get(ENVELOPE_BYTES - 4 + 2..)?;
    let _counter = number(&mut fields)?;
    skip(&mut fields, 17)?;
    let _node_id = number(&mut fields)?;
    skip(&mut fields, 17)?;
    let _identity_revision = number(&mut fields)?;
    let _sequence = number(&mut fields)?;
    if number(&mut fields)? == 1 {
        skip(&mut fields, 16)?;
    }
    if number(&mut fields)? == 0 {
        return Some(0);
    }
    number(&mut fields)
}

fn skip(bytes: &mut &[u8], count: usize) -> Option<()> {
    *bytes = bytes.get(count..)?;
    Some(())
}

/// A number in the stored form: one byte up to 250, else a mark and 2, 4 or 8 bytes.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (mark, rest) = bytes.split_first()?;
    let width = match mark {
        0..=250 => {
            *bytes = rest;
            return Some(u64::from(*mark));
        }
        251 => 2,
        252 => 4,
        253 => 8,
        _ => return None,
    };
    let mut value = [0; 8];
    value[..width].copy_from_slice(rest.get(..width)?);
    *bytes = &rest[width..];
    Some(u64::from_le_bytes(value))
}

/// A trace made by hand, in which all is well: one request, and the disks of two of three servers.
const GOOD: &str = r#"1 recvfrom(9<TCP:[h1:7400->c:1]>, "POST /v1/jobs/j/allocations HTTP/1.1\r\nidempotency-key: key-7\r\n\r\n{}", 99, 0, NULL, NULL) = 66
1 pwrite64(5</d1/log/db>, "..key-7..", 9, 0) = 9
1 fdatasync(6</d1/log/db> <unfinished ...>
2 pwrite64(5</d2/log/db>, "..key-7..", 9, 0) = 9
1 <... fdatasync resumed>) = 0
1 pwrite64(7</d1/tip>, "TIP5", 512, 0) = 512
1 fdatasync(7</d1/tip>) = 0
2 fdatasync(6</d2/log/db>) = 0
2 pwrite64(7</d2/tip>, "TIP5", 512, 0) = 512
2 fdatasync(7</d2/tip>) = 0
2 writev(8<TCP:[h2:7401->h1:2]>, [{iov_base="\27\0\0\0SKpa\1\0\5\0\0\0\0\0\0\0CRC!\0\0\1\2\5", iov_len=27}], 1) = 27
1 writev(9<TCP:[h1:7400->c:1]>, [{iov_base="HTTP/1.1 201 Created\r\n", iov_len=22}], 1) = 22
"#;

/// Examines [`GOOD`] after its lines (from 1) were changed by `change`; gives the broken rules.
fn examine_changed(change: impl FnOnce(&mut Vec<&str>)) -> Findings {
    let mut lines: Vec<&str> = GOOD.lines().collect();
    change(&mut lines);
    let id = r"\20................";
    let tip = format!(r"SKtp\1\0........CRC!\20\0\3{id}\1{id}\1\11\0\1\5\2................\0");
    let trace = lines.join("\n").replace("TIP5", &tip);
    let traced = |number: u64| Traced {
        api_addr: format!("h{number}:7400"),
        peer_addr: format!("h{number}:7401"),
        data_dir: format!("/d{number}"),
        durable_index: 4,
    };
    examine(&trace, &[traced(1), traced(2), traced(3)])
}

#[test]
fn a_good_trace_breaks_no_rule() {
    let findings = examine_changed(|_| {});
    assert_eq!(findings.broken, Vec::<String>::new());
    assert_eq!((findings.keys, findings.appends, findings.tips), (vec!["key-7".to_owned()], 1, 2));
}

#[test]
fn a_missing_sync_is_found_wherever_it_is_missing() {
    for (missing, rules) in [
        (vec![2, 4], ["acknowledges `key-7` when 1 of 3", "before the log of line 2 is synced"]),
        (vec![7], ["acknowledges `key-7` when 1 of 3", "before the log of line 4 is synced"]),
        (vec![9], ["acknowledges `key-7` when 1 of 3", "agrees up to 5, but 4 is synced"]),
        (vec![8, 9], ["acknowledges `key-7` when 1 of 3", "agrees up to 5, but 4 is synced"]),
    ] {
        let findings = examine_changed(|lines| {
            for line in missing.iter().rev() {
                lines.remove(*line);
            }
        });
        for rule in rules {
            assert!(findings.broken.iter().any(|broken| broken.contains(rule)), "{missing:?}: {findings:?}");
        }
    }
}

#[test]
fn a_sync_that_comes_too_late_or_fails_does_not_count() {
    let late = examine_changed(|lines| {
        let sync = lines.remove(9);
        lines.push(sync);
    });
    assert_eq!(late.broken.len(), 2, "{late:?}");
    let begun_too_early = examine_changed(|lines| lines.swap(1, 2));
    assert_eq!(begun_too_early.broken.len(), 2, "{begun_too_early:?}");
    let failed =
        examine_changed(|lines| lines[7] = "2 fdatasync(6</d2/log/db>) = -1 EIO (Input/output error)");
    assert_eq!(failed.broken.len(), 2, "{failed:?}");
    let other = examine_changed(|lines| lines[3] = r#"2 pwrite64(5</d2/log/db>, "..key-8..", 9, 0) = 9"#);
    assert_eq!(other.broken.len(), 1, "{other:?}");
}
