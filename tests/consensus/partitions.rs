//! Cut links: the majority goes on, the minority decides nothing and serves nothing, and healing disturbs nobody.

use std::sync::Arc;
use std::time::Duration;

use slotkeeper::consensus::{BarrierError, Bootstrap, ProposeError, RequestMembership, StopReason};

use super::cluster::{
    Cluster, CountingMinter, Node, Place, Settings, TIMING, record, session, until, until_true,
};
use super::switch::Switch;

/// Three nodes on one switch.
async fn of_three() -> (Cluster, Switch) {
    let switch = Switch::default();
    let (mut places, mut listeners) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (place, listener) = Place::new().await;
        places.push(place);
        listeners.push(listener);
    }
    let list: Vec<String> = places.iter().map(|place| place.peer_addr.clone()).collect();
    let settings: Vec<Settings> =
        list.iter().map(|own| Settings { transport: switch.transport(own), ..Settings::default() }).collect();
    let starting = places.iter().zip(listeners).zip(&settings).map(|((place, listener), settings)| {
        place.start(listener, Bootstrap::InitialCluster(list.clone()), settings)
    });
    let nodes = futures::future::try_join_all(starting).await.unwrap();
    let cluster =
        Cluster { settings: settings[0].clone(), places, nodes: nodes.into_iter().map(Some).collect() };
    cluster.apply(session(1)).await;
    (cluster, switch)
}

fn addresses(cluster: &Cluster) -> Vec<String> {
    cluster.places.iter().map(|place| place.peer_addr.clone()).collect()
}

