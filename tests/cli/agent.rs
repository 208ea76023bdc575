//! `agent` as a process: it runs hooks, leaves on SIGTERM, and names a refused registration.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::answers::allocation;
use crate::run::{program, run};
use crate::scripted_server::{Asked, Reply, ScriptedServer};

/// A cluster that registers one TaskManager and gives it one allocation until it leaves.
async fn cluster(registered: Arc<Mutex<Option<Value>>>) -> ScriptedServer {
    ScriptedServer::start(move |asked: &Asked| {
        let assigned = json!({"epoch": 1, "generation": 10, "allocations": [allocation()]});
        match asked.line().as_str() {
            "POST /v1/task-managers" => {
                *registered.lock().unwrap() = Some(asked.body.clone());
                Reply::Json(
                    201,
                    json!({
                        "task_manager_id": "tm-1", "epoch": 1, "heartbeat_interval_ms": 100,
                        "heartbeat_timeout_ms": 60000, "generation": 10, "allocations": [allocation()]
                    }),
                )
            }
            "POST /v1/task-managers/tm-1/heartbeat" => {
                Reply::ok(json!({"generation": 10, "deadline_ms": 60000}))
            }
            "GET /v1/task-managers/tm-1/allocations" => {
                Reply::After(Duration::from_millis(200), Box::new(Reply::ok(assigned)))
            }
            "DELETE /v1/task-managers/tm-1" => Reply::ok(json!({"task_manager_id": "tm-1", "revision": 9})),
            other => Reply::problem(404, if other.is_empty() { "" } else { "not_found" }, false),
        }
    })
    .await
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn an_agent_runs_its_hooks_and_leaves_on_sigterm_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, socket) = (folder.path().join("journal"), folder.path().join("agent.sock"));
    let registered = Arc::new(Mutex::new(None));
    let server = cluster(Arc::clone(&registered)).await;
    let write = |what: &str| {
        format!("echo {what} $SLOTKEEPER_FENCING_TOKEN $SLOTKEEPER_REASON >> {}", journal.display())
    };
    let mut command = program(&[
        "agent",
        "--id",
        "tm-1",
        "--total-profile",
        "cpu=4,heap=4GiB",
        "--label",
        "zone=a",
        "--on-start",
        &write("start"),
        "--on-stop",
        &write("stop"),
        "--socket",
        socket.to_str().unwrap(),
    ]);
    let mut child =
        command.env("SLOTKEEPER_SERVERS", server.url()).env("SLOTKEEPER_ADDRESS", "host:1").spawn().unwrap();
    until("the start hook has run", || read(&journal) == "start 7 granted\n").await;
    until("the socket is there", || socket.exists()).await;
    let body = registered.lock().unwrap().clone().unwrap();
    assert_eq!((&body["address"], &body["labels"]), (&json!("host:1"), &json!({"zone": "a"})));
    assert_eq!((&body["total_profile"]["cpu_cores"], body.get("slots")), (&json!(4), None));
    assert_eq!(body["session_id"].as_str().unwrap().len(), 32);

    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    assert_eq!(read(&journal), "start 7 granted\nstop 7 leaving\n");
    assert_eq!(server.count("DELETE /v1/task-managers/tm-1"), 1);
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_refused_registration_ends_the_agent_with_1() {
    let server = ScriptedServer::start(|_| Reply::problem(400, "invalid_request", false)).await;
    let refused = run(&server, &["agent", "--id", "tm-1"]).await;
    refused.assert_status(1);
    assert!(refused.err.ends_with("error: detail of invalid_request (invalid_request)\n"), "{}", refused.err);
}
