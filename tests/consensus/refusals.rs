//! Who may not speak: nodes of another cluster, in another place, or with another life of their data directory.

use slotkeeper::consensus::{Bootstrap, Consensus, ConsensusOptions, Refusal, StartError};
use slotkeeper::replica::Replica;

use super::cluster::{Cluster, Settings, record, session, until};

/// The kinds of refusal that any running node has given.
fn refusals(cluster: &Cluster) -> Vec<Refusal> {
    cluster.running().flat_map(|node| node.consensus.refusals_given()).map(|(_, refusal)| refusal).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_is_refused_and_changes_nothing() {
    let mut ours = Cluster::of_three(Settings::default()).await;
    ours.apply(session(1)).await;
    let mut theirs = Cluster::of_three(Settings::default()).await;
    theirs.apply(session(1)).await;
    // A node of ours goes, and a node of theirs listens at its address, as after a name has moved.
    let (leader, follower) = (ours.leader().await, ours.follower().await);
    let term = ours.node(leader).consensus.status().term;
    ours.kill(follower);
    let intruder = theirs.follower().await;
    theirs.kill(intruder);
    let place = &theirs.places[intruder];
    let mut options =
        place.options(ours.places[follower].listen().await, Bootstrap::Existing, &theirs.settings).await;
    options.peer_addr = place.peer_addr.clone();
    let misplaced = Consensus::start(options, Replica::new()).await.unwrap();
    until("the intruder has refused our leader", async || {
        misplaced.refusals_given().iter().any(|(_, refusal)| *refusal == Refusal::WrongCluster).then_some(())
    })
    .await;
    ours.apply(record(2_000)).await;
    theirs.apply(record(2_000)).await;
    assert_eq!(ours.leader().await, leader);
    assert_eq!(ours.node(leader).consensus.status().term, term);
    assert_ne!(misplaced.status().cluster_id, ours.node(leader).consensus.status().cluster_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_another_members_directory_is_refused_at_this_address() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let other = (0..3).find(|place| *place != leader && *place != follower).unwrap();
    cluster.kill(follower);
    cluster.kill(other);
    // The directory of one follower is started at the address of the other: as that, and as itself.
    let place = &cluster.places[other];
    let options = async |peer_addr: &str| {
        let listener = cluster.places[follower].listen().await;
        let options = place.options(listener, Bootstrap::Existing, &cluster.settings).await;
        ConsensusOptions { peer_addr: peer_addr.to_owned(), ..options }
    };
    let as_another = options(&cluster.places[follower].peer_addr).await;
    let refused = Consensus::start(as_another, Replica::new()).await;
    assert!(matches!(refused, Err(StartError::OtherAddress { .. })));
    let misplaced = Consensus::start(options(&place.peer_addr).await, Replica::new()).await.unwrap();
    until("the wrong node is noticed", async || {
        misplaced.refusals_given().iter().any(|(_, refusal)| *refusal == Refusal::WrongNode).then_some(())
    })
    .await;
    drop(misplaced);
    cluster.restart(follower).await;
    cluster.restart(other).await;
    cluster.apply(record(2_000)).await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_incarnation_under_a_known_id_is_refused_by_everyone() {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let status = cluster.node(leader).consensus.status();
    let term = status.term;
    let id = cluster.kill(follower);
    // A forged directory: the same cluster and id, another life. Only a hand that edits identities can make one.
    let place = &cluster.places[follower];
    drop(place.options(place.listen().await, Bootstrap::Existing, &cluster.settings).await);
    let details = place.identity().details;
    place.wipe();
    place.forge(status.cluster_id, id, details);
    let forged = place.restart(&cluster.settings).await;
    until("the leader's words are refused", async || {
        forged
            .consensus
            .refusals_given()
            .iter()
            .any(|(_, refusal)| *refusal == Refusal::WrongIncarnation)
            .then_some(())
    })
    .await;
    until("its own words are refused", async || {
        refusals(&cluster).contains(&Refusal::ReplacedSender).then_some(()).or_else(|| {
            // An empty log has no membership to stand for election in, so it may never speak at all.
            forged.consensus.status().members.is_empty().then_some(())
        })
    })
    .await;
    cluster.apply(record(2_000)).await;
    assert_eq!(cluster.node(cluster.leader().await).consensus.status().term, term);
    assert_eq!(forged.replica.revision().0, 0);
}
