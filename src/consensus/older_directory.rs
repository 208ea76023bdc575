//! A node whose data directory is older than what the node has acknowledged: a restored disk, a snapshot of a machine.
//!
//! Such a directory is whole, so no check of its own can find it, and a majority with a voter that has forgotten may forget too.
//! But the leader to whom it acknowledged knows better, for as long as it leads.
//!
//! What it promises: when a heartbeat names an entry that is not in the log, the leader is asked, at the address that the
//! membership has for it, what it got from this node; only if this node's log does not reach that far does the node end, for ever:
//! the directory remembers it. What it must not do: believe the heartbeat alone. Tested in
//! `tests/consensus/older_directory.rs`, and against lies in `tests/bad_input/peers.rs`.

use std::sync::Arc;

use openraft::RaftState;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

use super::errors::StopReason;
use super::local_node::LocalNode;
use super::messages::{Reply, Request};
use super::peers::{Peers, Target};
use super::start::{Stop, end};
use super::types::{Raft, TypeConfig};
use crate::background;

/// Looks into each of the `suspicions`, which name who has sent such a heartbeat, until this node ends.
pub(super) async fn watch(
    mut suspicions: watch::Receiver<Option<u64>>,
    (raft, peers): (Raft, Peers),
    local: Arc<LocalNode>,
    stop: Stop,
) {
    while suspicions.changed().await.is_ok() {
        let leader = *suspicions.borrow_and_update();
        let Some(leader) = leader else { continue };
        if let Some(reason) = lost_entries(&raft, &peers, leader).await {
            return match background::run(move || local.note_outdated()).await {
                Ok(Err(error)) => end(&stop, StopReason::Storage(error)),
                Ok(Ok(())) | Err(_) => end(&stop, reason),
            };
        }
    }
}

/// The reason to end, if this node has acknowledged more to `leader` in the term that it is in than its log has.
async fn lost_entries(raft: &Raft, peers: &Peers, leader: u64) -> Option<StopReason> {
    let address = raft.metrics().borrow_watched().membership_config.membership().get_node(&leader).cloned();
    let target = Target { node_id: leader, address: address? };
    let answered = peers.call(&target, &Request::Acknowledged, peers.timing().answer_timeout()).await;
    let Ok(Reply::Acknowledged(Some(acknowledged))) = answered else { return None };
    // Asked after the leader has answered: whatever it knew of was in the log before.
    let place = |state: &RaftState<TypeConfig>| {
        (state.vote_ref().leader_id.term, state.log_ids.last().map(|last| last.index))
    };
    let (term, last) = raft.with_raft_state(place).await.ok()?;
    let is_short = last.is_none_or(|last| last < acknowledged.log_id.index);
    (term == acknowledged.term && is_short).then_some(StopReason::Outdated {
        last_index: last.unwrap_or_default(),
        acknowledged_index: acknowledged.log_id.index,
    })
}
