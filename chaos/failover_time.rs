//! Measures how long a cluster does not acknowledge allocations after its leader ends.
//!
//! What it promises: the time runs from the signal to the first allocation that is acknowledged by another leader, seen
//! by a client that tries all servers without pause; the cluster is under load meanwhile. Figures are printed with their
//! sample count; nothing is asserted.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::{Cluster, SETTLE};
use crate::http::{Call, Caller};

/// Runs `runs` fail-overs in one cluster and prints minimum, median and maximum.
pub async fn run(
    binary: &Path,
    runs: usize,
    signal: Signal,
    clients: usize,
) -> Result<Vec<Duration>, String> {
    let mut cluster = Cluster::start(binary, 3, &["--log", "warn"]).await;
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    prepare(&mut caller).await?;
    let mut gaps = Vec::new();
    for run in 0..runs {
        cluster.wait_until_ready(SETTLE).await;
        let leader = cluster.leader().await;
        let load: Vec<_> =
            (0..clients).map(|client| tokio::spawn(load(cluster.api_addrs(), client))).collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let others: Vec<String> = cluster
            .api_addrs()
            .into_iter()
            .filter(|addr| *addr != cluster.servers[leader].api_addr)
            .collect();
        let began = Instant::now();
        cluster.signal(leader, signal);
        gaps.push(first_acknowledgement(&others, run, began).await?);
        for client in load {
            client.abort();
        }
        cluster.wait_exit(leader);
        cluster.start_server(leader);
    }
    gaps.sort();
    Ok(gaps)
}

async fn prepare(caller: &mut Caller) -> Result<(), String> {
    let task_manager = json!({
        "task_manager_id": "failover-tm", "session_id": "one", "address": "127.0.0.1:1", "slots": 1024,
    });
    let job = json!({});
    let settings = json!({"heartbeat_timeout": "1h"});
    for (method, path, body) in [
        ("PATCH", "/v1/settings", &settings),
        ("POST", "/v1/task-managers", &task_manager),
        ("PUT", "/v1/jobs/failover-job", &job),
    ] {
        let answer = caller.write((method, path), &format!("prepare-{path}"), body, SETTLE).await;
        let answer = answer.ok_or_else(|| format!("{method} {path} has no answer"))?;
        if !answer.is_done() {
            return Err(format!("{method} {path}: {} {}", answer.status, answer.body));
        }
    }
    Ok(())
}

async fn first_acknowledgement(servers: &[String], run: usize, began: Instant) -> Result<Duration, String> {
    let caller = Caller::new(servers, 0);
    let body = json!({"slots": 1});
    let key = format!("probe-{}-{run}", std::process::id());
    let path = "/v1/jobs/failover-job/allocations";
    let call = Call { method: "POST", path, key: Some(&key), body: Some(&body) };
    for attempt in 0.. {
        let server = &servers[attempt % servers.len()];
        if let Some(answer) = caller.once(server, &call).await.filter(|answer| answer.status == 200) {
            let gap = began.elapsed();
            release(servers, &answer.body).await;
            return Ok(gap);
        }
        if began.elapsed() > SETTLE {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err("no allocation was acknowledged after the fail-over".to_owned())
}

async fn release(servers: &[String], granted: &Value) {
    let Some(id) = granted["allocations"][0]["allocation_id"].as_str() else { return };
    let path = format!("/v1/jobs/failover-job/allocations/{id}");
    let mut caller = Caller::new(servers, 0);
    let _kept_if_this_fails =
        caller.write(("DELETE", &path), &format!("release-{id}"), &Value::Null, SETTLE).await;
}

/// Allocates and releases until it is stopped.
async fn load(servers: Vec<String>, client: usize) {
    let mut caller = Caller::new(&servers, client);
    let body = json!({"slots": 1});
    loop {
        let path = "/v1/jobs/failover-job/allocations";
        if let Some(answer) = caller.unkeyed("POST", path, &body, Duration::from_secs(5)).await {
            release(&servers, &answer.body).await;
        }
    }
}
