//! `requirements`, verb by verb.

use serde_json::json;

use crate::answers::requirements;
use crate::run::{one, run, run_with_input, several};
use crate::scripted_server::{Reply, ScriptedServer};

const TABLE: [&str; 2] = [
    "REQUIREMENT  MIN  DESIRED  GRANTED  PENDING  PROFILE  REASONS",
    "workers      2    4        1        3        cpu=1    no_free_slot: 3",
];

async fn server() -> ScriptedServer {
    several(vec![
        ("GET /v1/jobs/wordcount/requirements", Reply::ok(requirements())),
        ("PUT /v1/jobs/wordcount/requirements", Reply::ok(requirements())),
    ])
    .await
}

#[tokio::test]
async fn get_shows_what_is_wanted_what_is_there_and_why_not_more() {
    let server = one("GET /v1/jobs/wordcount/requirements", Reply::ok(requirements())).await;
    run(&server, &["requirements", "get", "wordcount"])
        .await
        .assert_status(0)
        .assert_out(&TABLE)
        .assert_err(&["version 2"]);
    let shown = run(&server, &["requirements", "get", "wordcount", "--output", "json"]).await;
    assert_eq!(shown.json()["requirements"][0]["pending"], 3);
}

#[tokio::test]
async fn flags_declare_one_line_under_the_next_version() {
    let server = server().await;
    let args = [
        "requirements",
        "put",
        "wordcount",
        "--name",
        "workers",
        "--desired",
        "4",
        "--min",
        "2",
        "--profile",
        "cpu=1",
        "--constraint",
        "zone=a",
    ];
    run(&server, &args).await.assert_status(0).assert_out(&TABLE);
    let body = server.asked()[1].body.clone();
    assert_eq!(body["version"], 3);
    let line = &body["requirements"][0];
    assert_eq!((&line["name"], &line["min"], &line["desired"]), (&json!("workers"), &json!(2), &json!(4)));
    assert_eq!(line["constraints"], json!([{"label": "zone", "op": "=", "values": ["a"]}]));
}

#[tokio::test]
async fn a_line_that_would_be_dropped_is_asked_about() {
    let server = server().await;
    let args = ["requirements", "put", "wordcount", "--name", "others", "--desired", "1"];
    run(&server, &args).await.assert_status(2).assert_err(&[
        "error: nobody is there to answer: Drop `workers` from the declaration of job `wordcount`?",
        "hint: `--yes` answers on the command line",
    ]);
    assert_eq!(server.count("PUT /v1/jobs/wordcount/requirements"), 0);
    run(&server, &[&args[..], &["--yes"]].concat()).await.assert_status(0);
}

#[tokio::test]
async fn json_declares_any_number_of_lines_from_a_file_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.json");
    let lines = json!([{"name": "workers", "desired": 4}, {"name": "masters", "desired": 1}]);
    std::fs::write(&file, lines.to_string()).unwrap();
    let server = server().await;
    let put = |file: &str| ["requirements", "put", "wordcount", "--file", file].map(str::to_owned);
    let args = put(file.to_str().unwrap());
    run(&server, &args.each_ref().map(String::as_str)).await.assert_status(0);
    assert_eq!(server.asked()[1].body["requirements"][1]["name"], "masters");

    let declaration = json!({"version": 9, "requirements": lines, "job_master_id": "jm-1"}).to_string();
    let args = put("-");
    run_with_input(&server, &args.each_ref().map(String::as_str), &declaration).await.assert_status(0);
    let body = &server.asked()[3].body;
    assert_eq!((&body["version"], &body["job_master_id"]), (&json!(9), &json!("jm-1")));

    let broken =
        run_with_input(&server, &args.each_ref().map(String::as_str), r#"[{"name": "w", "wanted": 1}]"#)
            .await;
    broken.assert_status(2);
    assert!(broken.err.contains("unknown field `wanted`"), "{}", broken.err);
}

#[tokio::test]
async fn clear_declares_nothing_under_the_next_version() {
    let server = server().await;
    run(&server, &["requirements", "clear", "wordcount", "--yes"]).await.assert_status(0);
    assert_eq!(server.asked()[1].body, json!({"version": 3, "requirements": []}));
}
