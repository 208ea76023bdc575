//! `task-managers`, verb by verb.

use serde_json::json;

use crate::answers::{changed, page, task_manager};
use crate::run::{one, run};
use crate::scripted_server::Reply;

#[tokio::test]
async fn list_shows_state_slots_and_labels() {
    let server = one("GET /v1/task-managers", Reply::ok(page(task_manager()))).await;
    let args = ["task-managers", "list", "--state", "draining", "--label", "zone=a"];
    run(&server, &args).await.assert_status(0).assert_err(&[]).assert_out(&[
        "TASK MANAGER  STATE     SLOTS  FREE  ADDRESS        HEARTBEAT  LABELS",
        "tm-1          draining  4      3     10.0.0.1:6122  12ms ago   disk=ssd,zone=a",
    ]);
    assert_eq!(server.asked()[0].query, "state=draining&label=zone%3Da");
    let listed = run(&server, &["tm", "list", "--output", "json"]).await.json();
    assert_eq!(listed[0]["task_manager_id"], "tm-1");
}

#[tokio::test]
async fn get_shows_one_with_what_it_holds() {
    let server = one("GET /v1/task-managers/tm-1", Reply::ok(task_manager())).await;
    run(&server, &["task-managers", "get", "tm-1"]).await.assert_status(0).assert_out(&[
        "task manager    tm-1",
        "state           draining",
        "drain deadline  2026-01-01T00:10:00.000Z",
        "address         10.0.0.1:6122",
        "slots           4 (3 free)",
        "total           cpu=4",
        "free            cpu=2.5",
        "default slot    -",
        "labels          disk=ssd,zone=a",
        "epoch           4",
        "generation      9",
        "session         s1",
        "last heartbeat  12ms ago",
        "registered at   2026-01-01T00:00:00.000Z",
        "",
        "ALLOCATION                            JOB        TASK MANAGER  SLOT  ADDRESS        TOKEN  STATE   PROFILE",
        "6f1c2d52-7d64-4f0e-0000-000000000001  wordcount  tm-1          2     10.0.0.1:6122  7      active  cpu=1.5 heap=1GiB",
    ]);
}

#[tokio::test]
async fn each_change_says_what_it_did() {
    for (args, line, sentence) in [
        (vec!["cordon", "tm-1"], "POST /v1/task-managers/tm-1/cordon", "takes no new slots"),
        (vec!["uncordon", "tm-1"], "POST /v1/task-managers/tm-1/uncordon", "takes new slots again"),
        (vec!["drain", "tm-1"], "POST /v1/task-managers/tm-1/drain", "drains"),
        (vec!["remove", "tm-1", "--yes"], "DELETE /v1/task-managers/tm-1", "is removed"),
        (vec!["remove", "tm-1", "--epoch", "7", "--yes"], "DELETE /v1/task-managers/tm-1", "is removed"),
        (vec!["delete", "tm-1", "--yes"], "DELETE /v1/task-managers/tm-1", "is removed"),
    ] {
        let server = one(line, Reply::ok(changed())).await;
        let args: Vec<&str> = std::iter::once("task-managers").chain(args).collect();
        let sentence = format!("TaskManager `tm-1` {sentence} (revision 21)");
        run(&server, &args).await.assert_status(0).assert_out(&[]).assert_err(&[&sentence]);
        let in_json = run(&server, &[&args[..], &["--output", "json"]].concat()).await;
        assert_eq!(in_json.json(), changed());
    }
}

#[tokio::test]
async fn a_drain_may_have_a_deadline() {
    let server = one("POST /v1/task-managers/tm-1/drain", Reply::ok(changed())).await;
    run(&server, &["task-managers", "drain", "tm-1", "--deadline", "10m"]).await.assert_status(0);
    assert_eq!(server.asked()[0].body, json!({"deadline": "10m"}));
}
