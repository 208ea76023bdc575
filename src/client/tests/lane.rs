//! A lane: one request after the other on one connection, and nothing is repeated.

use std::time::Duration;

use serde_json::json;

use super::scripted_server::{Reply, ScriptedServer};
use crate::client::{Failure, Lane, LaneRequest};

const LIMIT: Duration = Duration::from_secs(5);

fn post(body: &[u8]) -> LaneRequest<'_> {
    LaneRequest { method: "POST", target: "/v1/jobs/j", key: Some("k1"), body }
}

#[tokio::test]
async fn answers_come_as_they_are_one_after_the_other() {
    let server = ScriptedServer::start(|asked| match asked.body["slots"].as_u64() {
        Some(1) => Reply::ok(json!({"a": 1})),
        _ => Reply::Text(503, "no"),
    })
    .await;
    let mut lane = Lane::open(&server.url(), LIMIT).await.unwrap();
    for _ in 0..3 {
        assert_eq!(lane.exchange(post(b"{\"slots\":1}"), LIMIT).await.unwrap(), 200);
        assert_eq!(lane.body(), b"{\"a\":1}");
        assert_eq!(lane.exchange(post(b""), LIMIT).await.unwrap(), 503);
        assert_eq!(lane.body(), b"no");
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 6);
    assert!(
        asked.iter().all(|asked| asked.line() == "POST /v1/jobs/j" && asked.key.as_deref() == Some("k1"))
    );
}

#[tokio::test]
async fn a_lane_that_breaks_says_so_and_repeats_nothing() {
    let server = ScriptedServer::start(|_| Reply::Disconnect).await;
    let mut lane = Lane::open(&server.url(), LIMIT).await.unwrap();
    assert!(matches!(lane.exchange(post(b""), LIMIT).await, Err(Failure::Broken { .. })));
    assert_eq!(server.asked().len(), 1);

    let silent = ScriptedServer::start(|_| Reply::Hang).await;
    let mut lane = Lane::open(&silent.url(), LIMIT).await.unwrap();
    let asked = lane.exchange(post(b""), Duration::from_millis(20)).await;
    assert!(matches!(asked, Err(Failure::Timeout { .. })));
}

#[tokio::test]
async fn nobody_there_is_a_failure_to_connect() {
    for address in ["127.0.0.1:1", "ftp://a"] {
        assert!(matches!(Lane::open(address, LIMIT).await, Err(Failure::Connect { .. })), "{address}");
    }
}
