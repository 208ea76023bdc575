//! HTTP requests as they come from broken or hostile clients, as raw bytes to a real server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, SETTLE};
use crate::http::Caller;
use crate::mutation::{Dice, cases, mutated};

const METHODS: [&str; 13] = [
    "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "G@T", "PROPFIND",
    "",
];

const PATHS: [&str; 40] = [
    "/",
    "",
    "*",
    "//",
    "/v1",
    "/v1/",
    "/v1//jobs",
    "/v1/jobs/",
    "/v1/jobs/%00",
    "/v1/jobs/%ff%fe",
    "/v1/jobs/..%2f..%2fsettings",
    "/v1/jobs/%2e%2e/x",
    "/v1/jobs/a%0d%0aset-cookie:x",
    "/v1/jobs/<script>",
    "/v1/jobs/job/allocations/not-a-uuid",
    "/v1/jobs/job/allocations/%20",
    "/v1/jobs/nobody/release",
    "/v1/jobs/nobody/requirements",
    "/v1/jobs/nobody/heartbeat",
    "/v1/jobs/nobody/allocations",
    "/v1/jobs?limit=-1",
    "/v1/jobs?limit=1001",
    "/v1/jobs?limit=99999999999999999999",
    "/v1/jobs?cursor=%ff",
    "/v1/jobs?limit=1&limit=2",
    "/v1/jobs?consistency=maybe",
    "/v1/jobs?min_revision=-1",
    "/v1/jobs?unknown=1",
    "/v1/task-managers/nobody/cordon",
    "/v1/task-managers/nobody/heartbeat",
    "/v1/task-managers/nobody/confirm",
    "/v1/task-managers/nobody/drain",
    "/v1/task-managers/nobody/allocations?generation=x",
    "/v1/task-managers/nobody/allocations?wait=soon",
    "/v1/cluster/members/x/promote",
    "/v1/cluster/members/99999999999999999999",
    "/v1/cluster/transfer-leadership",
    "/v1/plan",
    "/v1/queues/%C3%A4",
    "/v1/settings",
];

const HEADERS: [&str; 24] = [
    "",
    "content-length: 5\r\ncontent-length: 6\r\n",
    "content-length: 4\r\ntransfer-encoding: chunked\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "transfer-encoding: chunked, identity\r\n",
    "content-length: -1\r\n",
    "content-length: 99999999999999999999\r\n",
    "content-length: 0x10\r\n",
    "content-length: 1048577\r\n",
    "content-type: text/plain\r\n",
    "content-type: application/json; charset=utf-16\r\n",
    "content-encoding: gzip\r\n",
    "expect: 100-continue\r\n",
    "expect: nonsense\r\n",
    "upgrade: h2c\r\nconnection: upgrade\r\n",
    "idempotency-key: \r\n",
    "idempotency-key: a b\r\n",
    "idempotency-key: k\r\nidempotency-key: l\r\n",
    "slotkeeper-forward: never\r\nslotkeeper-forwarded: yes\r\n",
    "range: bytes=0-1\r\n",
    "x: \u{1}\r\n",
    " folded: 1\r\n",
    "no-colon\r\n",
];

const BODIES: [&str; 22] = [
    "",
    "{",
    "[]",
    "null",
    "{\"slots\":-1}",
    "{\"slots\":9007199254740993}",
    "{\"slots\":1e400}",
    "{\"slots\":4294967296}",
    "{\"slots\":\"1\"}",
    "{\"slots\":1,\"slots\":2}",
    "{\"unknown\":1}",
    "{\"wait\":\"1\"}",
    "{\"wait\":\"-1s\"}",
    "5\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nx\r\n0\r\n\r\n",
    "-1\r\nx\r\n",
    "5\r\nhel",
    "\u{feff}{}",
    "{\"a\":\"\u{0}\"}",
    "{\"epoch\":18446744073709551616,\"generation\":0}",
    "{\"version\":-1,\"requirements\":[]}",
    "\"\\ud800\"",
];

