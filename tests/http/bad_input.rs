//! Bad input of all kinds: always refused with 4xx, never a 5xx, and never a trace in the replicated state.

use reqwest::Method;
use serde_json::{Value, json};

use crate::api::Api;
use crate::cluster::Cluster;

/// Bodies that no endpoint that takes a body may accept.
const NO_BODIES: [&str; 29] = [
    "{",
    "}",
    "[]",
    "null",
    "true",
    "0",
    "\"text\"",
    "nope",
    "{\"slots\":1}}",
    "{\"slots\":1} {}",
    "{'slots':1}",
    "{slots:1}",
    "{\"slots\":01}",
    "{\"slots\":0x10}",
    "{\"slots\":+1}",
    "{\"slots\":1,}",
    "{\"slots\":NaN}",
    "{\"slots\":Infinity}",
    "{\"slots\":1e999}",
    "{\"unknown_member\":1}",
    "{\"__proto__\":{}}",
    "{\"\":1}",
    "\u{feff}{}",
    "{\"slots\":1}\u{0}",
    "<xml/>",
    "slots=1",
    "{\"a\\u0000b\":1}",
    "{\"\\ud800\":1}",
    "/* */ {}",
];

/// Endpoints that take a body.
const TAKE_BODIES: [(&str, &str); 15] = [
    ("POST", "/v1/task-managers"),
    ("POST", "/v1/task-managers/tm/heartbeat"),
    ("POST", "/v1/task-managers/tm/confirm"),
    ("POST", "/v1/task-managers/tm/drain"),
    ("POST", "/v1/task-managers/tm/cordon"),
    ("PUT", "/v1/jobs/job"),
    ("POST", "/v1/jobs/job/heartbeat"),
    ("POST", "/v1/jobs/job/allocations"),
    ("POST", "/v1/jobs/job/release"),
    ("PUT", "/v1/jobs/job/requirements"),
    ("POST", "/v1/plan"),
    ("PUT", "/v1/queues/queue"),
    ("PATCH", "/v1/settings"),
    ("POST", "/v1/cluster/members"),
    ("POST", "/v1/cluster/transfer-leadership"),
];

/// A request whose body is JSON and wrong: method and path, body, and the field that the refusal must name.
type Case = (&'static str, Value, &'static str);

fn at(target: &'static str, bodies: Vec<(Value, &'static str)>) -> Vec<Case> {
    bodies.into_iter().map(|(body, field)| (target, body, field)).collect()
}

/// `body` with `member` replaced.
fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

fn registration(member: &str, value: Value) -> Value {
    with(json!({"task_manager_id": "x", "session_id": "s", "address": "a:1", "slots": 1}), member, value)
}

fn allocation(member: &str, value: Value) -> Value {
    with(json!({"slots": 1}), member, value)
}

fn line(member: &str, value: Value) -> Value {
    json!({"version": 9, "requirements": [with(json!({"name": "a", "desired": 1}), member, value)]})
}

/// An object with `count` members of `value`.
fn members(count: usize, value: &Value) -> Value {
    Value::Object((0..count).map(|index| (format!("l{index}"), value.clone())).collect())
}

fn ids(count: usize) -> Value {
    Value::from(vec!["00000000-0000-0000-0000-000000000001"; count])
}

