//! Every problem code that a client can meet, provoked.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use slotkeeper::api::ProblemCode;
use slotkeeper::http::HttpOptions;

use crate::api::{Answered, Api};
use crate::cluster::Cluster;

/// Codes that other tests provoke (`forwarding`, `limits`), or that only a fault inside the server can.
const ELSEWHERE: [&str; 11] = [
    "no_leader",
    "outcome_unknown",
    "revision_timeout",
    "idempotency_key_reused",
    "request_timeout",
    "body_too_large",
    "shutting_down",
    "leadership_lost",
    "overloaded",
    "limit_reached",
    "internal_error",
];

struct Seen(Mutex<BTreeSet<String>>);

impl Seen {
    /// Checks status and code of a refusal, and notes the code.
    #[track_caller]
    fn expect(&self, answer: Answered, status: u16, code: &str) -> Value {
        let problem = answer.expect(status);
        assert_eq!(problem.code(), code, "{problem:?}");
        self.0.lock().unwrap().insert(code.to_owned());
        problem.json()
    }
}

const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

#[tokio::test]
async fn every_code_is_met_where_the_contract_says() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    let seen = Seen(Mutex::default());
    requests(&api, &seen).await;
    task_managers(&api, &seen).await;
    jobs(&api, &seen).await;
    queues(&api, &seen).await;
    idempotency(&api, &seen).await;
    full_disk(&cluster, &seen).await;
    let mut met = seen.0.into_inner().unwrap();
    met.extend(ELSEWHERE.iter().map(|code| (*code).to_owned()));
    let all: BTreeSet<_> = ProblemCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(met, all, "codes that no test meets, or that are not in the table");
}

async fn requests(api: &Api, seen: &Seen) {
    seen.expect(api.get("/v3").await, 404, "not_found");
    seen.expect(api.delete("/v1/overview").await, 405, "method_not_allowed");
    seen.expect(api.put("/v1/jobs/a", json!({"x": 1})).await, 400, "invalid_request");
    for headers in [[("sec-fetch-site", "cross-site")], [("origin", "http://evil.example")]] {
        let refused = api.call(Method::PUT, "/v1/jobs/a", &headers, "{}").await;
        seen.expect(refused, 403, "cross_site_request");
    }
    api.call(Method::GET, "/v1/jobs", &[("sec-fetch-site", "cross-site")], "").await.expect(200);
    seen.expect(api.post("/v1/cluster/members/99/promote", json!({})).await, 404, "unknown_member");
    seen.expect(api.post("/v1/cluster/members/1/promote", json!({})).await, 409, "membership_conflict");
}

async fn task_managers(api: &Api, seen: &Seen) {
    let epoch = api.register("tm-1", 1).await;
    let beat = json!({"epoch": epoch + 9, "generation": 0});
    seen.expect(api.post("/v1/task-managers/tm-1/heartbeat", beat.clone()).await, 409, "stale_epoch");
    seen.expect(
        api.post("/v1/task-managers/none/heartbeat", beat.clone()).await,
        404,
        "unknown_task_manager",
    );
    seen.expect(api.post("/v1/task-managers/tm-1/confirm", json!({"epoch": 0})).await, 409, "stale_epoch");
    for path in ["/v1/task-managers/none", "/v1/task-managers/none/allocations"] {
        seen.expect(api.get(path).await, 404, "unknown_task_manager");
    }
    for verb in ["cordon", "uncordon", "drain"] {
        let path = format!("/v1/task-managers/none/{verb}");
        seen.expect(api.post(&path, json!({})).await, 404, "unknown_task_manager");
    }
    seen.expect(api.delete("/v1/task-managers/none").await, 404, "unknown_task_manager");
    let changed = json!({"task_manager_id": "tm-1", "session_id": "s1", "address": "a:1", "slots": 3});
    let refused = seen.expect(api.post("/v1/task-managers", changed).await, 400, "invalid_request");
    assert_eq!(refused["field"], "slots", "what is offered can not change within a session");
}

