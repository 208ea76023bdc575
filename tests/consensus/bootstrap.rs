//! How a cluster begins, and what can not begin: every step can be repeated, and an emptied directory never comes back.

use std::sync::Arc;
use std::time::Duration;

use slotkeeper::consensus::{Bootstrap, StartError, StopReason, TcpTransport, Transport};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::cluster::{Cluster, Place, Settings, record, session, until};
use super::disks::FailingDisk;

async fn places(count: usize) -> (Vec<Place>, Vec<Box<dyn slotkeeper::consensus::PeerListener>>) {
    let (mut places, mut listeners) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (place, listener) = Place::new().await;
        places.push(place);
        listeners.push(listener);
    }
    (places, listeners)
}

fn list_of(places: &[Place]) -> Vec<String> {
    places.iter().map(|place| place.peer_addr.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_follow_the_order_of_the_list_and_all_know_one_cluster() {
    let cluster = Cluster::of_three(Settings::default()).await;
    cluster.leader().await;
    let ids: Vec<u64> = cluster.running().map(super::cluster::Node::id).collect();
    assert_eq!(ids, [1, 2, 3]);
    let first = cluster.node(0).consensus.status().cluster_id;
    assert!(cluster.running().all(|node| node.consensus.status().cluster_id == first));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_ignored_by_a_node_that_has_data() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    cluster.kill(1);
    let place = &cluster.places[1];
    let other_list = Bootstrap::InitialCluster(vec!["127.0.0.1:1".to_owned()]);
    let node = place.start(place.listen().await, other_list, &cluster.settings).await.unwrap();
    assert_eq!(node.id(), 2);
    cluster.nodes[1] = Some(node);
    cluster.apply(record(2_000)).await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_directory_was_emptied_does_not_come_back_under_its_id() {
    for wiped in [0, 2] {
        let mut cluster = Cluster::of_three(Settings::default()).await;
        cluster.apply(session(1)).await;
        cluster.agree().await;
        cluster.kill(wiped);
        let place = &cluster.places[wiped];
        // Waiting for the lock makes sure that the killed node has let go of its files.
        drop(place.options(place.listen().await, Bootstrap::Existing, &cluster.settings).await);
        place.wipe();
        let list = Bootstrap::InitialCluster(list_of(&cluster.places));
        let refused = place.start(place.listen().await, list, &cluster.settings).await;
        assert!(matches!(refused, Err(StartError::ClusterExists { .. })), "{:?}", refused.err());
        let nothing = place.start(place.listen().await, Bootstrap::Existing, &cluster.settings).await;
        assert!(matches!(nothing, Err(StartError::NothingToStart)));
        cluster.apply(record(2_000)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn founding_that_is_interrupted_anywhere_is_resumed_by_the_next_start() {
    // The first node is ended again and again while the cluster is being founded, a little later each time.
    let (places, mut listeners) = places(3).await;
    let list = list_of(&places);
    let settings = Settings::default();
    let mut others = Vec::new();
    for place in &places[1..] {
        let options =
            place.options(listeners.remove(1), Bootstrap::InitialCluster(list.clone()), &settings).await;
        others.push(tokio::spawn(slotkeeper::consensus::Consensus::start(
            options,
            slotkeeper::replica::Replica::new(),
        )));
    }
    drop(listeners);
    for patience_ms in [1, 3, 6, 10, 15, 20, 30, 50] {
        let first =
            places[0].start(places[0].listen().await, Bootstrap::InitialCluster(list.clone()), &settings);
        // Ending the future is what a crash at this point would be.
        if let Ok(Ok(node)) = tokio::time::timeout(Duration::from_millis(patience_ms), first).await {
            drop(node);
        }
    }
    let first = places[0].start(places[0].listen().await, Bootstrap::InitialCluster(list), &settings);
    let first = first.await.unwrap();
    let mut consensuses = vec![first.consensus.clone()];
    for other in others {
        consensuses.push(other.await.unwrap().unwrap());
    }
    super::cluster::until_true("a leader is found", || {
        consensuses.iter().all(|consensus| consensus.status().leader.is_some())
    })
    .await;
    let cluster_id = consensuses[0].status().cluster_id;
    assert!(consensuses.iter().all(|consensus| consensus.status().cluster_id == cluster_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_makes_no_sense_is_refused() {
    let (place, listener) = Place::new().await;
    let without_me = Bootstrap::InitialCluster(vec!["127.0.0.1:1".to_owned()]);
    let refused = place.start(listener, without_me, &Settings::default()).await;
    assert!(matches!(refused, Err(StartError::InitialCluster(_))), "{:?}", refused.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_different_lists_found_nothing() {
    let (places, mut listeners) = places(2).await;
    let settings = Settings::default();
    let stranger = TcpTransport.listen("127.0.0.1:0").await.unwrap().address().unwrap();
    let with_stranger =
        Bootstrap::InitialCluster(vec![places[0].peer_addr.clone(), places[1].peer_addr.clone(), stranger]);
    let second = places[1].start(listeners.remove(1), with_stranger, &settings);
    let first = places[0].start(listeners.remove(0), Bootstrap::InitialCluster(list_of(&places)), &settings);
    tokio::select! {
        refused = first => assert!(matches!(refused, Err(StartError::PeerRefuses { .. })), "{:?}", refused.err()),
        _ = second => panic!("the second node has no cluster to start in"),
    }
}

/// A cluster of three whose last member was told its place and then could not open its log: it never gets an entry.
async fn with_a_member_that_never_began() -> Cluster {
    let (places, mut listeners) = places(3).await;
    let list = list_of(&places);
    let settings = Settings::default();
    let start = |place: usize, listener, settings| {
        places[place].start(listener, Bootstrap::InitialCluster(list.clone()), settings)
    };
    let broken = Settings { disk: Arc::new(FailingDisk::that_takes_no_log()), ..Settings::default() };
    let last = start(2, listeners.remove(2), &broken);
    let second = start(1, listeners.remove(1), &settings);
    let first = start(0, listeners.remove(0), &settings);
    let (first, second, last) = tokio::join!(first, second, last);
    assert!(matches!(last, Err(StartError::Storage(_))), "{:?}", last.err());
    let nodes = vec![Some(first.unwrap()), Some(second.unwrap()), None];
    Cluster { settings, places, nodes }
}

/// Takes the word that a removed member is given for a while, and says nothing to it until its sender has given up.
async fn swallow_the_notice(place: &Place) {
    let listener =
        until("the address is free", async || TcpListener::bind(&place.peer_addr).await.ok()).await;
    let (mut stream, _) = listener.accept().await.unwrap();
    // However the connection ends, nobody gives notice any more.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_member_that_never_got_an_entry_learns_that_it_was_removed_while_it_was_away() {
    let cluster = with_a_member_that_never_began().await;
    cluster.apply(session(1)).await;
    let leader = cluster.leader().await;
    until("the member is removed", async || cluster.node(leader).consensus.remove(3).await.ok()).await;
    swallow_the_notice(&cluster.places[2]).await;
    let term = cluster.node(leader).consensus.status().term;
    let node = cluster.places[2].restart(&cluster.settings).await;
    assert_eq!(node.consensus.status().last_log_index, 0);
    let reason = tokio::time::timeout(Duration::from_secs(30), node.consensus.stopped()).await;
    assert_eq!(reason.expect("it is told"), StopReason::Removed);
    assert_eq!(cluster.node(leader).consensus.status().term, term, "nobody was disturbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_member_that_never_got_an_entry_gets_them_when_it_comes_back() {
    let mut cluster = with_a_member_that_never_began().await;
    cluster.apply(session(1)).await;
    cluster.restart(2).await;
    cluster.apply(record(2_000)).await;
    cluster.agree().await;
}
