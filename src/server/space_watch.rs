//! Watching the room on the disk.
//!
//! What it promises: below the floor this node takes no new writes as a leader, and tries to let another one lead, while
//! there is still room for what is under way; a person is told in time. What it must not do: free space, or end the
//! node; the log engine would not open again on a full disk.

use std::time::Duration;

use crate::consensus::Consensus;
use crate::leader::Leader;
use crate::storage::{DataDir, SpaceState};

/// How often the room is measured.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

/// Measures until it is dropped.
pub(super) async fn run(data_dir: DataDir, consensus: Consensus, leader: Leader) {
    let mut before = SpaceState::Ok;
    loop {
        tokio::time::sleep(MEASURE_INTERVAL).await;
        let measuring = data_dir.clone();
        let measured = tokio::task::spawn_blocking(move || measuring.space()).await;
        let Ok(Ok(space)) = measured else {
            tracing::warn!("the free space of the data directory can not be measured");
            continue;
        };
        let now = space.state();
        leader.refuse_writes(now == SpaceState::Full);
        if now != before {
            let (free_bytes, floor_bytes) = (space.free_bytes, space.floor_bytes);
            match now {
                SpaceState::Ok => tracing::info!(free_bytes, "the disk has room again"),
                SpaceState::Low => tracing::warn!(free_bytes, floor_bytes, "the disk is getting full"),
                SpaceState::Full => {
                    tracing::error!(free_bytes, floor_bytes, "the disk is full; this node takes no writes");
                }
            }
        }
        before = now;
        if now == SpaceState::Full && consensus.status().is_leader() {
            // Where all disks are full nobody takes over, and the next look tries again.
            if let Err(error) = consensus.transfer_leadership(None).await {
                tracing::warn!(%error, "leadership could not be handed to a node with room on its disk");
            }
        }
    }
}
