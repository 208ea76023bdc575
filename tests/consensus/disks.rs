//! A disk that fails ends its node's part in the cluster, and the others go on.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use slotkeeper::consensus::{ProposeError, Role, StopReason};
use slotkeeper::storage::{Disk, RealDisk};

use super::cluster::{Cluster, Settings, record, session, until, until_true};

/// A disk that refuses to sync from the moment it is told to.
#[derive(Debug, Clone, Default)]
pub struct FailingDisk {
    fails: Arc<AtomicBool>,
    /// It never takes a log, whatever else it takes.
    takes_no_log: bool,
}

impl FailingDisk {
    pub fn that_takes_no_log() -> Self {
        Self { takes_no_log: true, ..Self::default() }
    }
}

impl Disk for FailingDisk {
    fn write_at(&self, file: &File, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        RealDisk.write_at(file, path, offset, bytes)
    }

    fn sync_data(&self, file: &File, path: &Path) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) || self.takes_no_log && path.ends_with("log/db") {
            return Err(io::Error::other("injected"));
        }
        RealDisk.sync_data(file, path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_directory(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free_bytes(path)
    }
}

/// A cluster of three in which the disk of one place can fail.
async fn with_failing_disk_at(leads: bool) -> (Cluster, usize, FailingDisk) {
    let mut cluster = Cluster::of_three(Settings::default()).await;
    cluster.apply(session(1)).await;
    let place = if leads { cluster.leader().await } else { cluster.follower().await };
    let disk = FailingDisk::default();
    cluster.kill(place);
    let settings = Settings { disk: Arc::new(disk.clone()), ..Settings::default() };
    cluster.nodes[place] = Some(cluster.places[place].restart(&settings).await);
    cluster.apply(record(2_000)).await;
    cluster.agree().await;
    if leads {
        let id = cluster.node(place).id();
        while cluster.leader().await != place {
            let leader = cluster.leader().await;
            // It may need a moment to be heard; the loop asks again.
            let _ = cluster.node(leader).consensus.transfer_leadership(Some(id)).await;
        }
    }
    (cluster, place, disk)
}

async fn check_that_the_node_stops_and_the_others_go_on(leads: bool) {
    let (mut cluster, place, disk) = with_failing_disk_at(leads).await;
    let acknowledged = cluster.apply(record(3_000)).await.revision;
    disk.fails.store(true, Ordering::SeqCst);
    let failing = cluster.nodes[place].take().unwrap();
    // On a busy machine anybody may lead by now. A leader uses its disk only for what is proposed to it; its own words are
    // then lost, or the others may still decide them. Nobody begins to lead without a disk.
    until("it has used its disk, or does not lead", async || {
        match failing.consensus.propose(record(4_000)).await {
            Err(ProposeError::NoQuorum) => None,
            _ => Some(()),
        }
    })
    .await;
    cluster.apply(record(5_000)).await;
    let reason = failing.consensus.stopped().await;
    assert!(matches!(reason, StopReason::Storage(_)), "{reason}");
    until_true("it leads no more", || failing.consensus.status().role == Role::Stopped).await;
    assert!(failing.consensus.propose(record(6_000)).await.is_err());
    assert!(cluster.apply(record(7_000)).await.revision > acknowledged);
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_disk_fails_stops_and_the_others_go_on() {
    check_that_the_node_stops_and_the_others_go_on(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_fails_stops_and_the_others_go_on() {
    check_that_the_node_stops_and_the_others_go_on(true).await;
}
