//! The client against scripted servers: what is repeated, under which key, where, and how a call ends.

mod lane;
mod scripted_server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::scripted_server::{Asked, Reply, ScriptedServer};
use super::{Client, ClientError, ClientOptions, Failure, Seams};
use crate::api::ProblemCode;
use crate::api::jobs::PutJob;
use crate::api::task_managers::Heartbeat;

/// Randomness that counts from 0: the first server is the first of the list, and keys differ.
fn seams() -> Seams {
    let counter = AtomicU64::new(0);
    Seams::new(Instant::now, move || counter.fetch_add(1, Ordering::Relaxed))
}

fn client(servers: &[&ScriptedServer]) -> Client {
    let mut options = ClientOptions::new(servers.iter().map(|server| server.url()));
    options.try_timeout = Duration::from_millis(500);
    options.deadline = Duration::from_secs(10);
    options.backoff_start = Duration::from_millis(1);
    options.backoff_max = Duration::from_millis(5);
    Client::new(options, seams()).unwrap()
}

/// Gives each of `replies` once, in order, and the last one for ever.
fn in_turn(replies: Vec<Reply>) -> impl Fn(&Asked) -> Reply + Send + Sync {
    let next = AtomicUsize::new(0);
    move |_| {
        let turn = next.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1);
        replies[turn].clone()
    }
}

fn job() -> Value {
    json!({
        "job_id": "j", "queue": "default", "priority": 0, "state": "running", "job_master_id": null, "lease_ms": null,
        "epoch": 1, "requirements_version": 0, "requirements": 0, "slots_allocated": 0, "slots_pending": 0,
        "used": {"slots": 0, "cpu_cores": 0, "task_heap_memory": 0, "task_off_heap_memory": 0, "managed_memory": 0,
                 "network_memory": 0, "extended_resources": {}},
        "created_at": "2026-01-01T00:00:00.000Z"
    })
}

fn no_leader() -> Reply {
    Reply::problem(503, "no_leader", true)
}

#[tokio::test]
async fn a_write_is_repeated_under_one_key_until_a_leader_serves_it() {
    let script =
        vec![no_leader(), Reply::Disconnect, Reply::problem(504, "outcome_unknown", true), Reply::ok(job())];
    let server = ScriptedServer::start(in_turn(script)).await;
    client(&[&server]).put_job("j", &PutJob::default()).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked[0].key.is_some());
    assert!(asked.iter().all(|again| again.key == asked[0].key && again.body == asked[0].body));
}

#[tokio::test]
async fn two_writes_have_two_keys_and_reads_and_heartbeats_have_none() {
    let answer = json!({"generation": 1, "deadline_ms": 5000});
    let server = ScriptedServer::start(move |asked| match asked.path.as_str() {
        "/v1/jobs/j" => Reply::ok(job()),
        _ => Reply::ok(answer.clone()),
    })
    .await;
    let client = client(&[&server]);
    client.put_job("j", &PutJob::default()).await.unwrap();
    client.put_job("j", &PutJob::default()).await.unwrap();
    client.job("j").await.unwrap();
    let heartbeat: Heartbeat = serde_json::from_value(json!({"epoch": 1, "generation": 1})).unwrap();
    client.heartbeat("tm", &heartbeat).await.unwrap();
    let keys: Vec<_> = server.asked().into_iter().map(|asked| asked.key).collect();
    assert!(keys[0].is_some() && keys[1].is_some() && keys[0] != keys[1], "{keys:?}");
    assert_eq!(keys[2..], [None, None]);
}

#[tokio::test]
async fn a_planned_hand_over_of_the_leader_fails_no_call() {
    // One server goes away, the next has no leader yet, the third serves.
    let gone = ScriptedServer::start(in_turn(vec![Reply::Disconnect])).await;
    let waiting = ScriptedServer::start(in_turn(vec![no_leader(), no_leader(), Reply::ok(job())])).await;
    let client = client(&[&gone, &waiting]);
    for _ in 0..20 {
        client.put_job("j", &PutJob::default()).await.unwrap();
        client.job("j").await.unwrap();
    }
    assert!(gone.asked().len() < 10, "calls keep away from a server that failed");
}

