//! Nodes come and go: added as learners, given votes, removed for ever, and never counted twice.

use std::sync::Arc;

use slotkeeper::consensus::{
    Bootstrap, FIRST_MEMBERS_MAX, MemberRole, MembershipConflict, MembershipError, StopReason,
};

use super::cluster::{Cluster, CountingMinter, Place, Settings, record, session, until};

/// A cluster whose every node can give out ids.
async fn of_three() -> Cluster {
    let cluster = Cluster::of_three(Settings::default()).await;
    let minter = Arc::new(CountingMinter::default());
    for node in cluster.running() {
        node.consensus.set_node_id_minter(minter.clone());
    }
    cluster.apply(session(1)).await;
    cluster
}

/// Starts an empty node and takes it in, as an operator would through the API.
async fn join(cluster: &mut Cluster) -> usize {
    let (place, listener) = Place::new().await;
    let leader = cluster.leader().await;
    let consensus = cluster.node(leader).consensus.clone();
    let (api_addr, peer_addr) = (place.api_addr.clone(), place.peer_addr.clone());
    let request: slotkeeper::consensus::RequestMembership = Arc::new(move || {
        let (consensus, api_addr, peer_addr) = (consensus.clone(), api_addr.clone(), peer_addr.clone());
        Box::pin(async move {
            consensus.add_member(&api_addr, &peer_addr).await.map(drop).map_err(|error| error.to_string())
        })
    });
    let node = place.start(listener, Bootstrap::Join(request), &cluster.settings).await.unwrap();
    cluster.places.push(place);
    cluster.nodes.push(Some(node));
    cluster.nodes.len() - 1
}

async fn role_of(cluster: &Cluster, node_id: u64) -> Option<MemberRole> {
    let status = cluster.node(cluster.leader().await).consensus.status();
    status.members.iter().find(|(member, _)| member.node_id == node_id).map(|(_, role)| *role)
}

