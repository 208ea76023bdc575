//! An older copy of a data directory is brought back to its own address: a restored disk, a snapshot of a virtual machine.

use slotkeeper::consensus::{Bootstrap, StartError, StopReason};

use super::cluster::{Cluster, Settings, record, session};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_an_older_directory_ends_for_ever_and_the_leader_serves_on() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let term = cluster.node(leader).consensus.status().term;
    cluster.kill(follower);
    let older = cluster.places[follower].copy().await;
    cluster.restart(follower).await;
    for at in 0..20 {
        cluster.apply(record(2_000 + at)).await;
    }
    cluster.agree().await;
    cluster.kill(follower);
    cluster.places[follower].bring_back(older).await;

    let outdated = cluster.places[follower].restart(&cluster.settings).await;
    let reason = outdated.consensus.stopped().await;
    let StopReason::Outdated { last_index, acknowledged_index } = reason else { panic!("{reason}") };
    assert!(acknowledged_index >= last_index + 20, "{last_index} {acknowledged_index}");
    drop(outdated);
    let place = &cluster.places[follower];
    let again = place.start(place.listen().await, Bootstrap::Existing, &cluster.settings).await;
    assert!(matches!(again, Err(StartError::Outdated { .. })));

    cluster.apply(record(3_000)).await;
    cluster.agree().await;
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.node(leader).consensus.status().term, term);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_only_behind_catches_up() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let follower = cluster.follower().await;
    cluster.kill(follower);
    let recent = cluster.places[follower].copy().await;
    for at in 0..20 {
        cluster.apply(record(2_000 + at)).await;
    }
    cluster.places[follower].bring_back(recent).await;
    cluster.restart(follower).await;
    cluster.agree().await;
}
