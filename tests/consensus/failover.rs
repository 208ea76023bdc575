//! Leaders come and go: elections, the fast path, hand-overs, and what is left of each.

use std::time::{Duration, Instant};

use slotkeeper::consensus::{MembershipConflict, MembershipError};
use slotkeeper::domain::Revision;

use super::cluster::{Cluster, Settings, record, session, until, until_true};

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_agree_on_what_the_leader_was_told() {
    let cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    for at in 0..30 {
        cluster.apply(record(2_000 + at)).await;
    }
    cluster.agree().await;
    let leader = cluster.leader().await;
    cluster.node(leader).consensus.read_barrier().await.unwrap();
    let reports = cluster.node(leader).consensus.peer_reports().await;
    assert_eq!(reports.len(), 3);
    let hashes: Vec<_> = reports.iter().map(|(_, report)| report.unwrap().state_hash).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_when_the_leader_dies_and_it_comes_back_as_a_follower() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    for round in 0..3 {
        let leader = cluster.leader().await;
        let term = cluster.node(leader).consensus.status().term;
        cluster.kill(leader);
        cluster.apply(record(3_000 + round)).await;
        let successor = cluster.leader().await;
        assert!(cluster.node(successor).consensus.status().term > term);
        cluster.restart(leader).await;
        cluster.apply(record(4_000 + round)).await;
        cluster.agree().await;
    }
    assert_eq!(cluster.apply(record(9_000)).await.revision, Revision(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_dies_and_returns_changes_neither_leader_nor_term() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let term = cluster.node(leader).consensus.status().term;
    cluster.kill(follower);
    cluster.apply(record(2_000)).await;
    cluster.restart(follower).await;
    cluster.apply(record(3_000)).await;
    cluster.agree().await;
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.node(leader).consensus.status().term, term);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_leader_is_elected_without_asking_for_pre_votes_first() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let leader = cluster.leader().await;
    let before: u64 = cluster.running().map(|node| node.consensus.received().pre_votes).sum();
    cluster.kill(leader);
    cluster.leader().await;
    let after: u64 = cluster.running().map(|node| node.consensus.received().pre_votes).sum();
    assert!(after > before, "the election asked for no pre-votes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_moves_leadership_at_once_and_loses_nothing() {
    let cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let target = cluster.node(cluster.follower().await).id();
        let received = cluster.node(cluster.place_of(target)).consensus.received().transfers;
        let started = Instant::now();
        let new = cluster.node(leader).consensus.transfer_leadership(Some(target)).await.unwrap();
        // An election by timers alone takes at least the lease; this bound only tells the two apart.
        assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
        assert_eq!(new.node_id, target);
        let again = cluster.node(cluster.leader().await).consensus.transfer_leadership(Some(target)).await;
        assert_eq!(again, Ok(new), "a retry has the same answer");
        assert!(cluster.node(cluster.place_of(target)).consensus.received().transfers > received);
        assert_eq!(cluster.node(cluster.leader().await).id(), target);
        cluster.apply(record(2_000)).await;
    }
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_over_to_nobody_in_particular_goes_to_another_voter() {
    let cluster = Cluster::of_three(Settings::default()).await;
    let leader = cluster.leader().await;
    let own = cluster.node(leader).id();
    let new = until("followers have answered", async || {
        match cluster.node(leader).consensus.transfer_leadership(None).await {
            Ok(new) => Some(new),
            Err(MembershipError::Conflict(MembershipConflict::NoSuccessor(_))) => None,
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    assert_ne!(new.node_id, own);
    let refused = cluster.node(leader).consensus.transfer_leadership(None).await;
    assert!(matches!(refused, Err(MembershipError::NotLeader { leader: Some(_) })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_shut_down_hands_over_before_it_goes() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let leader = cluster.leader().await;
    let node = cluster.nodes[leader].take().unwrap();
    let transfers: u64 = cluster.running().map(|node| node.consensus.received().transfers).sum();
    node.consensus.shutdown().await;
    let after: u64 = cluster.running().map(|node| node.consensus.received().transfers).sum();
    assert!(after > transfers, "nobody was asked to take over");
    cluster.apply(record(2_000)).await;
    cluster.restart(leader).await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_three_restart_with_everything_that_was_acknowledged() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    for at in 0..20 {
        cluster.apply(record(2_000 + at)).await;
    }
    for place in 0..3 {
        cluster.kill(place);
    }
    for place in [2, 0, 1] {
        cluster.restart(place).await;
    }
    assert_eq!(cluster.apply(record(5_000)).await.revision, Revision(22));
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_published_when_the_leader_changes() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let old = cluster.node(leader).id();
    let status = cluster.node(follower).consensus.watch_status();
    assert_eq!(status.borrow().leader.as_ref().map(|leader| leader.node_id), Some(old));
    cluster.kill(leader);
    until_true("another leader is published", || {
        status.borrow().leader.as_ref().is_some_and(|leader| leader.node_id != old)
    })
    .await;
}
