//! Proposals keep their order, and a node that can not decide says so at once and truthfully.

use std::time::{Duration, Instant};

use futures::future::join_all;
use slotkeeper::consensus::{BarrierError, ProposeError, RECORD_BYTES_MAX};
use slotkeeper::domain::{
    AllocationId, Batch, ClusterId, Command, Epoch, KeyedCommand, LogicalTime, Record, Revision,
    SessionNumber, TaskManagerId,
};
use slotkeeper::replica::seal;
use uuid::Uuid;

use super::cluster::{Cluster, Settings, record, session, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_the_calls_is_the_order_in_the_log() {
    let cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let leader = cluster.leader().await;
    let proposed: Vec<_> =
        (0..500).map(|at| cluster.node(leader).consensus.propose(record(2_000 + at))).collect();
    // The results are awaited in another order than they were asked for.
    let applied = join_all(proposed.into_iter().rev()).await;
    let revisions: Vec<u64> = applied.into_iter().rev().map(|applied| applied.unwrap().revision.0).collect();
    assert_eq!(revisions, (2..502).collect::<Vec<_>>());
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_names_the_leader_and_proposes_nothing() {
    let cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let expected = cluster.node(leader).id();
    let refused = cluster.node(follower).consensus.propose(record(2_000)).await;
    let Err(ProposeError::NotLeader { leader: Some(named) }) = refused else { panic!("{refused:?}") };
    assert_eq!(named.node_id, expected);
    let refused = cluster.node(follower).consensus.read_barrier().await;
    let Err(BarrierError::NotLeader { leader: Some(named) }) = refused else { panic!("{refused:?}") };
    assert_eq!(named.node_id, expected);
    assert_eq!(cluster.apply(record(3_000)).await.revision, Revision(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_quorum_refuses_at_once_and_decides_nothing() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let leader = cluster.leader().await;
    for place in (0..3).filter(|place| *place != leader) {
        cluster.kill(place);
    }
    let lonely = cluster.node(leader);
    until("the lease is over", async || match lonely.consensus.propose(record(2_000)).await {
        Err(ProposeError::NoQuorum) => Some(()),
        Err(ProposeError::Unknown | ProposeError::NotLeader { .. }) => None,
        other => panic!("{other:?}"),
    })
    .await;
    let started = Instant::now();
    assert_eq!(lonely.consensus.propose(record(3_000)).await, Err(ProposeError::NoQuorum));
    assert_eq!(lonely.consensus.read_barrier().await, Err(BarrierError::NoQuorum));
    // A refusal that waited for the proposal's deadline would take ten seconds.
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(lonely.replica.revision(), Revision(1));
    assert!(lonely.consensus.status().quorum_contact_age.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_barriers_at_once_all_pass() {
    let cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader);
    let passed = join_all((0..2_000).map(|_| node.consensus.read_barrier())).await;
    assert!(passed.into_iter().all(|passed| passed.is_ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_sees_what_was_acknowledged_before_it() {
    let cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    for at in 0..50 {
        let acknowledged = cluster.apply(record(2_000 + at)).await.revision;
        let leader = cluster.leader().await;
        if cluster.node(leader).consensus.read_barrier().await.is_ok() {
            assert!(cluster.node(leader).replica.revision() >= acknowledged);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_proposes_nothing() {
    let mut cluster = Cluster::found(1, Settings::default()).await;
    cluster.apply(session(1)).await;
    let node = cluster.nodes[0].take().unwrap();
    let witness = node.consensus.clone();
    node.consensus.shutdown().await;
    assert_eq!(witness.propose(record(2_000)).await, Err(ProposeError::Stopped));
    assert_eq!(witness.read_barrier().await, Err(BarrierError::Stopped));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_fits_into_no_message_is_refused_and_the_largest_one_is_not() {
    let cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let leader = cluster.leader().await;
    let bytes = RECORD_BYTES_MAX + 1;
    let refused = cluster.node(leader).consensus.propose(vec![0; bytes].into()).await;
    assert_eq!(refused, Err(ProposeError::TooLarge { bytes, limit_bytes: RECORD_BYTES_MAX }));
    // Confirmations of unknown slots change nothing and may be as long as one likes.
    let mut started = 260_000;
    let largest = loop {
        let payload = confirmation(started);
        if payload.len() <= RECORD_BYTES_MAX {
            break payload;
        }
        started -= 1_000;
    };
    assert!(largest.len() > RECORD_BYTES_MAX - 20_000);
    cluster.apply(largest.clone()).await;
    cluster.apply(largest).await;
    cluster.agree().await;
}

fn confirmation(started: u64) -> bytes::Bytes {
    let cluster = ClusterId(Uuid::from_u128(9 << 64));
    let command = Command::Confirm {
        id: TaskManagerId::new("nobody").unwrap(),
        epoch: Epoch(1),
        started: (0..started).map(|counter| AllocationId::minted(cluster, counter)).collect(),
        failed: Vec::new(),
    };
    let commands = vec![KeyedCommand { key: None, command }];
    seal(&Record::Round(Batch { session: SessionNumber(1), at: LogicalTime(2_000), commands }))
}
