//! Watching the room on the disk.
//!
//! What it promises: below the floor this node takes no new writes as a leader, and hands over to the other voters in
//! turn until one with room leads, while there is still room for what is under way; a person is told in time. What it
//! must not do: free space, or end the node; the log engine would not open again on a full disk. Tested with real disks
//! in `tests/drills/full_disk.rs`.

use std::time::Duration;

use crate::consensus::{Consensus, Status};
use crate::leader::Leader;
use crate::storage::{DataDir, Space, SpaceState};

/// How often the room is measured.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// Looks between two tries to hand over. With all disks full, leadership goes around once and then rests this long.
const LOOKS_BETWEEN_HAND_OVERS: u32 = 5;

/// Measures until it is dropped.
pub(super) async fn run(data_dir: DataDir, consensus: Consensus, leader: Leader) {
    let mut before = SpaceState::Ok;
    let mut looks_to_rest = 0;
    loop {
        tokio::time::sleep(MEASURE_INTERVAL).await;
        looks_to_rest = u32::saturating_sub(looks_to_rest, 1);
        let measuring = data_dir.clone();
        let measured = tokio::task::spawn_blocking(move || measuring.space()).await;
        let Ok(Ok(space)) = measured else {
            tracing::warn!("the free space of the data directory can not be measured");
            continue;
        };
        let now = space.state();
        leader.note_disk_full(now == SpaceState::Full);
        if now != before {
            tell(&space, now);
        }
        before = now;
        let status = consensus.status();
        if now == SpaceState::Full && status.is_leader() && looks_to_rest == 0 {
            looks_to_rest = LOOKS_BETWEEN_HAND_OVERS;
            hand_over(&consensus, &status).await;
        }
    }
}

fn tell(space: &Space, now: SpaceState) {
    let (free_bytes, floor_bytes) = (space.free_bytes, space.floor_bytes);
    match now {
        SpaceState::Ok => tracing::info!(free_bytes, "the disk has room again"),
        SpaceState::Low => tracing::warn!(free_bytes, floor_bytes, "the disk is getting full"),
        SpaceState::Full => {
            tracing::error!(free_bytes, floor_bytes, "the disk is full; this node takes no new writes");
        }
    }
}

/// Hands leadership to the next voter that takes it. Nobody knows who has room, so all have their turn.
async fn hand_over(consensus: &Consensus, status: &Status) {
    for next in turns(status.node_id, status.voters()) {
        match consensus.transfer_leadership(Some(next)).await {
            Ok(leader) => return tracing::info!(%leader, "leadership was handed over for want of disk space"),
            Err(error) => tracing::warn!(next, %error, "leadership could not be handed over"),
        }
    }
}

/// The other voters in the order of their ids, beginning after `own_id`.
fn turns(own_id: u64, voters: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut others: Vec<u64> = voters.filter(|id| *id != own_id).collect();
    others.sort_unstable();
    let after = others.partition_point(|id| *id < own_id);
    others.rotate_left(after);
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leadership_goes_around_so_that_every_voter_has_its_turn() {
        assert_eq!(turns(1, [3, 1, 2].into_iter()), [2, 3]);
        assert_eq!(turns(2, [3, 1, 2].into_iter()), [3, 1]);
        assert_eq!(turns(3, [3, 1, 2].into_iter()), [1, 2]);
        assert_eq!(turns(7, [1, 9].into_iter()), [9, 1]);
    }
}
