//! Any replica takes any request; what happens while leaders come and go; how fresh reads are; idempotency keys.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use slotkeeper::http::HttpOptions;
use slotkeeper::leader::LeaderAddress;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::cluster::Cluster;

/// Options under which a test does not wait long for what never comes.
fn impatient() -> HttpOptions {
    HttpOptions {
        leader_wait: Duration::from_millis(300),
        revision_wait: Duration::from_millis(300),
        request_timeout: Duration::from_millis(1_500),
        ..HttpOptions::default()
    }
}

#[tokio::test]
async fn a_follower_passes_writes_and_reads_on_to_the_leader() {
    let cluster = Cluster::start(3, HttpOptions::default()).await;
    let follower = cluster.api(2);
    follower.register("tm-1", 1).await;
    follower.job("job").await;
    assert_eq!(follower.allocate("job", 1).await.len(), 1);
    let read = follower.get("/v1/jobs/job").await.expect(200);
    assert_eq!((read.header("slotkeeper-node"), read.header("slotkeeper-leader")), ("1", "1"));
    let refused = follower.post("/v1/jobs/job/allocations", json!({"slots": 1})).await.expect(409);
    assert_eq!(refused.code(), "insufficient_resources", "a refusal comes back as it is");
    assert!(refused.headers.get("slotkeeper-undecided").is_none());
}

#[tokio::test]
async fn a_stale_read_is_served_by_the_asked_node() {
    let cluster = Cluster::start(2, HttpOptions::default()).await;
    cluster.api(0).job("job").await;
    let read = cluster.api(1).get("/v1/jobs/job?consistency=stale").await.expect(200);
    assert_eq!(read.header("slotkeeper-node"), "2");
    cluster.elect(None).await;
    cluster.api(1).get("/v1/jobs/job?consistency=stale").await.expect(200);
}

#[tokio::test]
async fn a_client_that_forbids_forwarding_is_told_where_the_leader_is() {
    let cluster = Cluster::start(2, HttpOptions::default()).await;
    let never = [("slotkeeper-forward", "never")];
    let told = cluster.api(1).call(Method::PUT, "/v1/jobs/job", &never, "{}").await.expect(307);
    assert_eq!(told.header("location"), format!("http://{}/v1/jobs/job", cluster.address(0)));
    let read = cluster.api(1).call(Method::GET, "/v1/jobs?limit=5", &never, "").await.expect(307);
    assert_eq!(read.header("location"), format!("http://{}/v1/jobs?limit=5", cluster.address(0)));
    cluster.api(0).call(Method::PUT, "/v1/jobs/job", &never, "{}").await.expect(201);
}

#[tokio::test]
async fn a_leader_that_is_not_heard_is_named_to_nobody() {
    let cluster = Cluster::start(2, impatient()).await;
    cluster.shared.cut_off_leader();
    let refused = cluster
        .api(1)
        .call(Method::PUT, "/v1/jobs/job", &[("slotkeeper-forward", "never")], "{}")
        .await
        .expect(503);
    assert_eq!(refused.code(), "no_leader");
    let read = cluster.api(1).get("/v1/jobs?consistency=stale").await.expect(200);
    assert!(read.headers.get("slotkeeper-leader").is_none());
    let readiness = cluster.api(1).get("/readyz").await.expect(503).json();
    assert!(readiness.get("leader_id").is_none_or(serde_json::Value::is_null), "{readiness}");
    assert_eq!(readiness["reasons"], json!(["this node does not hear the leader"]));
}

/// Found by a storm: one answer named the leader of one term with the number of another.
#[tokio::test]
async fn leader_and_term_belong_together_also_while_the_leader_changes() {
    let cluster = Cluster::start(3, HttpOptions::default()).await;
    let late = cluster.api(2);
    cluster.shared.elect(Some(1));
    let former = LeaderAddress { node_id: 1, api_addr: "127.0.0.1:1".to_owned() };
    cluster.shared.mislead(2, Some(former));
    let seen = late.get("/v1/cluster?consistency=stale").await.expect(200).json();
    assert_eq!((&seen["leader_id"], &seen["members"][1]["state"]), (&json!(2), &json!("leader")), "{seen}");
}

#[tokio::test]
async fn without_a_leader_requests_are_refused_after_a_bounded_wait() {
    let cluster = Cluster::start(2, impatient()).await;
    cluster.elect(None).await;
    for index in [0, 1] {
        let began = Instant::now();
        let refused = cluster.api(index).put("/v1/jobs/job", json!({})).await.expect(503);
        assert_eq!(refused.code(), "no_leader");
        assert_eq!(refused.json()["retryable"], true);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(cluster.api(index).get("/v1/jobs").await.expect(503).code(), "no_leader");
    }
}

