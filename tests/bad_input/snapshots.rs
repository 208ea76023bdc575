//! Snapshots that arrive whole, in the name of the real leader, and can not be taken.
//!
//! What is asserted: each is refused to its sender by name, the node lives on with the state that it has, and follows as before.

use slotkeeper::codec;
use slotkeeper::consensus::Refusal;
use slotkeeper::replica::{Replica, STATE_FORMAT};

use crate::consensus_cluster::record;
use crate::lies::{Truth, snapshot, vote};
use crate::peers::listened_cluster;

/// How a refusal of such a snapshot is answered; see the golden bytes in `src/consensus/messages.rs`.
const UNSOUND: [u8; 2] = [7, 8];
/// How an answer begins that refuses with words only.
const FAILED: u8 = 8;

/// Bodies whose checksum will be right and that hold no state, or a wrong one.
fn unsound_bodies(sound: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let state = codec::open_bytes(STATE_FORMAT, sound).unwrap();
    let mut renamed = state.to_vec();
    // The hash comes first.
    renamed[0] ^= 1;
    let sealed = |state: &[u8]| codec::seal_bytes(STATE_FORMAT, state).to_vec();
    vec![
        ("that is no state", b"no state".to_vec()),
        ("that is empty", Vec::new()),
        ("that is cut", sealed(&state[..state.len() - 1])),
        ("of another state than it names", sealed(&renamed)),
        ("of a state from before", Replica::new().snapshot().encode().unwrap().to_vec()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_holds_no_sound_state_is_refused_and_the_node_lives_on() {
    let (cluster, transport) = listened_cluster(20).await;
    let leader = cluster.leader().await;
    let sound = cluster.node(leader).replica.snapshot().encode().unwrap();
    let before = cluster.node(leader).replica.state_hash();
    for follower in (0..3).filter(|place| *place != leader) {
        let truth = Truth::told(&cluster, &transport, follower).await;
        let (now, ahead) = (vote(truth.term, truth.leader, true), (truth.term, truth.last + 100));
        for (name, body) in unsound_bodies(&sound) {
            let body = (&body[..], crc32c::crc32c(&body));
            let answers = truth.say(&snapshot(&now, ahead, body.0.len() as u64, body)).await;
            assert_eq!(answers, [UNSOUND], "a snapshot {name}");
            assert_eq!(cluster.node(follower).replica.state_hash(), before, "a snapshot {name}");
        }
        let given = cluster.node(follower).consensus.refusals_given();
        assert_eq!(given, [(truth.leader, Refusal::UnsoundSnapshot)], "it is noted once");
    }
    assert_eq!(cluster.leader().await, leader);
    cluster.apply(record(9_000)).await;
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_contradicts_what_is_committed_is_refused_and_the_node_lives_on() {
    let (cluster, transport) = listened_cluster(0).await;
    let leader = cluster.leader().await;
    let sound = cluster.node(leader).replica.snapshot().encode().unwrap();
    let follower = cluster.follower().await;
    let truth = Truth::told(&cluster, &transport, follower).await;
    let (later, place) = (vote(truth.term + 5, truth.leader, true), (truth.term + 5, 1));
    let body = (&sound[..], crc32c::crc32c(&sound));
    let answers = truth.say(&snapshot(&later, place, sound.len() as u64, body)).await;
    assert_eq!(answers[0][0], FAILED, "{answers:?}");
    cluster.apply(record(9_000)).await;
    cluster.agree().await;
}