/// The place of a leader that at least two nodes follow, other than `not`.
async fn another_leader(cluster: &Cluster, not: usize) -> usize {
    until("the majority has a leader", async || {
        let followed = |node: &Node| node.consensus.status().leader.map(|leader| leader.node_id);
        (0..cluster.nodes.len()).filter(|place| *place != not).find(|place| {
            let node = cluster.node(*place);
            node.consensus.status().is_leader()
                && cluster.running().filter(|other| followed(other) == Some(node.id())).count() >= 2
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_decides_nothing_and_its_reads_fail() {
    let (cluster, switch) = of_three().await;
    let old = cluster.leader().await;
    switch.isolate(&cluster.places[old].peer_addr, &addresses(&cluster));
    let lonely = cluster.node(old);
    let new = another_leader(&cluster, old).await;
    assert_eq!(lonely.consensus.read_barrier().await, Err(BarrierError::NoQuorum));
    let refused = lonely.consensus.propose(record(2_000)).await;
    assert!(matches!(refused, Err(ProposeError::NoQuorum | ProposeError::Unknown)), "{refused:?}");
    let applied =
        until("the majority applies", async || cluster.node(new).consensus.propose(record(3_000)).await.ok());
    let revision = applied.await.revision;
    assert!(lonely.replica.revision() < revision);
    switch.heal();
    until_true("the old leader follows", || {
        !lonely.consensus.status().is_leader() && lonely.replica.revision() >= revision
    })
    .await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_cut_off_comes_back_without_raising_the_term() {
    let (cluster, switch) = of_three().await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let term = cluster.node(leader).consensus.status().term;
    switch.isolate(&cluster.places[follower].peer_addr, &addresses(&cluster));
    // It stands for election over and over, in vain, while the others go on.
    let pre_votes_end = tokio::time::Instant::now() + std::time::Duration::from_secs(4);
    let mut at = 2_000;
    while tokio::time::Instant::now() < pre_votes_end {
        cluster.node(leader).consensus.propose(record(at)).await.unwrap();
        at += 1;
    }
    assert_eq!(cluster.node(follower).consensus.status().term, term, "it raised its term alone");
    switch.heal();
    cluster.agree().await;
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.node(leader).consensus.status().term, term);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_followers_that_can_not_hear_each_other_keep_their_leader() {
    let (cluster, switch) = of_three().await;
    let leader = cluster.leader().await;
    let others: Vec<usize> = (0..3).filter(|place| *place != leader).collect();
    let [left, right] = [&cluster.places[others[0]].peer_addr, &cluster.places[others[1]].peer_addr];
    switch.cut(left, right);
    switch.cut(right, left);
    let term = cluster.node(leader).consensus.status().term;
    for at in 0..200 {
        cluster.node(leader).consensus.propose(record(2_000 + at)).await.unwrap();
    }
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.node(leader).consensus.status().term, term);
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hears_nobody_is_replaced_although_it_is_heard() {
    let (cluster, switch) = of_three().await;
    let old = cluster.leader().await;
    let own = &cluster.places[old].peer_addr;
    for other in addresses(&cluster).iter().filter(|other| *other != own) {
        switch.cut(other, own);
    }
    until("it refuses", async || match cluster.node(old).consensus.propose(record(2_000)).await {
        Err(ProposeError::NoQuorum | ProposeError::NotLeader { .. } | ProposeError::Unknown) => Some(()),
        other => panic!("it decided alone: {other:?}"),
    })
    .await;
    // Connections need both directions, so its heartbeats die with the answers.
    another_leader(&cluster, old).await;
    switch.heal();
    cluster.apply(record(3_000)).await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_answered_too_late_to_take_anything_is_replaced_although_it_is_heard_in_time() {
    let (cluster, switch) = of_three().await;
    let old = cluster.leader().await;
    // Later than the next heartbeat, when the engine waits no more, and sooner than anybody else gives up.
    let late = Duration::from_millis(TIMING.heartbeat_ms * 3);
    switch.delay_answers(&cluster.places[old].peer_addr, late);
    let lonely = cluster.node(old);
    // Nothing is proposed meanwhile: the answers to entries do count, and would keep its lease.
    until_true("its lease has run out", || {
        let status = lonely.consensus.status();
        !status.is_leader() || status.quorum_contact_age.is_some_and(|age| age > TIMING.lease())
    })
    .await;
    let new = another_leader(&cluster, old).await;
    until("the next one takes it", async || cluster.node(new).consensus.propose(record(3_000)).await.ok())
        .await;
    switch.heal();
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_that_were_on_their_way_when_the_leader_was_cut_off_are_unknown_never_failed() {
    let (cluster, switch) = of_three().await;
    let old = cluster.leader().await;
    let lonely = cluster.node(old);
    switch.isolate(&cluster.places[old].peer_addr, &addresses(&cluster));
    // The lease still holds, so it takes them; nobody will confirm them.
    let proposed: Vec<_> = (0..10).map(|at| lonely.consensus.propose(record(2_000 + at))).collect();
    let results = tokio::spawn(futures::future::join_all(proposed));
    another_leader(&cluster, old).await;
    switch.heal();
    for result in results.await.unwrap() {
        assert!(matches!(result, Err(ProposeError::Unknown | ProposeError::NoQuorum)), "{result:?}");
    }
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_leader_whose_log_reaches_further_than_what_was_decided_without_it_learns_that_it_was_removed()
 {
    let (cluster, switch) = of_three().await;
    let old = cluster.leader().await;
    let lonely = cluster.node(old);
    let before = lonely.consensus.status().last_log_index;
    switch.isolate(&cluster.places[old].peer_addr, &addresses(&cluster));
    let proposed: Vec<_> = (0..20).map(|at| lonely.consensus.propose(record(2_000 + at))).collect();
    let results = tokio::spawn(futures::future::join_all(proposed));
    until_true("its log grows alone", || lonely.consensus.status().last_log_index > before + 10).await;
    let new = another_leader(&cluster, old).await;
    let leading = &cluster.node(new).consensus;
    until("it is removed", async || leading.remove(lonely.id()).await.ok()).await;
    assert!(leading.status().last_log_index < lonely.consensus.status().last_log_index);
    // The leader can not give it notice; the third one answers it.
    switch.heal();
    let (one, other) = (&cluster.places[old].peer_addr, &cluster.places[new].peer_addr);
    switch.cut(one, other);
    switch.cut(other, one);
    let reason = tokio::time::timeout(Duration::from_secs(30), lonely.consensus.stopped()).await;
    assert_eq!(reason.expect("it is told"), StopReason::Removed);
    assert!(results.await.unwrap().iter().all(Result::is_err), "nothing of it was acknowledged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_voters_that_its_leader_could_not_finish_is_finished_by_the_next() {
    let (mut cluster, switch) = of_three().await;
    let old = cluster.leader().await;
    let (place, listener) = Place::new().await;
    let settings = Settings { transport: switch.transport(&place.peer_addr), ..Settings::default() };
    let minter = Arc::new(CountingMinter::default());
    let leading = cluster.node(old).consensus.clone();
    leading.set_node_id_minter(minter);
    let (api_addr, peer_addr) = (place.api_addr.clone(), place.peer_addr.clone());
    let request: RequestMembership = Arc::new(move || {
        let (leading, api_addr, peer_addr) = (leading.clone(), api_addr.clone(), peer_addr.clone());
        Box::pin(async move {
            leading.add_member(&api_addr, &peer_addr).await.map(drop).map_err(|error| error.to_string())
        })
    });
    let learner = place.start(listener, Bootstrap::Join(request), &settings).await.unwrap();
    let id = learner.id();
    cluster.places.push(place);
    cluster.nodes.push(Some(learner));
    cluster.agree().await;
    // The leader's words still go out, but no answer comes back: the change is begun and never confirmed to it.
    let own = cluster.places[old].peer_addr.clone();
    for other in addresses(&cluster).iter().filter(|other| **other != own) {
        switch.cut(other, &own);
    }
    let consensus = cluster.node(old).consensus.clone();
    let promoting = tokio::spawn(async move { consensus.promote(id).await });
    let new = another_leader(&cluster, old).await;
    let status = cluster.node(new).consensus.status();
    assert!(
        status.voters().any(|voter| voter == id),
        "the change did not reach the others before the cut: {status:?}"
    );
    cluster.status_when(new, "the change is finished", |status| !status.is_changing_voters).await;
    assert_eq!(cluster.node(new).consensus.status().voters().count(), 4);
    switch.heal();
    assert!(promoting.await.unwrap().is_err());
    cluster.apply(record(5_000)).await;
    cluster.agree().await;
}
