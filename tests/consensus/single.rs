//! One node alone: it leads, keeps what it acknowledged, and wins an election after every start.

use slotkeeper::consensus::Role;
use slotkeeper::domain::Revision;

use super::cluster::{Cluster, Settings, record, session};

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_applies_what_is_proposed_and_proves_that_it_leads() {
    let cluster = Cluster::found(1, Settings::default()).await;
    let leader = cluster.leader().await;
    assert_eq!(cluster.apply(session(1)).await.revision, Revision(1));
    assert_eq!(cluster.apply(record(2_000)).await.revision, Revision(2));
    cluster.node(leader).consensus.read_barrier().await.unwrap();
    let status = cluster.node(leader).consensus.status();
    assert_eq!((status.role, status.node_id), (Role::Leader, 1));
    assert_eq!(status.members.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_leader_has_what_it_acknowledged_and_has_to_win_an_election() {
    let mut cluster = Cluster::found(1, Settings::default()).await;
    cluster.apply(session(1)).await;
    for at in 0..20 {
        cluster.apply(record(2_000 + at)).await;
    }
    let before = cluster.node(0).consensus.status().term;
    let hash = cluster.node(0).replica.state_hash();
    cluster.kill(0);
    cluster.restart(0).await;
    cluster.leader().await;
    cluster.node(0).consensus.read_barrier().await.unwrap();
    assert_eq!(cluster.node(0).replica.state_hash(), hash);
    assert!(cluster.node(0).consensus.status().term > before, "leadership was restored without an election");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_shut_down_in_order_says_so_and_starts_again() {
    let mut cluster = Cluster::found(1, Settings::default()).await;
    cluster.apply(session(1)).await;
    let node = cluster.nodes[0].take().unwrap();
    let witness = node.consensus.clone();
    node.consensus.shutdown().await;
    assert_eq!(witness.stopped().await, slotkeeper::consensus::StopReason::Shutdown);
    assert!(!witness.status().is_leader());
    drop(witness);
    cluster.restart(0).await;
    assert_eq!(cluster.apply(record(2_000)).await.revision, Revision(2));
}
