//! Snapshots: taken by count, sent to whom the log no longer reaches, found again after a restart.

use bytes::Bytes;
use slotkeeper::consensus::LogRetention;
use slotkeeper::domain::{
    Batch, Command, JobId, KeyedCommand, LogicalTime, QueueName, Record, Revision, SessionNumber,
};
use slotkeeper::replica::seal;

use super::cluster::{Cluster, Settings, record, session, until_true};

fn short_log() -> Settings {
    let retention = LogRetention { snapshot_after: 20, keep: 5, purge_batch: 1 };
    Settings { retention, ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_the_log_no_longer_reaches_catches_up_by_a_snapshot() {
    let mut cluster = Cluster::of_three(short_log()).await;
    cluster.apply(session(1)).await;
    let follower = cluster.follower().await;
    cluster.kill(follower);
    for at in 0..100 {
        cluster.apply(record(2_000 + at)).await;
    }
    let leader = cluster.leader().await;
    cluster
        .status_when(leader, "the log is purged", |status| status.purged_index.is_some_and(|p| p > 20))
        .await;
    cluster.restart(follower).await;
    cluster.apply(record(5_000)).await;
    cluster.agree().await;
    let node = cluster.node(follower);
    assert!(node.consensus.received().snapshots > 0, "no snapshot was sent");
    assert!(node.consensus.status().snapshot_index.is_some());
    // And it goes on like everybody else.
    cluster.apply(record(6_000)).await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_restarts_from_its_snapshot_and_the_log_behind_it() {
    let mut cluster = Cluster::found(1, short_log()).await;
    cluster.apply(session(1)).await;
    for at in 0..130 {
        cluster.apply(record(2_000 + at)).await;
    }
    cluster.status_when(0, "the log is purged", |status| status.purged_index.is_some_and(|p| p > 60)).await;
    let hash = cluster.node(0).replica.state_hash();
    cluster.kill(0);
    cluster.restart(0).await;
    cluster.node(0).consensus.recovered().await.unwrap();
    assert_eq!(cluster.node(0).replica.state_hash(), hash);
    cluster.leader().await;
    cluster.node(0).consensus.read_barrier().await.unwrap();
    assert_eq!(cluster.node(0).replica.state_hash(), hash);
    assert_eq!(cluster.apply(record(9_000)).await.revision, Revision(132));
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_go_on_while_records_are_applied_on_every_node() {
    let cluster = Cluster::of_three(short_log()).await;
    cluster.apply(session(1)).await;
    for at in 0..200 {
        cluster.apply(record(2_000 + at)).await;
    }
    for place in 0..3 {
        cluster
            .status_when(place, "a snapshot is there", |s| s.snapshot_index.is_some_and(|i| i > 100))
            .await;
    }
    until_true("all logs are purged", || {
        cluster.running().all(|node| node.consensus.status().purged_index.is_some_and(|purged| purged > 100))
    })
    .await;
    cluster.agree().await;
}

/// A round that puts a thousand jobs.
fn jobs(round: usize) -> Bytes {
    let commands = (0..1_000).map(|number| KeyedCommand {
        key: None,
        command: Command::PutJob {
            id: JobId::new(&format!("a-job-with-a-long-name-{:0>80}", round * 1_000 + number)).unwrap(),
            queue: QueueName::new("default").unwrap(),
            priority: 0,
            job_master_id: None,
            lease_ms: None,
        },
    });
    let (session, at) = (SessionNumber(1), LogicalTime(2_000));
    seal(&Record::Round(Batch { session, at, commands: commands.collect() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_many_pieces_arrives_whole() {
    let mut cluster = Cluster::of_three(short_log()).await;
    cluster.apply(session(1)).await;
    let follower = cluster.follower().await;
    cluster.kill(follower);
    // More entries than what they come to, so that a snapshot is less than the way to it.
    for round in 0..100 {
        let applied = cluster.apply(jobs(round % 25)).await;
        assert!(applied.outcomes.iter().all(|outcome| outcome.result.is_ok()));
    }
    let leader = cluster.leader().await;
    let body = cluster.node(leader).replica.snapshot().encode().unwrap();
    assert!(body.len() > 2 << 20, "{} bytes fit into too few pieces", body.len());
    cluster
        .status_when(leader, "the log is purged", |status| status.purged_index.is_some_and(|p| p > 30))
        .await;
    cluster.restart(follower).await;
    cluster.apply(record(5_000)).await;
    cluster.agree().await;
    assert!(cluster.node(follower).consensus.received().snapshots > 0, "no snapshot was sent");
    assert_eq!(cluster.node(follower).replica.read().jobs().len(), 25_000);
}
