//! Disks that fill up under running servers: writes are refused with a code of their own, releases go on, and whoever has
//! room leads.
//!
//! Each server has a file system of its own in memory. That needs root; `SLOTKEEPER_WITHOUT_LOOP=1` accepts in writing
//! that this is not tried, as for the other tests with file systems.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::{Cluster, SETTLE};
use super::drill::must;
use super::http::{Answer, Call, Caller};
use super::program;

/// Less than the floor of these servers, 16 MiB, is left of 40 MiB with the ballast.
const DISK_SIZE: &str = "size=40m";
const BALLAST_BYTES: usize = 26 << 20;

/// A small file system; dropped, it is not mounted any more.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(point: PathBuf) -> Result<Self, String> {
        std::fs::create_dir_all(&point).unwrap();
        run("mount", &["-t", "tmpfs", "-o", DISK_SIZE, "tmpfs"], &point)?;
        Ok(Self(point))
    }

    fn fill(&self) {
        std::fs::write(self.ballast(), vec![0; BALLAST_BYTES]).unwrap();
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The servers are still there and hold files open.
        run("umount", &["-l"], &self.0).unwrap();
    }
}

fn run(program: &str, arguments: &[&str], last: &Path) -> Result<(), String> {
    let output = Command::new(program).args(arguments).arg(last).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn disks(cluster: &Cluster) -> Option<Vec<SmallDisk>> {
    let mounted: Result<Vec<_>, _> =
        (0..3).map(|number| SmallDisk::mount(cluster.future_data_dir(number))).collect();
    match mounted {
        Ok(disks) => Some(disks),
        Err(reason) if std::env::var("SLOTKEEPER_WITHOUT_LOOP").is_ok_and(|value| value == "1") => {
            println!("not tried: {reason}");
            None
        }
        Err(reason) => panic!(
            "this test needs root to mount small disks: {reason}; set SLOTKEEPER_WITHOUT_LOOP=1 to go without"
        ),
    }
}

/// Sends a write, without trying again by itself, until it is answered as it should be.
async fn until(cluster: &Cluster, path: &str, holds: impl Fn(&Answer) -> bool) -> Answer {
    let (deadline, body) = (Instant::now() + SETTLE, json!({}));
    let caller = Caller::new(&cluster.api_addrs(), 0);
    loop {
        let call = Call { method: "PUT", path, key: None, body: Some(&body) };
        let answer = caller.once(&cluster.servers[0].api_addr, &call).await;
        if let Some(answer) = answer.as_ref().filter(|answer| holds(answer)) {
            return answer.clone();
        }
        assert!(Instant::now() < deadline, "the last answer was {answer:?}\n{}", cluster.all_logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_disks_are_full_writes_are_refused_and_whoever_has_room_leads() {
    let mut cluster = Cluster::empty(program::path(), &[]);
    let Some(disks) = disks(&cluster) else { return };
    cluster.found(3).await;
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    for job in ["kept", "gone"] {
        must(&mut caller, ("PUT", &format!("/v1/jobs/{job}")), job, &json!({})).await;
    }
    disks.iter().for_each(SmallDisk::fill);
    let refused = until(&cluster, "/v1/jobs/more", |answer| answer.code() == "disk_full").await;
    assert_eq!((refused.status, &refused.body["retryable"]), (503, &json!(true)), "{}", refused.body);
    assert!(refused.body["retry_after_ms"].is_u64(), "{}", refused.body);
    must(&mut caller, ("DELETE", "/v1/jobs/gone"), "end", &Value::Null).await;
    let kept = caller.read("/v1/jobs/kept", SETTLE).await.unwrap();
    assert_eq!(kept.status, 200, "reads are served all the time: {}", kept.body);

    let roomy = (cluster.leader().await + 1) % 3;
    disks[roomy].empty();
    until(&cluster, "/v1/jobs/later", Answer::is_done).await;
    assert_eq!(cluster.leader().await, roomy, "{}", cluster.all_logs());

    disks.iter().enumerate().filter(|(number, _)| *number != roomy).for_each(|(_, disk)| disk.empty());
    cluster.terminate(roomy);
    must(&mut caller, ("PUT", "/v1/jobs/last"), "last", &json!({})).await;
}
