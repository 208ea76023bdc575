//! Names that somebody would suffer from, in a path and in a body.
//!
//! What it promises: they are refused without being echoed as markup or cut into a header, and nothing is made of them. They are
//! sent as they are written here, because clients rewrite paths.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bad_input::prepared;
use crate::cluster::Cluster;

/// Names as they stand in a path, as a browser, a shell, a log or a file system would suffer from them.
const HOSTILE_NAMES: [&str; 64] = [
    // Markup and scripts.
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
    "%3Csvg%2Fonload%3Dalert(1)%3E",
    "%22%3E%3Cb%3E",
    "'%3E%3Cb%3E",
    "%3C!--",
    "--%3E",
    "%3C%3Fphp",
    "%3C%25%3D7*7%25%3E",
    "%26lt%3Bscript%26gt%3B",
    "%26%23x3c%3B",
    "javascript:alert(1)",
    "data:text%2Fhtml,x",
    "%253Cscript%253E",
    "%C2%BCscript%C2%BE",
    "%EF%BC%9Cscript%EF%BC%9E",
    "%7B%7B7*7%7D%7D",
    "$%7B7*7%7D",
    "%5Cu003cscript%5Cu003e",
    "%60alert(1)%60",
    // Paths.
    ".",
    "..",
    "%2e",
    "%2e%2e",
    "%2e%2e%2f",
    ".%2e%2f..%2fsettings",
    "..%5c..%5csettings",
    "%2e%2e%2fetc%2fpasswd",
    "%252e%252e%252f",
    "%c0%ae%c0%ae%c0%af",
    "%2f",
    "%2fetc%2fpasswd",
    "a%2fb",
    "a%5cb",
    "C:%5cwindows",
    "file:%2f%2f%2f",
    "~root%2f",
    "a%3fb",
    "a%23b",
    "a;b=c",
    // Headers, logs and terminals.
    "a%0d%0ax-evil:1",
    "a%0ax-evil:1",
    "a%0dx-evil:1",
    "%0d%0a%0d%0a%3Chtml%3E",
    "a%C4%8Dx-evil:1",
    "%E5%98%8A%E5%98%8Dx-evil:1",
    "a%00b",
    "%00",
    "%01",
    "%1b%5b31m",
    "%1b%5d0;x%07",
    "%7f",
    "%08%08",
    "%c2%85",
    "%E2%80%A8",
    "%E2%80%AE",
    "%E2%80%8B",
    "%EF%BB%BF",
    // Neither text nor a name.
    "%ff%fe",
    "%ed%a0%80",
    "%20",
    "a%20b",
    "%25",
    "%F0%9F%92%A9",
];

/// Sends a request as it is written here, because clients rewrite paths with dots; gives head and body of the answer.
async fn raw(cluster: &Cluster, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(cluster.address(0)).await.unwrap();
    let head = "host: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close";
    stream.write_all(format!("{method} {path} HTTP/1.1\r\n{head}\r\n\r\n{{}}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).expect("an answer is text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer}"));
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn a_name_is_never_echoed_as_markup_or_cut_into_a_header() {
    let cluster = prepared().await;
    let before = cluster.replica(0).state_hash();
    for name in HOSTILE_NAMES {
        for (method, list) in
            [("GET", "jobs"), ("PUT", "jobs"), ("PUT", "queues"), ("DELETE", "task-managers")]
        {
            let (head, body) = raw(&cluster, method, &format!("/v1/{list}/{name}")).await;
            let named = format!("{method} {list}/{name}: {head}\n{body}");
            assert!(head.starts_with("HTTP/1.1 400"), "{named}");
            assert!(head.lines().any(|line| line == "content-type: application/problem+json"), "{named}");
            assert!(head.lines().skip(1).all(|line| !line.starts_with("x-evil")), "{named}");
            let problem: Value = serde_json::from_str(&body).expect(&named);
            assert_eq!(problem["code"], "invalid_request", "{named}");
            assert!(head.chars().all(|c| c == '\r' || c == '\n' || (' '..='~').contains(&c)), "{named}");
        }
    }
    assert_eq!(cluster.replica(0).state_hash(), before, "something of that name was made");
}

#[tokio::test]
async fn a_name_that_no_path_can_carry_is_not_given_to_anything() {
    let cluster = prepared().await;
    let (api, before) = (cluster.api(0), cluster.replica(0).state_hash());
    for name in [".", ".."] {
        let offer = json!({"task_manager_id": name, "session_id": "s", "address": "a:1", "slots": 1});
        let job = json!({"queue": name});
        for (answer, field) in [
            (api.post("/v1/task-managers", offer).await, "task_manager_id"),
            (api.put("/v1/jobs/other", job).await, "queue"),
        ] {
            let answer = answer.expect(400);
            assert_eq!((answer.code().as_str(), &answer.json()["field"]), ("invalid_request", &json!(field)));
            assert!(answer.text.contains("no path can carry it"), "{answer:?}");
        }
    }
    assert_eq!(cluster.replica(0).state_hash(), before);
}
