//! Measures how long a cluster does not acknowledge writes while its leader ends.
//!
//! What it promises: a client that tries the other servers without pause allocates and releases from the signal on, until
//! it was served after the leader's process had ended; the figure is the longest time in which nothing was acknowledged. So an
//! old leader that still serves while it hands over counts neither as the next one nor as an outage. The cluster is under
//! load meanwhile. Figures are printed with their sample count; only bars
//! that were asked for are asserted.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cluster::{Cluster, SETTLE};
use crate::http::{Call, Caller};

const ALLOCATIONS: &str = "/v1/jobs/failover-job/allocations";

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
        gaps.push(longest_silence(&mut cluster, leader, signal, run).await?);
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

/// Ends the leader and gives the longest time without an acknowledgement, up to the first one after its process was gone.
async fn longest_silence(
    cluster: &mut Cluster,
    leader: usize,
    signal: Signal,
    run: usize,
) -> Result<Duration, String> {
    let gone = cluster.servers[leader].api_addr.clone();
    let others: Vec<String> = cluster.api_addrs().into_iter().filter(|addr| *addr != gone).collect();
    let caller = Caller::new(&others, 0);
    let slot = json!({"slots": 1});
    let mut last = Instant::now();
    let mut longest = Duration::ZERO;
    cluster.signal(leader, signal);
    for number in 0.. {
        // Asked before the writes are sent, so that what follows a "yes" is the work of another leader.
        let is_last = cluster.has_ended(leader);
        let key = format!("probe-{}-{run}-{number}", std::process::id());
        let call = Call { method: "POST", path: ALLOCATIONS, key: Some(&key), body: Some(&slot) };
        let granted = acknowledged(&caller, &others, &call).await?;
        longest = longest.max(last.elapsed());
        last = Instant::now();
        let id = granted["allocations"][0]["allocation_id"].as_str().ok_or("a grant names no allocation")?;
        let (path, key) = (format!("{ALLOCATIONS}/{id}"), format!("{key}-release"));
        let call = Call { method: "DELETE", path: &path, key: Some(&key), body: None };
        acknowledged(&caller, &others, &call).await?;
        longest = longest.max(last.elapsed());
        last = Instant::now();
        if is_last {
            break;
        }
    }
    Ok(longest)
}

/// Tries one write at the servers in turn until one of them says that it is done.
async fn acknowledged(caller: &Caller, servers: &[String], call: &Call<'_>) -> Result<Value, String> {
    let deadline = Instant::now() + SETTLE;
    for server in servers.iter().cycle() {
        match caller.once(server, call).await {
            Some(answer) if answer.is_done() => return Ok(answer.body),
            Some(answer) if Instant::now() > deadline => {
                return Err(format!("{} is not acknowledged: {} {}", call.path, answer.status, answer.body));
            }
            None if Instant::now() > deadline => break,
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    Err(format!("{} has no answer", call.path))
}

async fn release(servers: &[String], granted: &Value) {
    let Some(id) = granted["allocations"][0]["allocation_id"].as_str() else { return };
    let path = format!("{ALLOCATIONS}/{id}");
    let mut caller = Caller::new(servers, 0);
    let _kept_if_this_fails =
        caller.write(("DELETE", &path), &format!("release-{id}"), &Value::Null, SETTLE).await;
}

/// Allocates and releases until it is stopped.
async fn load(servers: Vec<String>, client: usize) {
    let mut caller = Caller::new(&servers, client);
    let body = json!({"slots": 1});
    loop {
        if let Some(answer) = caller.unkeyed("POST", ALLOCATIONS, &body, Duration::from_secs(5)).await {
            release(&servers, &answer.body).await;
        }
    }
}
