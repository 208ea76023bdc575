//! `bench`: a short run against three embedded replicas, and command lines that can not be meant.

use std::sync::{Arc, OnceLock};

use serde_json::json;

use crate::answers::{cluster, job};
use crate::run::{run, run_alone};
use crate::scripted_server::{Asked, Reply, ScriptedServer};

const SMALL: [&str; 8] =
    ["--embedded", "--duration", "1s", "--warm-up", "100ms", "--task-managers", "4", "--clients=4"];

async fn bench(args: &[&str]) -> crate::run::Run {
    let all: Vec<&str> = ["bench"].iter().chain(args).chain(&SMALL).copied().collect();
    run_alone(&all).await
}

#[tokio::test]
async fn a_run_in_the_closed_loop_says_what_it_measured() {
    let run = bench(&["--output", "json", "--slots", "2", "--releases", "50"]).await;
    run.assert_status(0);
    let report = run.json();
    assert_eq!(report["errors"], serde_json::json!({}), "{report:#}");
    assert!(report["hardware"]["cores"].as_u64().unwrap() > 0);
    assert_eq!(report["configuration"]["clients"], 4);
    let operations = report["operations"].as_array().unwrap();
    let names: Vec<&str> = operations.iter().map(|found| found["operation"].as_str().unwrap()).collect();
    assert_eq!(names, ["allocate", "release"]);
    for operation in operations {
        let number = |value: &serde_json::Value| value.as_f64().unwrap();
        let latency = &operation["latency_ms"];
        let steps: Vec<f64> = ["p50", "p90", "p99", "p999", "max"].map(|name| number(&latency[name])).into();
        // No request to three replicas that sync takes less than ten microseconds.
        assert!(steps[0] > 0.01 && steps.is_sorted(), "{latency}");
        assert!(operation["count"].as_u64().unwrap() > 0);
        let (requests, slots) = (number(&operation["per_second"]), number(&operation["slots_per_second"]));
        assert!((slots - 2.0 * requests).abs() < 0.01, "{slots} slots for {requests} requests");
    }
    let (allocated, released) = (&operations[0]["count"], &operations[1]["count"]);
    assert!(allocated.as_u64() >= released.as_u64().map(|count| count - 4), "{allocated} and {released}");
}

#[tokio::test]
async fn a_run_in_the_open_loop_sends_what_is_due_and_prints_a_table() {
    let run = bench(&["heartbeats", "--rate", "50"]).await;
    run.assert_status(0);
    for part in ["hardware", "4, open, 50 requests/s", "OPERATION", "heartbeat", "not sent"] {
        assert!(run.out.contains(part), "`{part}` is missing: {}", run.out);
    }
    assert!(run.err.contains("bench: removing its TaskManagers and jobs"), "{}", run.err);
}

/// A server that leads and answers what a run asks that fills and then sends heartbeats.
async fn leading_server() -> ScriptedServer {
    let address = Arc::new(OnceLock::<String>::new());
    let own = Arc::clone(&address);
    let server = ScriptedServer::start(move |asked: &Asked| {
        let parts: Vec<&str> = asked.path.split('/').skip(2).collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["cluster"]) => {
                let mut answer = cluster(Some(1));
                answer["members"][0]["api_addr"] = json!(own.get());
                Reply::ok(answer)
            }
            ("POST", ["task-managers"]) => Reply::ok(json!({
                "task_manager_id": asked.body["task_manager_id"], "epoch": 1, "heartbeat_interval_ms": 1000,
                "heartbeat_timeout_ms": 60_000, "generation": 1, "allocations": [],
            })),
            ("POST", ["task-managers", _, "heartbeat"]) => Reply::ok(json!({"generation": 1})),
            ("PUT", ["jobs", _]) => Reply::ok(job()),
            ("POST", ["jobs", _, "allocations"]) => {
                Reply::ok(json!({"allocations": [], "missing": 0, "revision": 1}))
            }
            _ => Reply::problem(404, "not_found", false),
        }
    })
    .await;
    address.set(server.address().to_string()).unwrap();
    server
}

#[tokio::test]
async fn a_cluster_is_filled_with_keys_or_without_any() {
    for (without_keys, keyed) in [(false, 3), (true, 0)] {
        let server = leading_server().await;
        let mut args = vec!["bench", "heartbeats", "--fill", "2500", "--keep", "--task-managers", "4"];
        args.extend(["--clients", "1", "--duration", "100ms", "--warm-up", "0s"]);
        args.extend(without_keys.then_some("--without-keys"));
        run(&server, &args).await.assert_status(0);
        let asked = server.asked();
        let filling: Vec<&Asked> =
            asked.iter().filter(|asked| asked.path.ends_with("-fill/allocations")).collect();
        let mut slots: Vec<_> = filling.iter().map(|asked| asked.body["slots"].as_u64().unwrap()).collect();
        slots.sort_unstable();
        assert_eq!(slots, [500, 1_000, 1_000]);
        assert_eq!(filling.iter().filter(|asked| asked.key.is_some()).count(), keyed);
    }
}

#[tokio::test]
async fn what_contradicts_itself_is_a_usage_error() {
    for (args, part) in [
        (vec!["bench", "no-such-load"], "possible values"),
        (vec!["bench", "--clients", "0"], "0 is not in 1..="),
        (vec!["bench", "--duration", "0s"], "`--duration` must be longer"),
        (vec!["bench", "heartbeats", "--releases", "10"], "`--releases` goes with"),
        (vec!["bench", "--clients", "1", "--threads", "2"], "`--threads` must not be more"),
        (vec!["bench", "--fill", "200000"], "`--fill` is more than the 102400 slots"),
    ] {
        let run = run_alone(&args).await;
        run.assert_status(2).assert_out(&[]);
        assert!(run.err.contains(part), "{args:?} does not say `{part}`: {}", run.err);
    }
}
