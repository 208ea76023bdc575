//! `alloc` and `release`.

use serde_json::{Value, json};

use crate::answers::{ALLOCATION, allocation, job, page};
use crate::run::{one, run, several};
use crate::scripted_server::Reply;

const ALLOCATE: &str = "POST /v1/jobs/wordcount/allocations";
const TABLE: [&str; 2] = [
    "ALLOCATION                            JOB        TASK MANAGER  SLOT  ADDRESS        TOKEN  STATE   PROFILE",
    "6f1c2d52-7d64-4f0e-0000-000000000001  wordcount  tm-1          2     10.0.0.1:6122  7      active  cpu=1.5 heap=1GiB",
];

fn granted(missing: u32, reasons: Value) -> Reply {
    Reply::ok(json!({"allocations": [allocation()], "missing": missing, "reasons": reasons, "revision": 17}))
}

#[tokio::test]
async fn granted_slots_are_shown_with_their_place_and_token() {
    let server = one(ALLOCATE, granted(0, json!([]))).await;
    run(&server, &["alloc", "wordcount"]).await.assert_status(0).assert_out(&TABLE).assert_err(&[]);
    let body = &server.asked()[0].body;
    assert_eq!((&body["slots"], &body["mode"]), (&json!(1), &json!("all_or_nothing")));
    assert!(server.asked()[0].key.is_some());
    let shown = run(&server, &["alloc", "wordcount", "--output", "json"]).await.json();
    assert_eq!(
        (&shown["revision"], &shown["allocations"][0]["allocation_id"]),
        (&json!(17), &json!(ALLOCATION))
    );
}

#[tokio::test]
async fn every_flag_reaches_the_cluster() {
    let server = one(ALLOCATE, granted(0, json!([]))).await;
    let args = [
        "alloc",
        "wordcount",
        "--slots",
        "3",
        "--profile",
        "cpu=1,heap=1GiB,gpu=1",
        "--mode",
        "best_effort",
        "--wait",
        "1s",
        "--constraint",
        "zone in a,b",
        "--constraint",
        "exists ssd",
        "--spread-by",
        "rack:2",
        "--on",
        "tm-1",
        "--prefer",
        "tm-2",
        "--prefer-label",
        "disk=ssd",
        "--strategy",
        "least_utilization",
        "--job-master-id",
        "jm-1",
    ];
    run(&server, &args).await.assert_status(0);
    let body = server.asked()[0].body.clone();
    assert_eq!(body["slots"], 3);
    assert_eq!(body["profile"]["task_heap_memory"], 1 << 30);
    assert_eq!(body["profile"]["extended_resources"], json!({"gpu": 1}));
    assert_eq!((&body["mode"], &body["wait"]), (&json!("best_effort"), &json!("1s")));
    assert_eq!(
        body["constraints"],
        json!([
            {"label": "zone", "op": "in", "values": ["a", "b"]}, {"label": "ssd", "op": "exists"},
            {"spread_by": "rack", "max_per": 2}, {"task_manager": "tm-1"},
        ])
    );
    assert_eq!(body["prefer"], json!({"task_managers": ["tm-2"], "labels": {"disk": "ssd"}}));
    assert_eq!((&body["strategy"], &body["job_master_id"]), (&json!("least_utilization"), &json!("jm-1")));
}

#[tokio::test]
async fn missing_slots_of_a_best_effort_are_talk_and_no_failure() {
    let reasons = json!([{"reason": "no_free_slot", "task_managers": 3}]);
    let server = one(ALLOCATE, granted(2, reasons)).await;
    let args = ["alloc", "wordcount", "--slots", "3", "--mode", "best-effort"];
    run(&server, &args)
        .await
        .assert_status(0)
        .assert_out(&TABLE)
        .assert_err(&["2 of 3 slots are missing (no_free_slot: 3)"]);
}

#[tokio::test]
async fn a_missing_job_is_put_first_if_asked_for_and_a_running_one_is_left_alone() {
    let server = several(vec![
        ("GET /v1/jobs/wordcount", Reply::problem(404, "unknown_job", false)),
        ("PUT /v1/jobs/wordcount", Reply::Json(201, job())),
        (ALLOCATE, granted(0, json!([]))),
    ])
    .await;
    let args = ["alloc", "wordcount", "--create-job", "--idempotency-key", "k"];
    run(&server, &args).await.assert_status(0).assert_out(&TABLE);
    let keys: Vec<_> = server.asked().into_iter().map(|asked| asked.key).collect();
    assert_eq!(keys, [None, Some("k-job".to_owned()), Some("k".to_owned())]);

    let server =
        several(vec![("GET /v1/jobs/wordcount", Reply::ok(job())), (ALLOCATE, granted(0, json!([])))]).await;
    run(&server, &["alloc", "wordcount", "--create-job"]).await.assert_status(0);
    assert_eq!(server.count("PUT /v1/jobs/wordcount"), 0);
}

#[tokio::test]
async fn a_plan_is_shown_and_nothing_is_allocated() {
    let plan = json!({
        "decision": "partial", "placements": [{"task_manager_id": "tm-1", "profile": {"cpu_cores": 1}}], "missing": 1,
        "reasons": [{"reason": "too_small", "task_managers": 2}], "strategy": "bin_packing", "revision": 17
    });
    let server = one("POST /v1/plan", Reply::ok(plan)).await;
    run(&server, &["alloc", "wordcount", "--slots", "2", "--plan"])
        .await
        .assert_status(0)
        .assert_out(&["TASK MANAGER  PROFILE", "tm-1          cpu=1"])
        .assert_err(&["the request would be granted in part by `bin_packing`: too_small: 2"]);
    assert_eq!(server.asked()[0].body["job_id"], "wordcount");
}

#[tokio::test]
async fn release_shows_what_was_released_and_fails_for_what_the_job_never_held() {
    let answer = json!({"released": [ALLOCATION], "unknown": [], "revision": 18});
    let server = one("POST /v1/jobs/wordcount/release", Reply::ok(answer)).await;
    run(&server, &["release", "wordcount", ALLOCATION]).await.assert_status(0).assert_err(&[]).assert_out(&[
        "ALLOCATION                            RESULT",
        "6f1c2d52-7d64-4f0e-0000-000000000001  released",
    ]);
    assert_eq!(server.asked()[0].body, json!({"allocation_ids": [ALLOCATION]}));

    let answer = json!({"released": [], "unknown": [ALLOCATION], "revision": 18});
    let server = one("POST /v1/jobs/wordcount/release", Reply::ok(answer)).await;
    let refused = run(&server, &["release", "wordcount", ALLOCATION]).await;
    refused.assert_status(1).assert_err(&["error: job `wordcount` never held 1 of these allocations"]);
    assert!(refused.out.contains("unknown"));
}

#[tokio::test]
async fn release_all_gives_back_what_the_job_holds() {
    let server = several(vec![
        ("GET /v1/jobs/wordcount/allocations", Reply::ok(page(allocation()))),
        (
            "POST /v1/jobs/wordcount/release",
            Reply::ok(json!({"released": [ALLOCATION], "unknown": [], "revision": 18})),
        ),
    ])
    .await;
    run(&server, &["release", "wordcount", "--all", "--yes"]).await.assert_status(0);
    assert_eq!(server.asked()[1].body, json!({"allocation_ids": [ALLOCATION]}));
}