#[tokio::test]
async fn a_request_waits_for_the_new_leader() {
    let options = HttpOptions { leader_wait: Duration::from_secs(10), ..HttpOptions::default() };
    let cluster = Cluster::start(2, options).await;
    cluster.elect(None).await;
    let waiting = tokio::spawn({
        let api = cluster.api(1);
        async move { api.put("/v1/jobs/job", json!({})).await }
    });
    tokio::task::yield_now().await;
    cluster.elect(Some(1)).await;
    waiting.await.unwrap().expect(201);
}

#[tokio::test]
async fn a_leader_without_a_quorum_serves_no_linearizable_read_and_is_not_ready() {
    let cluster = Cluster::start(1, impatient()).await;
    let api = cluster.api(0);
    cluster.shared.cut_off_leader();
    assert_eq!(api.get("/v1/overview").await.expect(503).code(), "no_leader");
    assert_eq!(api.get("/v1/overview?consistency=stale").await.expect(200).header("slotkeeper-node"), "1");
    let readiness = api.get("/readyz").await.expect(503).json();
    assert_eq!((&readiness["ready"], readiness["reasons"].as_array().unwrap().len()), (&json!(false), 1));
    cluster.elect(None).await;
    assert_eq!(api.get("/readyz").await.expect(503).json()["reasons"], json!(["no leader is known"]));
    assert_eq!(api.get("/livez").await.expect(200).text, "ok\n");
}

#[tokio::test]
async fn a_request_is_sent_on_at_most_once() {
    let cluster = Cluster::start(2, impatient()).await;
    // Each takes the other for the leader.
    let address = |index: usize| {
        let api_addr = cluster.address(index).to_string();
        Some(LeaderAddress { node_id: u64::try_from(index).unwrap() + 1, api_addr })
    };
    cluster.shared.mislead(0, address(1));
    cluster.shared.mislead(1, address(0));
    let refused = cluster.api(0).put("/v1/jobs/job", json!({})).await.expect(503);
    assert_eq!(refused.code(), "no_leader");
    assert!(
        refused.headers.get("slotkeeper-undecided").is_none(),
        "what replicas tell each other stays inside"
    );
}

#[tokio::test]
async fn a_leader_that_can_not_be_reached_means_no_leader_and_nothing_is_open() {
    let cluster = Cluster::start(1, impatient()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap().to_string();
    drop(listener);
    cluster.shared.mislead(0, Some(LeaderAddress { node_id: 7, api_addr: gone }));
    assert_eq!(cluster.api(0).put("/v1/jobs/job", json!({})).await.expect(503).code(), "no_leader");
}

/// A leader that takes requests and never answers: the address, and how many bytes it got.
async fn silent_leader() -> (LeaderAddress, tokio::task::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api_addr = listener.local_addr().unwrap().to_string();
    let taken = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 16 * 1024];
        let mut taken = 0;
        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
            taken += count;
        }
        taken
    });
    (LeaderAddress { node_id: 7, api_addr }, taken)
}

#[tokio::test]
async fn a_write_that_was_sent_on_and_not_answered_is_open_and_is_not_sent_again() {
    let cluster = Cluster::start(1, impatient()).await;
    let (leader, taken) = silent_leader().await;
    cluster.shared.mislead(0, Some(leader));
    let open = cluster.api(0).put("/v1/jobs/job", json!({})).await.expect(504);
    assert_eq!(open.code(), "outcome_unknown");
    assert_eq!(open.json()["retryable"], true);
    assert!(taken.await.unwrap() > 0);
}

#[tokio::test]
async fn a_read_that_the_old_leader_does_not_answer_goes_to_the_new_one() {
    let options = HttpOptions { leader_wait: Duration::from_secs(10), ..HttpOptions::default() };
    let cluster = Cluster::start(2, options).await;
    let (leader, _) = silent_leader().await;
    cluster.shared.mislead(1, Some(leader));
    let reading = tokio::spawn({
        let api = cluster.api(1);
        async move { api.get("/v1/overview").await }
    });
    // The request is on its way to the silent one when the other one is elected.
    let metrics = cluster.api(1);
    while !metrics.get("/metrics").await.text.contains("slotkeeper_http_forwarded_total 1\n") {
        tokio::task::yield_now().await;
    }
    cluster.elect(Some(0)).await;
    assert_eq!(reading.await.unwrap().expect(200).header("slotkeeper-node"), "1");
}

#[tokio::test]
async fn a_read_waits_for_the_revision_that_it_asks_for() {
    let cluster = Cluster::start(2, impatient()).await;
    let api = cluster.api(1);
    let written = api.put("/v1/jobs/job", json!({})).await.expect(201);
    let revision: u64 = written.header("slotkeeper-revision").parse().unwrap();
    for consistency in ["stale", "linearizable"] {
        let path = format!("/v1/jobs/job?consistency={consistency}&min_revision={revision}");
        let read = api.get(&path).await.expect(200);
        assert!(read.header("slotkeeper-revision").parse::<u64>().unwrap() >= revision);
        let path = format!("/v1/jobs/job?consistency={consistency}&min_revision={}", revision + 1_000);
        assert_eq!(api.get(&path).await.expect(504).code(), "revision_timeout");
    }
    let waiting = tokio::spawn({
        let (api, path) =
            (api.clone(), format!("/v1/jobs/other?consistency=stale&min_revision={}", revision + 1));
        async move { api.get(&path).await }
    });
    api.put("/v1/jobs/other", json!({})).await.expect(201);
    waiting.await.unwrap().expect(200);
}