#[tokio::test]
async fn a_refusal_is_given_at_once_with_its_code() {
    let server = ScriptedServer::start(in_turn(vec![Reply::problem(404, "unknown_job", false)])).await;
    let error = client(&[&server]).job("j").await.unwrap_err();
    assert_eq!(error.code(), Some(ProblemCode::UnknownJob));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_retryable_conflict_is_the_callers_to_repeat() {
    let server =
        ScriptedServer::start(in_turn(vec![Reply::problem(409, "insufficient_resources", true)])).await;
    let error = client(&[&server]).put_job("j", &PutJob::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ProblemCode::InsufficientResources));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn an_overloaded_server_is_left_alone_for_as_long_as_it_asks() {
    let overloaded = json!({
        "type": "/errors/overloaded", "title": "t", "status": 429, "detail": "d", "code": "overloaded",
        "retryable": true, "retry_after_ms": 300,
    });
    let script = in_turn(vec![Reply::Json(429, overloaded), Reply::ok(job())]);
    let server = ScriptedServer::start(script).await;
    let began = Instant::now();
    client(&[&server]).job("j").await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn without_a_leader_to_the_end_nothing_was_done() {
    // The server asks for a pause that is longer than what is left after the second try.
    let server = ScriptedServer::start(in_turn(vec![Reply::no_leader_for(1_500)])).await;
    let client = client(&[&server]).with_limits(Duration::from_secs(2), Duration::from_secs(2));
    let error = client.put_job("j", &PutJob::default()).await.unwrap_err();
    let ClientError::Unavailable { tries, last: Failure::Problem { problem, .. } } = error else {
        panic!("{error:?}")
    };
    assert_eq!(tries, 2);
    assert_eq!(problem.code, ProblemCode::NoLeader);
}

#[tokio::test]
async fn what_a_server_said_counts_more_than_that_it_says_nothing_now() {
    let server = ScriptedServer::start(in_turn(vec![no_leader(), Reply::Disconnect])).await;
    let error = client(&[&server]).with_deadline(Duration::from_secs(1)).job("j").await.unwrap_err();
    assert!(server.asked().len() > 1);
    assert!(matches!(error, ClientError::Unavailable { last: Failure::Problem { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn no_try_is_begun_that_would_be_cut_while_the_server_waits_for_a_leader() {
    let waited = Reply::After(Duration::from_secs(1), Box::new(no_leader()));
    let server = ScriptedServer::start(in_turn(vec![waited])).await;
    // A third try would have less time than the server waits.
    let deadline = Duration::from_millis(2_900);
    let client = client(&[&server]).with_limits(deadline, deadline);
    let error = client.put_job("j", &PutJob::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { last: Failure::Problem { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn one_try_that_may_have_been_carried_out_makes_the_outcome_unknown() {
    let script = in_turn(vec![Reply::Disconnect, no_leader()]);
    let server = ScriptedServer::start(script).await;
    let patient = client(&[&server]);
    let error = patient.with_deadline(Duration::from_millis(200)).put_job("j", &PutJob::default()).await;
    let ClientError::OutcomeUnknown { key, .. } = error.unwrap_err() else {
        panic!("the outcome is unknown")
    };
    assert_eq!(server.asked()[0].key.as_deref(), Some(key.as_str()));
    let again = ScriptedServer::start(in_turn(vec![Reply::ok(job())])).await;
    let client = client(&[&again]).with_idempotency_key(&key);
    client.put_job("j", &PutJob::default()).await.unwrap();
    assert_eq!(
        again.asked()[0].key.as_deref(),
        Some(key.as_str()),
        "the caller can find out under the same key"
    );
}

#[tokio::test]
async fn a_read_that_fails_to_the_end_has_no_outcome_to_be_unknown() {
    let server = ScriptedServer::start(in_turn(vec![Reply::Hang])).await;
    let error = client(&[&server]).with_deadline(Duration::from_millis(200)).job("j").await.unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { last: Failure::Timeout { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_hangs_is_left_for_the_next_one() {
    let hanging = ScriptedServer::start(in_turn(vec![Reply::Hang])).await;
    let serving = ScriptedServer::start(in_turn(vec![Reply::ok(job())])).await;
    let client = client(&[&hanging, &serving]);
    client.put_job("j", &PutJob::default()).await.unwrap();
    client.put_job("j", &PutJob::default()).await.unwrap();
    assert_eq!(hanging.asked().len(), 1);
    assert_eq!(serving.asked().len(), 2);
}

#[tokio::test]
async fn a_server_that_can_not_be_reached_costs_no_pause() {
    let closed = ScriptedServer::start(in_turn(vec![Reply::Hang])).await;
    let (address, serving) = (closed.url(), ScriptedServer::start(in_turn(vec![Reply::ok(job())])).await);
    drop(closed);
    let mut options = ClientOptions::new([address, serving.url()]);
    options.backoff_start = Duration::from_secs(60);
    options.backoff_max = Duration::from_secs(60);
    let client = Client::new(options, seams()).unwrap();
    client.put_job("j", &PutJob::default()).await.unwrap();
}

#[tokio::test]
async fn a_long_poll_may_take_longer_than_one_try_of_another_call() {
    let answer = Reply::ok(json!({"epoch": 1, "generation": 2, "allocations": []}));
    let slow = Reply::After(Duration::from_millis(900), Box::new(answer));
    let server = ScriptedServer::start(in_turn(vec![slow])).await;
    let polled = client(&[&server]).assigned_allocations("tm", 1, Duration::from_secs(1)).await.unwrap();
    assert_eq!(polled.generation.0, 2);
    let asked = server.asked();
    assert_eq!((asked.len(), asked[0].query.as_str()), (1, "generation=1&wait=1s"));
}

#[tokio::test]
async fn calls_move_to_the_leader_once_its_server_is_known() {
    let told = |node: &str| vec![("slotkeeper-node", node.to_owned()), ("slotkeeper-leader", "2".to_owned())];
    let follower = ScriptedServer::start(in_turn(vec![
        Reply::WithHeaders(200, job(), told("1")),
        Reply::Disconnect,
        Reply::WithHeaders(200, job(), told("1")),
    ]))
    .await;
    let leader = ScriptedServer::start(in_turn(vec![Reply::WithHeaders(200, job(), told("2"))])).await;
    let client = client(&[&follower, &leader]);
    for _ in 0..6 {
        client.job("j").await.unwrap();
    }
    assert_eq!((follower.asked().len(), leader.asked().len()), (2, 5));
}

#[tokio::test]
async fn a_redirection_to_the_leader_is_followed_but_not_round_and_round() {
    let leader = ScriptedServer::start(in_turn(vec![Reply::ok(job())])).await;
    let to_leader = vec![("location", format!("{}/v1/jobs/j", leader.url()))];
    let follower =
        ScriptedServer::start(in_turn(vec![Reply::WithHeaders(307, Value::Null, to_leader)])).await;
    client(&[&follower]).put_job("j", &PutJob::default()).await.unwrap();
    assert_eq!(leader.asked()[0].key, follower.asked()[0].key);

    let here = Arc::new(std::sync::OnceLock::new());
    let there = Arc::clone(&here);
    let circle = ScriptedServer::start(move |_| {
        Reply::WithHeaders(307, Value::Null, vec![("location", format!("{}/", there.get().unwrap()))])
    })
    .await;
    here.set(circle.url()).unwrap();
    let error = client(&[&circle]).job("j").await.unwrap_err();
    assert!(matches!(error, ClientError::Unreadable(Failure::Redirection { .. })), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_is_not_of_the_api_is_named_with_its_server() {
    let server = ScriptedServer::start(in_turn(vec![Reply::Text(404, "a proxy")])).await;
    let error = client(&[&server]).job("j").await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreadable(Failure::Foreign { status: 404, .. })), "{error:?}");
    let server = ScriptedServer::start(in_turn(vec![Reply::ok(json!({"job_id": 7}))])).await;
    let error = client(&[&server]).job("j").await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreadable(_)), "{error:?}");
}

#[tokio::test]
async fn the_highest_revision_that_was_seen_is_kept_and_stale_reads_say_so() {
    let revision = |number: &str| vec![("slotkeeper-revision", number.to_owned())];
    let script =
        vec![Reply::WithHeaders(200, job(), revision("9")), Reply::WithHeaders(200, job(), revision("7"))];
    let server = ScriptedServer::start(in_turn(script)).await;
    let client = client(&[&server]);
    client.job("j").await.unwrap();
    client.with_stale_reads().job("j").await.unwrap();
    assert_eq!(client.observed_revision(), 9);
    assert_eq!(server.asked()[1].query, "consistency=stale");
}

#[tokio::test]
async fn the_readiness_of_a_server_is_asked_once() {
    let body =
        |ready: bool| json!({"ready": ready, "reasons": [], "node_id": 1, "leader_id": null, "revision": 4});
    let server =
        ScriptedServer::start(in_turn(vec![Reply::Json(503, body(false)), Reply::ok(body(true))])).await;
    let client = client(&[&server]);
    assert!(!client.readiness().await.unwrap().ready);
    assert!(client.readiness().await.unwrap().ready);
    assert_eq!(server.count("GET /readyz"), 2);
}
