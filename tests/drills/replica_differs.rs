//! A replica whose state really differs: it names the others and ends itself, they serve on, and the documented command puts a
//! new server in its place.
//!
//! The snapshot of a server that is down is altered through the library's own formats,
//! so that every checksum holds and only the comparison between the replicas can tell.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use slotkeeper::codec;
use slotkeeper::domain::State;
use slotkeeper::replica::{Replica, STATE_FORMAT};
use slotkeeper::server::exit;
use slotkeeper::storage::{DataDir, DataDirOptions, SnapshotStore};
use uuid::Uuid;

use super::cluster::{Cluster, SETTLE};
use super::drill::{cluster_document, must};
use super::http::Caller;
use super::replacement::replace;
use super::runbook::steps_after;

/// As many entries as a snapshot needs at the least, and some more.
const SHORT_LOG: [&str; 2] = ["--snapshot-interval", "100"];
const WRITES: usize = 160;

/// Stores the newest snapshot once more, with another chain hash in it.
fn alter_snapshot(data_dir: &Path) {
    let mut options = DataDirOptions::new(|| Uuid::from_u128(1));
    options.free_space_floor_bytes = Some(0);
    let directory = DataDir::open(data_dir, options).unwrap();
    let snapshots = SnapshotStore::open(&directory).unwrap();
    let stored = snapshots.newest(None).unwrap().expect("the server has taken a snapshot");
    let body = altered(&stored.body);
    snapshots.save(stored.id, &stored.meta, &|writer| writer.write_all(&body)).unwrap();
}

fn altered(body: &[u8]) -> bytes::Bytes {
    let replica = Replica::new();
    replica.install(body).unwrap();
    let mut json = serde_json::to_value(&*replica.read()).unwrap();
    let byte = json["chain"][0].as_u64().unwrap();
    json["chain"][0] = (byte ^ 1).into();
    let state: State = serde_json::from_value(json).unwrap();
    let sealed = (state.hash().0, &state, state.setting_changes(), state.former_timeout());
    codec::seal(STATE_FORMAT, &sealed).unwrap()
}

async fn write(caller: &mut Caller, number: usize) {
    let path = format!("/v1/jobs/job-{}", number % 10);
    must(caller, ("PUT", &path), &format!("write-{number}"), &json!({"priority": number})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_differs_ends_itself_and_is_replaced_while_the_others_serve_on() {
    let mut cluster = Cluster::start(Path::new(env!("CARGO_BIN_EXE_slotkeeper")), 3, &SHORT_LOG).await;
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    for number in 0..WRITES {
        write(&mut caller, number).await;
    }
    let odd = (cluster.leader().await + 1) % 3;
    assert_eq!(cluster.terminate(odd), Some(0), "{}", cluster.log_tail(odd));
    alter_snapshot(cluster.data_dir(odd));
    cluster.start_server(odd);
    let (mut number, deadline) = (WRITES, Instant::now() + SETTLE);
    while !cluster.has_ended(odd) {
        assert!(Instant::now() < deadline, "the odd one goes on\n{}", cluster.all_logs());
        write(&mut caller, number).await;
        number += 1;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let status = cluster.wait_exit(odd);
    assert_eq!(status, Some(i32::from(exit::DIVERGENCE)), "{}", cluster.log_tail(odd));
    let log = cluster.log_tail(odd);
    assert!(log.contains("has applied other records than the members"), "{log}");
    for number in number..number + 20 {
        write(&mut caller, number).await;
    }
    for healthy in (0..3).filter(|number| *number != odd) {
        assert!(!cluster.has_ended(healthy), "{}", cluster.log_tail(healthy));
    }
    replace(&mut cluster, odd, &steps_after(status)).await;
    write(&mut caller, 0).await;
    all_have_one_history(&cluster).await;
}

/// Waits until three members report one state at one revision.
async fn all_have_one_history(cluster: &Cluster) {
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    let deadline = Instant::now() + SETTLE;
    loop {
        let document = cluster_document(&mut caller).await;
        let members = document["members"].as_array().cloned().unwrap_or_default();
        let states: BTreeSet<String> =
            members.iter().map(|member| member["state_hash"].to_string()).collect();
        if members.len() == 3 && states.len() == 1 && !members[0]["state_hash"].is_null() {
            return;
        }
        assert!(Instant::now() < deadline, "{document}\n{}", cluster.all_logs());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
