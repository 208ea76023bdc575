//! A first member that has no log asks whether it still is a member.
//!
//! A member with entries learns that it was removed when it stands for election. One that never got an entry knows of nobody to
//! ask for a vote, and nobody asks it anything any more; but it has written down with whom the cluster was founded.
//!
//! What it promises: it asks them until it has an entry or learns that it was removed, which `peers.rs` remembers. What it
//! must not do: run on a node that joins; it is no member yet, and would be taken for one that was removed. Tested in
//! `tests/consensus/bootstrap.rs`.

use std::time::Duration;

use futures::future::join_all;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::VoteRequest;
use tokio::time::sleep;

use super::local_node::{JoinPhase, Standing};
use super::messages::Request;
use super::peers::{Peers, Target};
use super::types::{Raft, Vote};

/// Between two rounds of questions; long enough for a cluster that is being founded.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// Asks until the log of this node begins. Ends at once for who does not wait for the entries of a cluster that it founds.
pub(super) async fn ask_whether_it_was_removed(raft: Raft, peers: Peers, standing: Standing) {
    if standing.phase != JoinPhase::Founding {
        return;
    }
    let others = standing.members.into_iter().filter(|(node_id, _)| *node_id != standing.node_id);
    let others: Vec<Target> = others.map(|(node_id, address)| Target { node_id, address }).collect();
    // Nobody gives a vote for it, and asking for one changes nothing; but who knows that the sender was removed says so.
    let question = Request::PreVote(VoteRequest::new(Vote::new(0, standing.node_id), None));
    loop {
        sleep(ASK_EVERY).await;
        if raft.metrics().borrow_watched().last_log_index.is_some() {
            return;
        }
        let within = peers.timing().answer_timeout();
        join_all(others.iter().map(|other| peers.call(other, &question, within))).await;
    }
}