/// What a TaskManager says of itself.
fn wrong_registrations() -> Vec<Case> {
    at(
        "POST /v1/task-managers",
        vec![
            (registration("task_manager_id", json!("")), "task_manager_id"),
            (registration("task_manager_id", json!("x".repeat(129))), "task_manager_id"),
            (registration("task_manager_id", json!("a/b")), "task_manager_id"),
            (registration("task_manager_id", json!("ä")), "task_manager_id"),
            (registration("task_manager_id", json!(7)), "task_manager_id"),
            (registration("session_id", Value::Null), "session_id"),
            (registration("address", json!("")), "address"),
            (registration("address", json!("a b")), "address"),
            (registration("address", json!("a".repeat(513))), "address"),
            (registration("slots", json!(0)), "slots"),
            (registration("slots", json!(-1)), "slots"),
            (registration("slots", json!(1025)), "slots"),
            (registration("slots", json!(1.5)), "slots"),
            (registration("slots", json!(4_294_967_296_u64)), "slots"),
            (registration("slots", json!("1")), "slots"),
            (registration("slots", Value::Null), "slots"),
            (registration("labels", json!([])), "labels"),
            (registration("labels", json!({"a b": "c"})), "labels.a b"),
            (registration("labels", json!({"a": 1})), "labels.a"),
            (registration("labels", json!({"a": "x".repeat(257)})), "labels.a"),
            (registration("labels", json!({"a": "x\u{0}"})), "labels.a"),
            (registration("labels", members(65, &json!("v"))), "labels"),
            (registration("state", json!("active")), "state"),
        ],
    )
}

/// What a TaskManager says that it has.
fn wrong_profiles() -> Vec<Case> {
    at(
        "POST /v1/task-managers",
        vec![
            (registration("total_profile", json!({"cpu_cores": -1})), "total_profile.cpu_cores"),
            (registration("total_profile", json!({"cpu_cores": 1.2345})), "total_profile.cpu_cores"),
            (registration("total_profile", json!({"cpu_cores": "1"})), "total_profile.cpu_cores"),
            (registration("total_profile", json!({"cpu_cores": 1e18})), "total_profile.cpu_cores"),
            (registration("total_profile", json!({"managed_memory": 1.5})), "total_profile.managed_memory"),
            (registration("total_profile", json!({"managed_memory": "1GB"})), "total_profile.managed_memory"),
            (
                registration("total_profile", json!({"managed_memory": 9_007_199_254_740_993_u64})),
                "total_profile.managed_memory",
            ),
            (
                registration("total_profile", json!({"network_memory": "-1KiB"})),
                "total_profile.network_memory",
            ),
            (registration("total_profile", json!({"memory": 1})), "total_profile.memory"),
            (
                registration("total_profile", json!({"extended_resources": {"gpu": -1}})),
                "total_profile.extended_resources.gpu",
            ),
            (
                registration("total_profile", json!({"extended_resources": members(17, &json!(1))})),
                "total_profile.extended_resources",
            ),
            (registration("total_profile", json!({})), "slot_profile"),
        ],
    )
}

/// What a job asks for.
fn wrong_allocations() -> Vec<Case> {
    at(
        "POST /v1/jobs/job/allocations",
        vec![
            (allocation("slots", json!(0)), "slots"),
            (allocation("slots", json!(10_001)), "slots"),
            (allocation("slots", json!([1])), "slots"),
            (allocation("mode", json!("some")), "mode"),
            (allocation("wait", json!("61s")), "wait"),
            (allocation("wait", json!(5)), "wait"),
            (allocation("wait", json!("5 s")), "wait"),
            (allocation("wait", json!("-5s")), "wait"),
            (allocation("wait", json!("99999999999999999999s")), "wait"),
            (allocation("profile", json!([])), "profile"),
            (allocation("prefer", json!([])), "prefer"),
            (allocation("constraints", json!([["a", "exists"]])), "constraints[0]"),
            (allocation("strategy", json!("no such strategy")), "strategy"),
            (allocation("job_master_id", json!("a b")), "job_master_id"),
            (allocation("prefer", json!({"task_managers": ["a b"]})), "prefer.task_managers[0]"),
            (allocation("prefer", json!({"task_managers": vec!["a"; 257]})), "prefer.task_managers"),
            (allocation("constraints", json!({})), "constraints"),
            (allocation("constraints", json!([{}])), "constraints[0]"),
            (
                allocation("constraints", json!([{"label": "a", "op": "like", "values": ["b"]}])),
                "constraints[0].op",
            ),
            (allocation("constraints", json!([{"label": "a", "op": "=", "values": []}])), "constraints[0]"),
            (
                allocation("constraints", json!([{"label": "a", "op": "in", "values": vec!["b"; 257]}])),
                "constraints[0].values",
            ),
            (allocation("constraints", json!([{"spread_by": "a", "max_per": 0}])), "constraints[0]"),
            (allocation("constraints", json!([{"spread_by": "a", "max_per": -1}])), "constraints[0].max_per"),
            (allocation("constraints", Value::from(vec![json!({"task_manager": "a"}); 33])), "constraints"),
        ],
    )
}

