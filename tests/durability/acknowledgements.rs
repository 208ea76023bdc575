//! Every acknowledgement follows the syncs that it promises: traced on a cluster of three, rules in `proof.rs`.

use std::collections::BTreeSet;

use serde_json::json;

use super::cluster::Cluster;
use super::drill::must;
use super::http::Caller;
use super::program;
use super::proof::{self, Traced};
use super::strace::{self, Strace};

const CLIENTS: usize = 4;
const REQUESTS_OF_EACH: usize = 25;
/// Receiving, sending, writing and syncing, with all that is written.
const TRACING: [&str; 5] = [
    "-yy",
    "-s",
    "200000",
    "-e",
    "trace=recvfrom,recvmsg,sendto,sendmsg,writev,pwrite64,pwritev,fdatasync,fsync,sync_file_range",
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_a_majority_has_synced_it() {
    if !strace::is_here() {
        return;
    }
    let cluster = Cluster::start(program::path(), 3, &["--profile", "slow"]).await;
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    // Its TaskManager never reports; nothing must be lost by that while the tracer makes everything slow.
    let settings = json!({"heartbeat_timeout": "1h"});
    must(&mut caller, ("PATCH", "/v1/settings"), "settings", &settings).await;
    let worker =
        json!({"task_manager_id": "worker", "session_id": "s", "address": "127.0.0.1:1", "slots": 200});
    must(&mut caller, ("POST", "/v1/task-managers"), "worker", &worker).await;
    let traced: Vec<Traced> = (0..3).map(|number| traced(&cluster, number)).collect();
    let trace = cluster.folder().join("trace");
    let pids: Vec<u32> = (0..3).map(|number| cluster.pid(number)).collect();
    let options = [&TRACING[..], &["-o", trace.to_str().unwrap()]].concat();
    let tracer = Strace::attach(&pids, &options, cluster.folder());
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        clients.push(tokio::spawn(allocate(Caller::new(&cluster.api_addrs(), client), client)));
    }
    let mut acknowledged = BTreeSet::new();
    for client in clients {
        acknowledged.extend(client.await.unwrap());
    }
    tracer.detach();
    let trace = String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned();
    let findings = proof::examine(&trace, &traced);
    println!("{} keys, {} appends, {} tips", findings.keys.len(), findings.appends, findings.tips);
    assert!(findings.broken.is_empty(), "{:#?}", findings.broken);
    // What was not seen is not proven.
    let seen: BTreeSet<String> = findings.keys.into_iter().collect();
    let unseen: Vec<_> = acknowledged.difference(&seen).collect();
    assert!(unseen.is_empty(), "acknowledged, but not in the trace: {unseen:?}");
    assert!(findings.appends > 0 && findings.tips > 0, "followers wrote nothing");
}

fn traced(cluster: &Cluster, number: usize) -> Traced {
    let data_dir = cluster.data_dir(number);
    Traced {
        api_addr: cluster.servers[number].api_addr.clone(),
        peer_addr: cluster.servers[number].peer_addr.clone(),
        data_dir: data_dir.to_str().unwrap().to_owned(),
        durable_index: proof::index_in_tip(&std::fs::read(data_dir.join("tip")).unwrap()),
    }
}

/// Allocates one slot after the other; gives the keys that were acknowledged.
async fn allocate(mut caller: Caller, client: usize) -> Vec<String> {
    let job = format!("job-{client}");
    must(&mut caller, ("PUT", &format!("/v1/jobs/{job}")), &format!("put-{client}-"), &json!({})).await;
    let path = format!("/v1/jobs/{job}/allocations");
    let mut keys = vec![format!("put-{client}-")];
    for number in 0..REQUESTS_OF_EACH {
        let key = format!("allocate-{client}-{number}-");
        must(&mut caller, ("POST", &path), &key, &json!({"slots": 1})).await;
        keys.push(key);
    }
    keys
}
