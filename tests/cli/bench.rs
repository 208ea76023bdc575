//! `bench`: a short run against three embedded replicas, and command lines that can not be meant.

use crate::run::run_alone;

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
