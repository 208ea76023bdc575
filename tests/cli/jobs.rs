//! `jobs`, verb by verb.

use serde_json::json;

use crate::answers::{allocation, job, page};
use crate::run::{one, run, several};
use crate::scripted_server::Reply;

const DETAILS: [&str; 10] = [
    "job           wordcount",
    "state         running",
    "queue         default",
    "priority      5",
    "slots         1 (4 pending)",
    "holds         slots=1 cpu=1.5",
    "requirements  version 2",
    "lease         30s",
    "epoch         3",
    "created at    2026-01-01T00:00:00.000Z",
];

#[tokio::test]
async fn list_shows_every_page() {
    let server = crate::scripted_server::ScriptedServer::start(|asked| match asked.query.as_str() {
        "queue=batch&state=running" => Reply::ok(json!({"items": [job()], "next_cursor": "wordcount"})),
        "queue=batch&state=running&cursor=wordcount" => Reply::ok(page(job())),
        other => panic!("asked for {other}"),
    })
    .await;
    run(&server, &["jobs", "list", "--queue", "batch", "--state", "running"])
        .await
        .assert_status(0)
        .assert_err(&[])
        .assert_out(&[
            "JOB        STATE    QUEUE    PRIORITY  SLOTS  PENDING  CREATED",
            "wordcount  running  default  5         1      4        2026-01-01T00:00:00.000Z",
            "wordcount  running  default  5         1      4        2026-01-01T00:00:00.000Z",
        ]);
}

#[tokio::test]
async fn json_is_the_shape_of_the_api_whatever_the_table_looks_like() {
    let server = one("GET /v1/jobs", Reply::ok(page(job()))).await;
    let listed = run(&server, &["jobs", "list", "--output", "json"]).await;
    listed.assert_status(0).assert_err(&[]);
    assert_eq!(listed.json(), json!([job()]));
    let again = run(&server, &["--output", "json", "jobs", "list"]).await;
    assert_eq!(listed.out, again.out, "the same answer gives the same text");
}

#[tokio::test]
async fn get_shows_the_job_and_its_slots() {
    let server = several(vec![
        ("GET /v1/jobs/wordcount", Reply::ok(job())),
        ("GET /v1/jobs/wordcount/allocations", Reply::ok(page(allocation()))),
    ])
    .await;
    let mut expected = DETAILS.to_vec();
    expected.extend([
        "",
        "ALLOCATION                            JOB        TASK MANAGER  SLOT  ADDRESS        TOKEN  STATE   PROFILE",
        "6f1c2d52-7d64-4f0e-0000-000000000001  wordcount  tm-1          2     10.0.0.1:6122  7      active  cpu=1.5 heap=1GiB",
    ]);
    run(&server, &["jobs", "get", "wordcount"]).await.assert_status(0).assert_out(&expected);
    let shown = run(&server, &["jobs", "get", "wordcount", "--output", "json"]).await.json();
    assert_eq!(
        (&shown["job_id"], &shown["allocations"][0]["fencing_token"]),
        (&json!("wordcount"), &json!(7))
    );
}

#[tokio::test]
async fn put_sends_what_the_flags_say() {
    let server = one("PUT /v1/jobs/wordcount", Reply::ok(job())).await;
    let args = [
        "jobs",
        "put",
        "wordcount",
        "--queue",
        "batch",
        "--priority",
        "-5",
        "--job-master-id",
        "jm-1",
        "--lease",
        "30s",
    ];
    run(&server, &args).await.assert_status(0).assert_out(&DETAILS);
    let expected = json!({"queue": "batch", "priority": -5, "job_master_id": "jm-1", "lease": "30s"});
    assert_eq!(server.asked()[0].body, expected);
}

#[tokio::test]
async fn delete_says_what_it_did_and_leaves_standard_output_to_data() {
    let answer = json!({"job_id": "wordcount", "revision": 21});
    let server = one("DELETE /v1/jobs/wordcount", Reply::ok(answer.clone())).await;
    let deleted = run(&server, &["jobs", "delete", "wordcount", "--yes"]).await;
    deleted.assert_status(0).assert_out(&[]).assert_err(&["job `wordcount` is ended (revision 21)"]);
    let in_json = run(&server, &["jobs", "delete", "wordcount", "--yes", "--output", "json"]).await;
    in_json.assert_status(0).assert_err(&[]);
    assert_eq!(in_json.json(), answer);
}

#[tokio::test]
async fn heartbeat_says_how_long_the_job_lives() {
    let answer = Reply::ok(json!({"job_id": "wordcount", "lease_ms": 30000}));
    let server = one("POST /v1/jobs/wordcount/heartbeat", answer).await;
    run(&server, &["jobs", "heartbeat", "wordcount", "--job-master-id", "jm-1"])
        .await
        .assert_status(0)
        .assert_err(&["job `wordcount` lives another 30s"]);
    assert_eq!(server.asked()[0].body, json!({"job_master_id": "jm-1"}));
}
