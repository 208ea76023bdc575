//! The power fails for all three servers at once, under load: they go on with what had reached the disk, and nothing that
//! was acknowledged is lost.
//!
//! The servers share a disk of their own. All are stopped, the disk is copied without what only the page cache knows,
//! they are killed, and the copy takes the disk's place. `tests/storage/power_cut.rs` proves that such a copy is one.

use super::cluster::SETTLE;
use super::drill::Drill;
use super::loop_device;
use super::small_disk::SmallDisk;

const CUTS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_power_fails_for_all_at_once() {
    if loop_device::is_missing() {
        return;
    }
    let (mut drill, mut disk) = Drill::begin_prepared(&["--snapshot-interval", "300"], None, |cluster| {
        SmallDisk::under(&[0, 1, 2].map(|number| cluster.future_data_dir(number)))
    })
    .await;
    for _ in 0..CUTS {
        loop_device::freeze(&[0, 1, 2].map(|number| drill.cluster.pid(number))).unwrap();
        disk.copy_what_is_durable();
        for number in 0..3 {
            drill.cluster.kill(number);
        }
        disk = disk.go_on_with_the_copy();
        for number in 0..3 {
            drill.cluster.start_server(number);
        }
        drill.cluster.wait_until_ready(SETTLE).await;
        drill.wait_for_acknowledgements(100).await;
    }
    let cluster = drill.end().await;
    drop(disk);
    drop(cluster);
}
