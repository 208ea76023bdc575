//! How a run ends that the cluster refused, that nobody served, or whose outcome is not known.

use std::net::TcpListener;

use serde_json::json;

use crate::answers::job;
use crate::run::{one, run, run_alone};
use crate::scripted_server::{Reply, ScriptedServer};

#[tokio::test]
async fn a_refusal_ends_with_1_and_names_the_code_and_what_to_do() {
    let server = one("GET /v1/jobs/j", Reply::problem(404, "unknown_job", false)).await;
    run(&server, &["jobs", "get", "j"]).await.assert_status(1).assert_out(&[]).assert_err(&[
        "error: detail of unknown_job (unknown_job)",
        "hint: `slotkeeper jobs put JOB` puts a job, `slotkeeper jobs list` shows them",
    ]);
}

#[tokio::test]
async fn a_refused_allocation_counts_the_reasons() {
    let problem = json!({
        "type": "/errors/insufficient_resources", "title": "t", "status": 409, "detail": "4 slots were asked for",
        "code": "insufficient_resources", "retryable": true,
        "reasons": [{"reason": "no_free_slot", "task_managers": 3}, {"reason": "too_small", "task_managers": 1}]
    });
    let server = one("POST /v1/jobs/j/allocations", Reply::Json(409, problem)).await;
    run(&server, &["alloc", "j", "--slots", "4"]).await.assert_status(1).assert_out(&[]).assert_err(&[
        "error: 4 slots were asked for (insufficient_resources)",
        "  caused by: no_free_slot: 3 TaskManagers",
        "  caused by: too_small: 1 TaskManagers",
        "hint: `--wait 30s` waits for slots, `--mode best-effort` takes what there is",
    ]);
}

#[tokio::test]
async fn without_any_server_a_run_ends_with_3() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let run = run_alone(&["jobs", "list", "--servers", &closed, "--timeout", "200ms"]).await;
    run.assert_status(3).assert_out(&[]);
    assert!(run.err.starts_with("error: no server could serve the request ("), "{}", run.err);
    assert!(run.err.contains(&format!("  caused by: `http://{closed}` can not be reached: ")), "{}", run.err);
    assert!(
        run.err.ends_with("hint: name other servers with `--servers` or SLOTKEEPER_SERVERS\n"),
        "{}",
        run.err
    );
}

#[tokio::test]
async fn without_a_leader_a_run_ends_with_3_and_says_what_a_leader_needs() {
    let server = ScriptedServer::start(|_| Reply::no_leader_for(3_000)).await;
    let run = run(&server, &["jobs", "put", "j", "--timeout", "2s"]).await;
    run.assert_status(3).assert_out(&[]);
    assert!(
        run.err.contains("(no_leader)") && run.err.contains("hint: a leader needs a majority"),
        "{}",
        run.err
    );
}

#[tokio::test]
async fn an_unknown_outcome_ends_with_3_and_can_be_cleared_up_under_its_key() {
    let server = ScriptedServer::start(|_| Reply::problem(504, "outcome_unknown", true)).await;
    let unknown = run(&server, &["jobs", "put", "wordcount", "--timeout", "200ms"]).await;
    unknown.assert_status(3).assert_out(&[]);
    let key = server.asked()[0].key.clone().unwrap();
    let hint = format!("hint: the same command with `--idempotency-key {key}` finds out, or does it now\n");
    assert!(unknown.err.ends_with(&hint), "{}", unknown.err);

    let server = one("PUT /v1/jobs/wordcount", Reply::ok(job())).await;
    run(&server, &["jobs", "put", "wordcount", "--idempotency-key", &key]).await.assert_status(0);
    assert_eq!(server.asked()[0].key.as_ref(), Some(&key));
}

#[tokio::test]
async fn a_server_that_failed_has_not_refused() {
    let server = one("GET /v1/queues", Reply::problem(500, "internal_error", false)).await;
    run(&server, &["queues", "list"]).await.assert_status(3);
}

#[tokio::test]
async fn something_else_than_a_cluster_is_told_apart() {
    let server = one("GET /v1/queues", Reply::Text(200, "<html>")).await;
    let run = run(&server, &["queues", "list"]).await;
    run.assert_status(3).assert_out(&[]);
    assert!(run.err.contains("must name the API addresses of a Slotkeeper cluster"), "{}", run.err);
}

#[tokio::test]
async fn a_leader_that_comes_in_time_costs_nobody_a_failure() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let server =
        ScriptedServer::start(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0..3 => Reply::problem(503, "no_leader", true),
            _ => Reply::ok(job()),
        })
        .await;
    run(&server, &["jobs", "put", "wordcount"]).await.assert_status(0).assert_err(&[]);
}
