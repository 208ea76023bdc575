//! Disks that fill up under running servers: writes are refused with a code of their own, releases go on, whoever has room
//! leads, and a server that ran into the end of its disk comes back by the steps of "The disk is full".
//!
//! Each server has a file system of its own in memory. That needs root; `SLOTKEEPER_WITHOUT_LOOP=1` accepts in writing
//! that this is not tried, as for the other tests with file systems.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slotkeeper::server::exit;

use super::cluster::{Cluster, SETTLE};
use super::drill::must;
use super::http::{Answer, Call, Caller};
use super::runbook::{Hands, steps_after};

/// Less than the floor of these servers, 16 MiB, is left of 40 MiB with the ballast.
const DISK_SIZE: &str = "size=40m";
const BALLAST_BYTES: usize = 26 << 20;
const DISK_PAGES_MAX: usize = (40 << 20) / 4096;

/// A small file system; dropped, it is not mounted any more.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it at `point`, with the data directory of a server on it, beside whatever else is there.
    fn mount(point: PathBuf, data_dir: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(&point).unwrap();
        run("mount", &["-t", "tmpfs", "-o", DISK_SIZE, "tmpfs"], &point)?;
        std::fs::create_dir(point.join("data")).unwrap();
        std::os::unix::fs::symlink(point.join("data"), data_dir).unwrap();
        Ok(Self(point))
    }

    fn fill(&self) {
        std::fs::write(self.ballast(), vec![0; BALLAST_BYTES]).unwrap();
    }

    /// Leaves nothing at all, in a directory that somebody has kept.
    fn fill_up(&self) -> PathBuf {
        let kept = self.0.join("kept");
        std::fs::create_dir(&kept).unwrap();
        let mut file = std::fs::File::create(kept.join("file")).unwrap();
        let refused = std::iter::repeat_n([0; 4096], DISK_PAGES_MAX)
            .find_map(|page| std::io::Write::write_all(&mut file, &page).err());
        assert_eq!(refused.map(|error| error.kind()), Some(std::io::ErrorKind::StorageFull));
        kept
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
    let mount = |number| {
        let point = cluster.folder().join(format!("disk-{number}"));
        SmallDisk::mount(point, &cluster.future_data_dir(number))
    };
    let mounted: Result<Vec<_>, _> = (0..3).map(mount).collect();
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
    let mut cluster = Cluster::empty(Path::new(env!("CARGO_BIN_EXE_slotkeeper")), &[]);
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

/// Writes until one server has ended; gives its exit status.
async fn write_until_ended(cluster: &mut Cluster, victim: usize) -> Option<i32> {
    let others: Vec<String> =
        (0..3).filter(|number| *number != victim).map(|n| cluster.addresses(n).0).collect();
    let mut caller = Caller::new(&others, 0);
    let deadline = Instant::now() + SETTLE;
    for number in 0.. {
        if cluster.has_ended(victim) {
            break;
        }
        assert!(Instant::now() < deadline, "it goes on without a disk\n{}", cluster.all_logs());
        let path = format!("/v1/jobs/job-{}", number % 100);
        must(&mut caller, ("PUT", &path), &format!("fill-{number}"), &json!({"priority": number})).await;
    }
    cluster.wait_exit(victim)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ran_into_the_end_of_its_disk_comes_back_by_the_steps_of_the_runbook() {
    let mut cluster = Cluster::empty(Path::new(env!("CARGO_BIN_EXE_slotkeeper")), &[]);
    let Some(disks) = disks(&cluster) else { return };
    cluster.found(3).await;
    let victim = (cluster.leader().await + 1) % 3;
    let kept = disks[victim].fill_up();
    let status = write_until_ended(&mut cluster, victim).await;
    assert_eq!(status, Some(i32::from(exit::STORAGE)), "{}", cluster.log_tail(victim));

    let steps = steps_after(status);
    let [free, used, make_room, start, look] = &steps[..] else {
        panic!("the runbook has other steps: {steps:?}")
    };
    let (api_addr, peer_addr) = cluster.addresses(victim);
    let mut hands = Hands::new(&cluster.api_addrs());
    hands.fill("DATA_DIR", cluster.data_dir(victim).display());
    hands.fill("KEPT_DIR", kept.display());
    hands.fill("HOST:7400", api_addr);
    hands.fill("HOST:7401", peer_addr);
    assert!(hands.run(free).contains("100%"), "`{free}` does not show that the disk is full");
    assert!(hands.run(used).contains(&kept.display().to_string()), "`{used}` does not show what is kept");
    let log = cluster.folder().join(format!("server-{victim}.log"));
    cluster.adopt(victim, hands.start(start, &log));
    assert_eq!(
        cluster.wait_exit(victim),
        status,
        "without room it must not start\n{}",
        cluster.log_tail(victim)
    );
    hands.run(make_room);
    cluster.adopt(victim, hands.start(start, &log));
    cluster.wait_until_ready(SETTLE).await;
    hands.run(look);
}