/// One raw request.
fn request(dice: &mut Dice) -> Vec<u8> {
    let (method, path) = (dice.pick(&METHODS), dice.pick(&PATHS));
    let version = dice.pick(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/9.9", "HTTX/1.1", ""]);
    let (headers, body) = (dice.pick(&HEADERS), dice.pick(&BODIES));
    let mut request = format!("{method} {path} {version}\r\nhost: x\r\n{headers}");
    if !headers.contains("content-length") && !headers.contains("transfer-encoding") {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    if dice.below(20) == 0 {
        request.push_str(&"y: z\r\n".repeat(200));
    }
    if dice.below(20) == 0 {
        request.push_str(&format!("y: {}\r\n", "z".repeat(70_000)));
    }
    request.push_str(&format!("\r\n{body}"));
    match dice.below(5) {
        0 => mutated(request.as_bytes(), dice),
        _ => request.into_bytes(),
    }
}

/// An answer or the end of the connection comes within a second or so; the rest is for a machine that is busy.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What a client does when it has sent everything.
#[derive(PartialEq)]
enum Then {
    /// It says no more, so that a request that is cut ends too; the server may take it for gone and not answer.
    HangsUp,
    /// It waits for the answer, after which the server closes.
    Listens,
}

/// Sends and gives the status of every answer that comes before the connection ends, which it must do in time.
fn statuses(address: &str, request: &[u8], then: &Then) -> Vec<u16> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).expect("the server takes connections");
    stream.set_read_timeout(Some(END_WITHIN)).unwrap();
    stream.set_write_timeout(Some(END_WITHIN)).unwrap();
    // The server may refuse and close before everything is sent.
    let sent = stream.write_all(request);
    if *then == Then::HangsUp {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).map(drop);
    for error in [sent, read].into_iter().filter_map(Result::err) {
        let is_closed = !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(
            is_closed,
            "neither an answer nor an end: {error}, after {:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert!(begun.elapsed() < END_WITHIN, "it took {:?}", begun.elapsed());
    let text = String::from_utf8_lossy(&answer);
    let is_status = |line: &str| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok();
    text.lines().filter_map(is_status).collect()
}

/// A request with an array of so many items.
fn array_of(path: &str, items: usize) -> Vec<u8> {
    let member = if path.ends_with("confirm") { "started" } else { "allocation_ids" };
    let body = format!("{{\"{member}\":[{}0]}}", "0,".repeat(items - 1));
    let head = format!(
        "POST /v1/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head, body].concat().into_bytes()
}

/// Everything that clients can see of the state, apart from its revision: a refusal may be written down too.
async fn visible(caller: &mut Caller) -> Value {
    let mut seen = Vec::new();
    for path in ["/v1/task-managers", "/v1/jobs", "/v1/allocations", "/v1/queues", "/v1/settings"] {
        seen.push(caller.read(path, SETTLE).await.expect("the server answers").body);
    }
    json!(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_that_is_wrong_is_done_or_breaks_the_server() {
    let mut cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_slotkeeper")), 1, &[]).await;
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    caller.write(("PUT", "/v1/jobs/job"), "job", &json!({}), SETTLE).await.expect("a job is put");
    let before = visible(&mut caller).await;
    let address = cluster.api_addrs()[0].clone();
    let mut answered = 0;
    for case in 0..cases(2_400) {
        let request = request(&mut Dice::new(1_000 + case as u64));
        let shown = String::from_utf8_lossy(&request[..request.len().min(300)]).into_owned();
        for status in statuses(&address, &request, &Then::HangsUp) {
            assert!(status < 500, "case {case}: {status} for {shown:?}");
            answered += 1;
        }
    }
    for path in ["jobs/job/release", "jobs/job/allocations", "task-managers/nobody/confirm"] {
        let answers = statuses(&address, &array_of(path, 1_000_000), &Then::Listens);
        // It may close before the whole body is sent, and then the answer may be lost on the way.
        assert!(matches!(answers[..], [413] | []), "a million items for {path}: {answers:?}");
        let answers = statuses(&address, &array_of(path, 500_000), &Then::Listens);
        assert_eq!(answers, [400], "half a million items for {path}");
    }
    assert!(answered > 1_000, "only {answered} answers: the corpus hardly reaches the server");
    assert_eq!(visible(&mut caller).await, before, "a wrong request was done");
    let log = cluster.log_tail(0);
    assert!(!log.contains("panic"), "{log}");
    assert_eq!(cluster.terminate(0), Some(0), "{}", cluster.log_tail(0));
}