async fn wait_for_role(cluster: &Cluster, node_id: u64, expected: Option<MemberRole>) {
    until("the member has its role", async || (role_of(cluster, node_id).await == expected).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_learns_votes_and_takes_part() {
    let mut cluster = of_three().await;
    for at in 0..20 {
        cluster.apply(record(2_000 + at)).await;
    }
    let joined = join(&mut cluster).await;
    let id = cluster.node(joined).id();
    assert_eq!(id, FIRST_MEMBERS_MAX + 1);
    wait_for_role(&cluster, id, Some(MemberRole::Learner)).await;
    cluster.agree().await;
    let leader = cluster.leader().await;
    let promoted = cluster.node(leader).consensus.promote(id).await.unwrap();
    assert_eq!(promoted.node_id, id);
    wait_for_role(&cluster, id, Some(MemberRole::Voter)).await;
    let again = cluster.node(leader).consensus.promote(id).await;
    assert_eq!(again, Ok(promoted), "a retry has the same answer");
    // With four voters and one of the first three gone, the new vote is needed.
    let follower = (0..3).find(|place| *place != leader).unwrap();
    cluster.kill(follower);
    cluster.apply(record(5_000)).await;
    cluster.agree().await;
    cluster.restart(follower).await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_the_same_node_again_changes_nothing() {
    let mut cluster = of_three().await;
    let joined = join(&mut cluster).await;
    let place = &cluster.places[joined];
    let leader = cluster.leader().await;
    let again = cluster.node(leader).consensus.add_member(&place.api_addr, &place.peer_addr).await.unwrap();
    assert_eq!(again.node_id, cluster.node(joined).id());
    assert_eq!(cluster.node(leader).consensus.status().members.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_changes_at_once_are_made_one_after_the_other() {
    let mut cluster = of_three().await;
    let joined = join(&mut cluster).await;
    let id = cluster.node(joined).id();
    wait_for_role(&cluster, id, Some(MemberRole::Learner)).await;
    let leader = cluster.leader().await;
    let consensus = &cluster.node(leader).consensus;
    let (one, other) = tokio::join!(consensus.promote(id), consensus.promote(id));
    assert_eq!((one.unwrap().node_id, other.unwrap().node_id), (id, id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_told_and_stops_and_its_directory_does_not_come_back() {
    let mut cluster = of_three().await;
    let joined = join(&mut cluster).await;
    let id = cluster.node(joined).id();
    wait_for_role(&cluster, id, Some(MemberRole::Learner)).await;
    let leader = cluster.leader().await;
    cluster.node(leader).consensus.promote(id).await.unwrap();
    cluster.agree().await;
    let removed = cluster.node(leader).consensus.remove(id).await.unwrap();
    assert_eq!(removed.node_id, id);
    assert_eq!(cluster.node(joined).consensus.stopped().await, StopReason::Removed);
    wait_for_role(&cluster, id, None).await;
    cluster.kill(joined);
    // It starts again with its old data and is refused a place.
    let place = &cluster.places[joined];
    let node = place.restart(&cluster.settings).await;
    let again = cluster.node(leader).consensus.add_member(&place.api_addr, &place.peer_addr).await;
    let Err(MembershipError::Conflict(MembershipConflict::NewNode { reason, .. })) = again else {
        panic!("{again:?}")
    };
    assert!(reason.contains("was removed"), "{reason}");
    drop(node);
    cluster.apply(record(9_000)).await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_removed_while_it_was_away_learns_it_when_it_stands_for_election() {
    let mut cluster = of_three().await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let id = cluster.kill(follower);
    cluster.apply(record(2_000)).await;
    until("the removal is allowed", async || match cluster.node(leader).consensus.remove(id).await {
        Ok(_) => Some(()),
        Err(MembershipError::Conflict(_)) => None,
        Err(error) => panic!("{error}"),
    })
    .await;
    cluster.apply(record(3_000)).await;
    let term = cluster.node(leader).consensus.status().term;
    let node = cluster.places[follower].restart(&cluster.settings).await;
    assert_eq!(node.consensus.stopped().await, StopReason::Removed);
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.node(leader).consensus.status().term, term);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_removal_leaves_fewer_answering_voters_than_a_quorum() {
    let mut cluster = of_three().await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let dead = cluster.kill(follower);
    let alive = cluster.follower().await;
    let alive_id = cluster.node(alive).id();
    let consensus = cluster.node(leader).consensus.clone();
    // Of the two that would be left one is dead: two are needed.
    let refused = consensus.remove(alive_id).await;
    let expected = MembershipConflict::WouldLoseQuorum { voters_after: 2, live_after: 1, quorum_after: 2 };
    assert_eq!(refused, Err(expected.into()));
    consensus.remove(dead).await.unwrap();
    cluster.apply(record(2_000)).await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_to_be_removed_hands_over_first() {
    let mut cluster = of_three().await;
    let leader = cluster.leader().await;
    let id = cluster.node(leader).id();
    let asked = cluster.node(leader).consensus.remove(id).await;
    let Err(MembershipError::NotLeader { leader: Some(successor) }) = asked else { panic!("{asked:?}") };
    assert_ne!(successor.node_id, id);
    let successor = cluster.place_of(successor.node_id);
    until("the successor removes it", async || cluster.node(successor).consensus.remove(id).await.ok()).await;
    assert_eq!(cluster.node(leader).consensus.stopped().await, StopReason::Removed);
    cluster.kill(leader);
    cluster.apply(record(2_000)).await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_make_no_sense_are_refused() {
    let cluster = of_three().await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let consensus = &cluster.node(leader).consensus;
    assert_eq!(consensus.remove(77).await, Err(MembershipError::UnknownMember(77)));
    assert_eq!(consensus.promote(77).await, Err(MembershipError::UnknownMember(77)));
    let nobody = consensus.add_member("127.0.0.1:1", "127.0.0.1:1").await;
    assert!(
        matches!(nobody, Err(MembershipError::Conflict(MembershipConflict::NewNode { .. }))),
        "{nobody:?}"
    );
    let elsewhere = cluster.node(follower).consensus.remove(1).await;
    assert!(matches!(elsewhere, Err(MembershipError::NotLeader { leader: Some(_) })), "{elsewhere:?}");
    let (place, other) = (&cluster.places[leader], &cluster.places[follower]);
    let mixed = consensus.add_member(&place.api_addr, &other.peer_addr).await;
    assert!(matches!(mixed, Err(MembershipError::Conflict(MembershipConflict::NewNode { .. }))), "{mixed:?}");
}
