//! `queues` and `settings`, verb by verb.

use serde_json::json;

use crate::answers::{page, queue, settings};
use crate::run::{one, run};
use crate::scripted_server::Reply;

const DETAILS: [&str; 7] = [
    "queue       batch",
    "state       running",
    "jobs        1",
    "pending     1",
    "holds       slots=2 cpu=1",
    "maximum     slots=10 cpu=4",
    "changed in  revision 5",
];

#[tokio::test]
async fn queues_are_listed_and_shown() {
    let server = one("GET /v1/queues", Reply::ok(page(queue()))).await;
    run(&server, &["queues", "list"]).await.assert_status(0).assert_out(&[
        "QUEUE  STATE    JOBS  PENDING  HOLDS          MAXIMUM",
        "batch  running  1     1        slots=2 cpu=1  slots=10 cpu=4",
    ]);
    assert_eq!(
        run(&server, &["queues", "list", "--output", "json"]).await.json(),
        json!([queue_as_answered()])
    );
    let server = one("GET /v1/queues/batch", Reply::ok(queue())).await;
    run(&server, &["queues", "get", "batch"]).await.assert_status(0).assert_out(&DETAILS);
}

fn queue_as_answered() -> serde_json::Value {
    queue()
}

#[tokio::test]
async fn a_queue_is_put_and_deleted() {
    let server = one("PUT /v1/queues/batch", Reply::ok(queue())).await;
    let args = ["queues", "put", "batch", "--maximum", "slots=10,cpu=4", "--state", "stopped"];
    run(&server, &args).await.assert_status(0).assert_out(&DETAILS);
    assert_eq!(server.asked()[0].body, json!({"maximum": {"slots": 10, "cpu_cores": 4}, "state": "stopped"}));
    let server = one("DELETE /v1/queues/batch", Reply::ok(json!({"name": "batch", "revision": 6}))).await;
    run(&server, &["queues", "delete", "batch", "--yes"])
        .await
        .assert_status(0)
        .assert_err(&["queue `batch` is deleted (revision 6)"]);
}

#[tokio::test]
async fn settings_are_shown_with_defaults_and_ranges() {
    let server = one("GET /v1/settings", Reply::ok(settings())).await;
    let shown = run(&server, &["settings", "get"]).await;
    shown.assert_status(0).assert_err(&[]);
    let lines: Vec<&str> = shown.out.lines().collect();
    assert_eq!(lines.len(), 11);
    let line = |name: &str| *lines.iter().find(|line| line.starts_with(name)).unwrap();
    let words = |name: &str| line(name).split_whitespace().collect::<Vec<_>>();
    assert_eq!(words("heartbeat_timeout"), ["heartbeat_timeout", "10s", "5s", "revision", "8", "-"]);
    assert_eq!(words("heartbeat_interval"), ["heartbeat_interval", "1s", "1s", "-", "50ms", "to", "1m"]);
    assert_eq!(words("confirm_timeout")[1], "none");
    assert_eq!(run(&server, &["settings", "get", "--output", "json"]).await.json(), settings());
}

#[tokio::test]
async fn a_change_of_settings_names_only_what_changes() {
    let server = one("PATCH /v1/settings", Reply::ok(settings())).await;
    let args =
        ["settings", "set", "heartbeat-timeout=10s", "confirm_timeout=none", "expiries_per_second_max=3"];
    run(&server, &args).await.assert_status(0);
    let expected = json!({"heartbeat_timeout": "10s", "confirm_timeout": null, "expiries_per_second_max": 3});
    assert_eq!(server.asked()[0].body, expected);
}