async fn jobs(api: &Api, seen: &Seen) {
    for (method, path, body) in [
        (Method::GET, "/v1/jobs/none", json!({})),
        (Method::DELETE, "/v1/jobs/none", json!({})),
        (Method::GET, "/v1/jobs/none/allocations", json!({})),
        (Method::GET, "/v1/jobs/none/requirements", json!({})),
        (Method::POST, "/v1/jobs/none/allocations", json!({"slots": 1})),
        (Method::POST, "/v1/jobs/none/release", json!({"allocation_ids": []})),
        (Method::PUT, "/v1/jobs/none/requirements", json!({"version": 1, "requirements": []})),
        (Method::POST, "/v1/jobs/none/heartbeat", json!({"job_master_id": "jm"})),
        (Method::POST, "/v1/plan", json!({"job_id": "none", "slots": 1})),
    ] {
        seen.expect(api.call(method, path, &[], body.to_string()).await, 404, "unknown_job");
    }
    api.put("/v1/jobs/job", json!({"job_master_id": "jm-2"})).await.expect(201);
    for (path, body) in [
        ("/v1/jobs/job/heartbeat", json!({"job_master_id": "jm-1"})),
        ("/v1/jobs/job/allocations", json!({"slots": 1, "job_master_id": "jm-1"})),
    ] {
        seen.expect(api.post(path, body).await, 409, "stale_job_master");
    }
    let refused = api.post("/v1/jobs/job/allocations", json!({"slots": 9})).await;
    let problem = seen.expect(refused, 409, "insufficient_resources");
    let counted: u64 = problem["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|count| count["task_managers"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, 1, "the counts add up to the TaskManagers looked at");
    let path = format!("/v1/jobs/job/allocations/{NOBODY}");
    seen.expect(api.delete(&path).await, 404, "unknown_allocation");
    seen.expect(api.get(&format!("/v1/allocations/{NOBODY}")).await, 404, "unknown_allocation");
    let declare = |version: u64, desired: u64| json!({"version": version, "requirements": [{"name": "a", "desired": desired}]});
    let path = "/v1/jobs/job/requirements";
    api.put(path, declare(5, 1)).await.expect(200);
    api.put(path, declare(5, 1)).await.expect(200);
    seen.expect(api.put(path, declare(4, 1)).await, 409, "stale_version");
    seen.expect(api.put(path, declare(5, 2)).await, 409, "version_reused");
}

async fn full_disk(cluster: &Cluster, seen: &Seen) {
    let api = cluster.api(0);
    api.job("last").await;
    cluster.note_disk_full(0, true);
    let problem = seen.expect(api.put("/v1/jobs/more", json!({})).await, 503, "disk_full");
    assert_eq!(problem["retryable"], true);
    api.delete("/v1/jobs/last").await.expect(200);
    cluster.note_disk_full(0, false);
    api.job("more").await;
}

async fn queues(api: &Api, seen: &Seen) {
    seen.expect(api.get("/v1/queues/none").await, 404, "unknown_queue");
    seen.expect(api.delete("/v1/queues/none").await, 404, "unknown_queue");
    seen.expect(api.put("/v1/jobs/other", json!({"queue": "none"})).await, 404, "unknown_queue");
    seen.expect(api.delete("/v1/queues/default").await, 409, "queue_protected");
    api.put("/v1/queues/q", json!({})).await.expect(201);
    api.put("/v1/jobs/in-q", json!({"queue": "q"})).await.expect(201);
    seen.expect(api.delete("/v1/queues/q").await, 409, "queue_in_use");
    api.register("tm-q", 1).await;
    api.allocate("in-q", 1).await;
    seen.expect(api.put("/v1/queues/q", json!({"maximum": {"slots": 0}})).await, 409, "queue_above_maximum");
    seen.expect(api.put("/v1/jobs/in-q", json!({})).await, 409, "job_holds_slots");
}

async fn idempotency(api: &Api, seen: &Seen) {
    api.patch("/v1/settings", json!({"idempotency_keys_max": 1000})).await.expect(200);
    let mut full = None;
    for index in 0..1_100 {
        let key = format!("key-{index}");
        let answer = api.call(Method::PUT, "/v1/jobs/job-k", &[("idempotency-key", &key)], "{}").await;
        if answer.status == 429 {
            full = Some((index, answer));
            break;
        }
    }
    let (index, answer) = full.expect("the table gets full");
    assert!(index >= 990, "full after {index} keys");
    seen.expect(answer, 429, "idempotency_table_full");
    api.put("/v1/jobs/job-k", json!({})).await.expect(200);
    let known = [("idempotency-key", "key-0")];
    let known = api.call(Method::PUT, "/v1/jobs/job-k", &known, "{}").await.expect(201);
    assert_eq!(known.header("slotkeeper-replayed"), "true");
}

#[tokio::test]
async fn a_change_of_the_leader_ends_a_wait_with_a_retryable_refusal() {
    let cluster = Cluster::start(2, HttpOptions::default()).await;
    let api = cluster.api(0);
    api.job("job").await;
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.post("/v1/jobs/job/allocations", json!({"slots": 1, "wait": "60s"})).await }
    });
    // The wait has begun when the write behind it is served: rounds are in order.
    while !cluster.api(0).get("/metrics").await.text.contains("slotkeeper_http_requests_in_flight 2\n") {
        tokio::task::yield_now().await;
    }
    api.job("other").await;
    cluster.elect(Some(1)).await;
    let refused = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.code(), "leadership_lost");
    assert_eq!(refused.json()["retryable"], true);
}