/// What a job declares.
fn wrong_declarations() -> Vec<Case> {
    at(
        "PUT /v1/jobs/job/requirements",
        vec![
            (json!({"requirements": []}), "version"),
            (json!({"version": -1, "requirements": []}), "version"),
            (json!({"version": 18_446_744_073_709_551_616.0_f64, "requirements": []}), "version"),
            (json!({"version": 9}), "requirements"),
            (line("name", json!("a b")), "requirements[0].name"),
            (line("desired", json!(100_001)), "requirements[0].desired"),
            (line("min", json!(2)), "requirements[0].min"),
            (line("minimum", json!(2)), "requirements[0].minimum"),
            (line("strategy", json!("nearest_star")), "requirements[0].strategy"),
            (line("profile", json!({"cpu_cores": [1]})), "requirements[0].profile.cpu_cores"),
            (
                json!({"version": 9, "requirements": [{"name": "a", "desired": 1}, {"name": "a", "desired": 1}]}),
                "requirements[1].name",
            ),
            (
                json!({"version": 9, "requirements": vec![json!({"name": "a", "desired": 1}); 257]}),
                "requirements",
            ),
        ],
    )
}

/// The rest of the requests of jobs.
fn wrong_jobs() -> Vec<Case> {
    vec![
        ("PUT /v1/jobs/job", json!({"queue": "a/b"}), "queue"),
        ("PUT /v1/jobs/job", json!({"priority": 2_147_483_648_i64}), "priority"),
        ("PUT /v1/jobs/job", json!({"priority": 0.5}), "priority"),
        ("PUT /v1/jobs/job", json!({"lease": "0s"}), "lease"),
        ("PUT /v1/jobs/job", json!({"lease": 30}), "lease"),
        ("PUT /v1/jobs/a%2Fb", json!({}), "job_id"),
        ("PUT /v1/jobs/a%20b", json!({}), "job_id"),
        ("POST /v1/jobs/job/heartbeat", json!({}), "job_master_id"),
        ("POST /v1/jobs/job/release", json!({"allocation_ids": ["x"]}), "allocation_ids[0]"),
        ("POST /v1/jobs/job/release", json!({"allocation_ids": ids(10_001)}), "allocation_ids"),
        ("POST /v1/jobs/job/release", json!({"allocation_ids": {}}), "allocation_ids"),
        ("DELETE /v1/jobs/job/allocations/x", Value::Null, "allocation_id"),
        ("POST /v1/plan", json!({"slots": 1}), "job_id"),
    ]
}

