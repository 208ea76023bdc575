//! `--watch`: the same data again and again.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::answers::{job, page};
use crate::run::{program, run};
use crate::scripted_server::{Reply, ScriptedServer};

#[tokio::test]
async fn json_comes_line_by_line_through_an_outage_until_the_reader_ends_it() {
    let turn = AtomicUsize::new(0);
    let server = ScriptedServer::start(move |_| match turn.fetch_add(1, Ordering::SeqCst) {
        1 => Reply::Text(502, "a proxy without a server"),
        _ => Reply::ok(page(job())),
    })
    .await;
    let mut command = program(&["jobs", "list", "--watch=20ms", "--output", "json", "--timeout", "10ms"]);
    let mut child = command.env("SLOTKEEPER_SERVERS", server.url()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = lines.next_line().await.unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), json!([job()]));
    }
    interrupt(&child);
    assert_eq!(child.wait().await.unwrap().code(), Some(0), "Ctrl-C is how a watch ends");
}

fn interrupt(child: &tokio::process::Child) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[tokio::test]
async fn a_refusal_ends_a_watch() {
    let server = ScriptedServer::start(|_| Reply::problem(400, "invalid_request", false)).await;
    run(&server, &["task-managers", "list", "--watch=20ms"]).await.assert_status(1);
}
