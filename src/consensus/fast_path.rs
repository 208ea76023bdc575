//! Standing for election as soon as the leader's process has died, instead of waiting for a random time.
//!
//! What it promises: when the last stream from the current leader ends, this node asks for a pre-vote every few
//! milliseconds until the leader or the term changes, the leader is back, or the ordinary timers are due anyway; the
//! lowest id begins, the others follow at a distance, so that two followers do not split the vote. It can not disturb
//! a living leader: a pre-vote is refused, here and elsewhere, while any lease is valid. What it must not do: start
//! an election without a pre-vote. Tested in `tests/consensus/failover.rs`.

use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep};

use super::contacts::Contacts;
use super::timing::Timing;
use super::types::{Metrics, Raft};

/// Between two pre-votes.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// Between the first pre-votes of two followers that are next to each other.
const RANK_DISTANCE: Duration = Duration::from_millis(30);

/// Watches over the leader until the engine ends.
pub(super) async fn run(raft: Raft, contacts: Contacts, timing: Timing) {
    let mut losses = contacts.losses();
    loop {
        match losses.recv().await {
            Ok(lost) => stand_for(&raft, &contacts, (lost, &timing)).await,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Asks for pre-votes in the place of the leader `lost`, if it is the leader.
async fn stand_for(raft: &Raft, contacts: &Contacts, (lost, timing): (u64, &Timing)) {
    let Some((term, rank)) = orphaned(raft, lost) else { return };
    tracing::info!(leader = lost, term, rank, "the streams from the leader have ended");
    sleep(RANK_DISTANCE * rank).await;
    let give_up = Instant::now() + Duration::from_millis(timing.election_max_ms.saturating_mul(4));
    while Instant::now() < give_up && !contacts.has(lost) {
        let still_orphaned = orphaned(raft, lost).is_some_and(|(now, _)| now == term);
        if !still_orphaned || raft.trigger().elect(true).await.is_err() {
            return;
        }
        sleep(ASK_EVERY).await;
    }
}

/// The term and this node's place among the followers, if this node follows `lost` and may stand.
fn orphaned(raft: &Raft, lost: u64) -> Option<(u64, u32)> {
    let metrics: Metrics = raft.metrics().borrow_watched().clone();
    let voters = || metrics.membership_config.membership().voter_ids();
    let follows = metrics.current_leader == Some(lost) && metrics.state == ServerState::Follower;
    if !follows || !voters().any(|voter| voter == metrics.id) {
        return None;
    }
    let before = voters().filter(|voter| *voter != lost && *voter < metrics.id).count();
    Some((metrics.current_term, u32::try_from(before).unwrap_or(u32::MAX)))
}