/// The rest.
fn wrong_others() -> Vec<Case> {
    vec![
        ("POST /v1/task-managers/tm/heartbeat", json!({"generation": 1}), "epoch"),
        ("POST /v1/task-managers/tm/heartbeat", json!({"epoch": -1, "generation": 1}), "epoch"),
        (
            "POST /v1/task-managers/tm/heartbeat",
            json!({"epoch": 1, "generation": 1, "held": ids(10_001)}),
            "held",
        ),
        (
            "POST /v1/task-managers/tm/confirm",
            json!({"epoch": 1, "failed": [{"allocation_id": ids(1)[0]}]}),
            "failed[0].reason",
        ),
        ("POST /v1/task-managers/tm/drain", json!({"deadline": "soon"}), "deadline"),
        ("POST /v1/task-managers/tm/cordon", json!({"deadline": "1s"}), "deadline"),
        ("PUT /v1/queues/queue", json!({"maximum": {"slots": -1}}), "maximum.slots"),
        ("PUT /v1/queues/queue", json!({"parent": "default"}), "parent"),
        ("PUT /v1/queues/queue", json!({"weight": 1}), "weight"),
        ("PUT /v1/queues/queue", json!({"guaranteed": {}}), "guaranteed"),
        ("PUT /v1/queues/queue", json!({"state": "paused"}), "state"),
        ("PATCH /v1/settings", json!({"heartbeat_interval": "1ms"}), "heartbeat_interval"),
        ("PATCH /v1/settings", json!({"heartbeat_timeout": "1s"}), "heartbeat_timeout"),
        ("PATCH /v1/settings", json!({"mass_loss_share_percent": 0}), "mass_loss_share_percent"),
        ("PATCH /v1/settings", json!({"idempotency_retention": "1m"}), "idempotency_retention"),
        ("PATCH /v1/settings", json!({"strategy": 7}), "strategy"),
        ("PATCH /v1/settings", json!({"strategy": "nearest_star"}), "strategy"),
        ("PATCH /v1/settings", json!({"colour": "red"}), "colour"),
        ("POST /v1/cluster/members", json!({"api_addr": "x", "peer_addr": "a:1"}), "api_addr"),
        ("POST /v1/cluster/members", json!({"api_addr": "a:1", "peer_addr": "a:0"}), "peer_addr"),
        ("POST /v1/cluster/members/x/promote", json!({}), "id"),
        ("DELETE /v1/cluster/members/-1", Value::Null, "id"),
        ("POST /v1/cluster/transfer-leadership", json!({"to": "2"}), "to"),
    ]
}

/// Reads with parameters that are none, and the parameter that the refusal must name.
const WRONG_QUERIES: [(&str, &str); 21] = [
    ("/v1/jobs?limit=0", "limit"),
    ("/v1/jobs?limit=1001", "limit"),
    ("/v1/jobs?limit=-1", "limit"),
    ("/v1/jobs?limit=ten", "limit"),
    ("/v1/jobs?limit=1&limit=2", "limit"),
    ("/v1/jobs?cursor=a/b", "cursor"),
    ("/v1/jobs?state=lost", "state"),
    ("/v1/jobs?queue=a%20b", "queue"),
    ("/v1/jobs?color=red", "color"),
    ("/v1/jobs?consistency=maybe", "consistency"),
    ("/v1/jobs?min_revision=x", "min_revision"),
    ("/v1/allocations?cursor=x", "cursor"),
    ("/v1/allocations?state=ended", "state"),
    ("/v1/allocations?task_manager=", "task_manager"),
    ("/v1/allocations/x", "id"),
    ("/v1/task-managers?label==a", "label"),
    ("/v1/task-managers?state=gone", "state"),
    ("/v1/task-managers/tm/allocations?generation=-1", "generation"),
    ("/v1/task-managers/tm/allocations?wait=61s", "wait"),
    ("/v1/overview?pretty=1", "pretty"),
    ("/v1/jobs/%FF", "path"),
];

/// The state as the corpus finds it.
pub async fn prepared() -> Cluster {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.register("tm", 2).await;
    api.job("job").await;
    // Nobody sends heartbeats here, and nobody is to be declared lost meanwhile.
    api.patch("/v1/settings", json!({"heartbeat_timeout": "1h"})).await.expect(200);
    cluster
}

async fn call(api: &Api, target: &str, body: Vec<u8>) -> crate::api::Answered {
    let (method, path) = target.split_once(' ').unwrap();
    api.call(Method::from_bytes(method.as_bytes()).unwrap(), path, &[], body).await
}