#[tokio::test]
async fn the_same_key_gives_the_first_answer_again_on_any_node_and_after_a_change_of_the_leader() {
    let cluster = Cluster::start(2, HttpOptions::default()).await;
    cluster.api(0).register("tm-1", 4).await;
    cluster.api(0).job("job").await;
    let key = [("idempotency-key", "key-1")];
    let (path, body) = ("/v1/jobs/job/allocations", "{\"slots\":1}");
    let first = cluster.api(0).call(Method::POST, path, &key, body).await.expect(200);
    assert_eq!(first.header("slotkeeper-replayed"), "");
    let again = cluster.api(1).call(Method::POST, path, &key, body).await.expect(200);
    assert_eq!((again.header("slotkeeper-replayed"), &again.text), ("true", &first.text));
    assert_eq!(again.header("slotkeeper-revision"), first.header("slotkeeper-revision"));
    cluster.elect(Some(1)).await;
    let later = cluster.api(0).call(Method::POST, path, &key, body).await.expect(200);
    assert_eq!((later.header("slotkeeper-replayed"), &later.text), ("true", &first.text));
    let other = cluster.api(0).call(Method::POST, path, &key, "{\"slots\":2}").await.expect(422);
    assert_eq!(other.code(), "idempotency_key_reused");
    assert_eq!(cluster.api(0).get("/v1/overview").await.json()["slots_allocated"], 1);
}

#[tokio::test]
async fn a_declaration_given_again_is_answered_as_the_first_time_whatever_has_come_of_it() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.job("job").await;
    let key = [("idempotency-key", "key-1")];
    let path = "/v1/jobs/job/requirements";
    let line = r#"{"name": "a", "min": 1, "desired": 3, "profile": {"cpu_cores": 1},
        "constraints": [{"label": "zone", "op": "=", "values": ["a"]}, {"spread_by": "zone", "max_per": 2}]}"#;
    let body = format!(r#"{{"version": 1, "requirements": [{line}]}}"#);
    let first = api.call(Method::PUT, path, &key, body.clone()).await.expect(200);
    api.register("tm-1", 2).await;
    let served = api.get(path).await.expect(200).json();
    assert_ne!(served["requirements"][0]["granted"], first.json()["requirements"][0]["granted"]);
    let again = api.call(Method::PUT, path, &key, body.clone()).await.expect(200);
    assert_eq!((again.header("slotkeeper-replayed"), &again.text), ("true", &first.text));
    api.put(path, json!({"version": 2, "requirements": []})).await.expect(200);
    api.delete("/v1/jobs/job").await.expect(200);
    let again = api.call(Method::PUT, path, &key, body).await.expect(200);
    assert_eq!((again.header("slotkeeper-replayed"), &again.text), ("true", &first.text));
    assert_eq!(again.header("slotkeeper-revision"), first.header("slotkeeper-revision"));
}

#[tokio::test]
async fn a_forwarded_head_tells_the_length_that_the_leader_would_tell() {
    let cluster = Cluster::start(2, HttpOptions::default()).await;
    cluster.api(0).job("job").await;
    for path in ["/v1/jobs/job", "/v1/jobs/none"] {
        let direct = cluster.api(0).call(Method::HEAD, path, &[], "").await;
        let forwarded = cluster.api(1).call(Method::HEAD, path, &[], "").await;
        let got = cluster.api(1).get(path).await;
        assert_eq!((forwarded.status, forwarded.text.as_str()), (direct.status, ""));
        assert_eq!(forwarded.header("content-length"), direct.header("content-length"));
        assert_eq!(forwarded.header("content-length"), got.text.len().to_string());
    }
}

#[tokio::test]
async fn a_refusal_is_remembered_under_its_key_too() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.job("job").await;
    let key = [("idempotency-key", "key-1")];
    let path = "/v1/jobs/job/allocations";
    api.call(Method::POST, path, &key, "{\"slots\":1}").await.expect(409);
    api.register("tm-1", 1).await;
    let again = api.call(Method::POST, path, &key, "{\"slots\":1}").await.expect(409);
    assert_eq!(again.header("slotkeeper-replayed"), "true");
    api.call(Method::POST, path, &[("idempotency-key", "key-2")], "{\"slots\":1}").await.expect(200);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let cluster = Cluster::single().await;
    let long = "k".repeat(129);
    for key in ["", "a b", long.as_str()] {
        let refused =
            cluster.api(0).call(Method::PUT, "/v1/jobs/job", &[("idempotency-key", key)], "{}").await;
        assert_eq!(refused.expect(400).json()["field"], "idempotency-key");
    }
}
