//! A request whose handling panics fails alone; any other panic ends the process.
//!
//! Each case runs in a process of its own, this test binary started again, with the panic hook of the server.

use std::process::{Command, Output};

use slotkeeper::server::{exit, panic_hook};

use crate::cluster::Cluster;

const CASE: &str = "SLOTKEEPER_PANIC_CASE";

/// Runs `case` in a process of its own.
fn run(case: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "panics::runs_its_case_if_it_is_a_child", "--nocapture", "--test-threads", "1"])
        .env(CASE, case)
        .output()
        .unwrap()
}

#[test]
fn runs_its_case_if_it_is_a_child() {
    let Ok(case) = std::env::var(CASE) else { return };
    panic_hook::install();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match case.as_str() {
        "request" => runtime.block_on(poisoned_requests()),
        "task" => drop(runtime.block_on(async { tokio::spawn(async { panic!("in a task") }).await })),
        "blocking" => {
            drop(runtime.block_on(slotkeeper::http::contain(async {
                tokio::task::spawn_blocking(|| panic!("in work that a request waits for")).await
            })));
        }
        "thread" => drop(std::thread::spawn(|| panic!("in a thread")).join()),
        other => panic!("no case `{other}`"),
    }
}

/// On one node that is asked itself and on one that forwards.
async fn poisoned_requests() {
    let cluster = Cluster::start(2, Default::default()).await;
    cluster.shared.poison(true);
    let failed = cluster.api(0).get("/v1/cluster").await.expect(500);
    assert_eq!((failed.code().as_str(), failed.header("slotkeeper-node")), ("internal_error", "1"));
    assert!(!failed.text.contains("poisoned"), "what only the log may know stays inside: {failed:?}");
    let failed = cluster.api(1).get("/v1/cluster").await.expect(500);
    assert_eq!((failed.code().as_str(), failed.header("slotkeeper-node")), ("internal_error", "1"));
    cluster.shared.poison(false);
    cluster.api(1).job("job").await;
    let metrics = cluster.api(0).get("/metrics").await.expect(200).text;
    for line in ["slotkeeper_http_panics_total 2", "slotkeeper_http_requests_in_flight 1"] {
        assert!(metrics.lines().any(|found| found == line), "no `{line}` in {metrics}");
    }
    println!("the process lives");
}

#[test]
fn a_request_that_panics_fails_alone() {
    let output = run("request");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("the process lives"), "{out}\n{errors}");
    assert_eq!(errors.matches("this look at the cluster was poisoned").count(), 2, "{errors}");
}

#[test]
fn a_panic_anywhere_else_ends_the_process() {
    for case in ["task", "blocking", "thread"] {
        let output = run(case);
        assert_eq!(output.status.code(), Some(i32::from(exit::BROKEN)), "{case}: {output:?}");
    }
}