#[tokio::test]
async fn what_is_no_body_is_refused_everywhere_and_leaves_no_trace() {
    let cluster = prepared().await;
    let (api, before) = (cluster.api(0), cluster.replica(0).state_hash());
    let mut bodies: Vec<Vec<u8>> = NO_BODIES.iter().map(|body| body.as_bytes().to_vec()).collect();
    bodies.push(b"{\"slots\":\"\xff\xfe\"}".to_vec());
    bodies.push(b"\x80".to_vec());
    bodies.push("[".repeat(200_000).into_bytes());
    bodies.push("{\"a\":".repeat(100_000).into_bytes());
    bodies.push(format!("{{\"requirements\":{}1{}}}", "[".repeat(50_000), "]".repeat(50_000)).into_bytes());
    bodies.push(format!("{{\"allocation_ids\":[{}\"x\"]}}", "\"x\",".repeat(100_000)).into_bytes());
    let mut cases = 0;
    for (method, path) in TAKE_BODIES {
        for body in &bodies {
            let answer = call(&api, &format!("{method} {path}"), body.clone()).await;
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
            assert_eq!(answer.status, 400, "{method} {path} {shown}: {answer:?}");
            assert_eq!(answer.code(), "invalid_request", "{method} {path} {shown}");
            cases += 1;
        }
    }
    assert!(cases >= 500, "{cases} cases");
    assert_eq!(cluster.replica(0).state_hash(), before, "bad input left a trace in the state");
}

#[tokio::test]
async fn what_is_wrong_in_a_body_is_named_and_leaves_no_trace() {
    let cluster = prepared().await;
    let (api, before) = (cluster.api(0), cluster.replica(0).state_hash());
    let cases = [
        wrong_registrations,
        wrong_profiles,
        wrong_allocations,
        wrong_declarations,
        wrong_jobs,
        wrong_others,
    ];
    let cases: Vec<Case> = cases.iter().flat_map(|cases| cases()).collect();
    assert!(cases.len() >= 100, "{} cases", cases.len());
    for (target, body, field) in cases {
        let sent = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = call(&api, target, sent).await;
        let shown: String = body.to_string().chars().take(120).collect();
        assert_eq!(answer.status, 400, "{target} {shown}: {answer:?}");
        assert_eq!(answer.code(), "invalid_request", "{target} {shown}");
        assert_eq!(answer.json()["field"], field, "{target} {shown}: {answer:?}");
    }
    assert_eq!(cluster.replica(0).state_hash(), before, "bad input left a trace in the state");
}

#[tokio::test]
async fn members_that_come_twice_are_refused() {
    let cluster = prepared().await;
    let (api, before) = (cluster.api(0), cluster.replica(0).state_hash());
    for (target, body, field) in [
        ("POST /v1/jobs/job/allocations", "{\"slots\":1,\"slots\":1}", "slots"),
        (
            "POST /v1/jobs/job/allocations",
            "{\"slots\":1,\"profile\":{\"cpu_cores\":1,\"cpu_cores\":1}}",
            "profile.cpu_cores",
        ),
        ("PUT /v1/jobs/job", "{\"queue\":\"default\",\"queue\":\"default\"}", "queue"),
        (
            "POST /v1/task-managers",
            "{\"task_manager_id\":\"a\",\"session_id\":\"s\",\"address\":\"a\",\"slots\":1,\"labels\":{\"a\":\"b\",\"a\":\"c\"}}",
            "labels",
        ),
        (
            "PUT /v1/queues/q",
            "{\"maximum\":{\"extended_resources\":{\"gpu\":1,\"gpu\":2}}}",
            "maximum.extended_resources",
        ),
    ] {
        let answer = call(&api, target, body.as_bytes().to_vec()).await.expect(400);
        assert_eq!(answer.code(), "invalid_request");
        assert_eq!(answer.json()["field"], field, "{target} {body}: {answer:?}");
    }
    assert_eq!(cluster.replica(0).state_hash(), before);
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let cluster = prepared().await;
    let api = cluster.api(0);
    for (path, parameter) in WRONG_QUERIES {
        let answer = api.get(path).await.expect(400);
        assert_eq!(answer.code(), "invalid_request", "{path}");
        assert_eq!(answer.json()["field"], parameter, "{path}: {answer:?}");
    }
    let dry_run = api.post("/v1/jobs/job/allocations?dry_run=true", json!({"slots": 1})).await.expect(400);
    assert_eq!(dry_run.json()["field"], "query", "a write does not ignore what it does not know");
}
