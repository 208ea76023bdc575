//! What every server process of a run keeps, whatever was done to it: it ends as `docs/operations.md` says, it does not
//! panic, and what it takes of the machine stays within bounds.
//!
//! What it promises: it looks at every process that the cluster started, also at those that have ended. What it must not
//! do: wait, or change anything. Shared by the test programs that use `drill.rs`.

use std::path::{Path, PathBuf};

use crate::cluster::Cluster;

const OPERATIONS: &str = include_str!("../../docs/operations.md");
/// The one documented status that is a fault of the program.
const BROKEN: i32 = 70;
/// The most memory that a server ever held.
const MEMORY_MAX_KIB: u64 = 512 << 10;
/// Connections of a drill's clients and peers, files of the log, and much room.
const DESCRIPTORS_MAX: usize = 2_000;
/// Ten times what a drill has alive, which is a few hundred KiB, and 64 MiB.
const DATA_MAX_BYTES: u64 = 70 << 20;

/// Everything that a process of this cluster did and must not do.
pub fn violations(cluster: &mut Cluster) -> Vec<String> {
    let mut found = Vec::new();
    for number in cluster.running() {
        if cluster.has_ended(number) {
            found.push(format!("server {number} ended by itself"));
        } else {
            found.extend(excess(cluster.pid(number)).map(|what| format!("server {number}: {what}")));
        }
    }
    let documented = documented_statuses();
    for ending in &cluster.endings {
        let is_fine = ending.is_kill() || ending.status.code().is_some_and(|code| documented.contains(&code));
        if !is_fine {
            found.push(format!("server {} ended with {}", ending.number, ending.status));
        }
    }
    for number in 0..cluster.servers.len() {
        found.extend(panic_in(&cluster.log(number)).map(|line| format!("server {number}: {line}")));
    }
    for directory in data_directories(cluster.folder()) {
        let bytes = bytes_below(&directory);
        if bytes > DATA_MAX_BYTES {
            found.push(format!("{}: {bytes} bytes of data, at most {DATA_MAX_BYTES}", directory.display()));
        }
    }
    found
}

/// The data directories below the folder of a cluster: those of its servers, and those of servers that took the place of one.
fn data_directories(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_one = |file: &std::fs::DirEntry| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        file.path().is_dir() && (name.starts_with("data-") || name.starts_with("new-data-"))
    };
    files.filter(is_one).map(|file| file.path()).collect()
}

/// The statuses of the table of `docs/operations.md` with which a sound program ends.
fn documented_statuses() -> Vec<i32> {
    let rows = OPERATIONS.lines().skip_while(|line| !line.starts_with("| Exit status |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let statuses = rows.map(|row| row.split('|').nth(1).unwrap_or_default().trim().parse());
    let statuses: Vec<i32> = statuses.map(|status| status.expect("a row begins with a status")).collect();
    assert!(statuses.contains(&BROKEN), "the table of exit statuses is gone");
    statuses.into_iter().filter(|status| *status != BROKEN).collect()
}

/// The first panic of a log. The engine may panic while a process ends for another reason, which the log says too.
fn panic_in(log: &str) -> Option<&str> {
    let panicked = || log.lines().filter(|line| line.contains("panicked at"));
    let ending = log.matches("a panic while the process ends").count();
    let told = log.lines().find(|line| {
        line.contains("a panic: the process ends") || line.contains("a panic in the handling of a request")
    });
    told.or_else(|| panicked().nth(ending))
}

fn excess(pid: u32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let peak_kib: u64 = peak.trim().strip_suffix(" kB")?.parse().ok()?;
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    let is_within = peak_kib <= MEMORY_MAX_KIB && descriptors <= DESCRIPTORS_MAX;
    (!is_within).then(|| format!("{peak_kib} KiB at its peak, {descriptors} descriptors"))
}

/// Sizes of all files below a folder; files come and go meanwhile.
pub fn bytes_below(folder: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(folder) else { return 0 };
    let size = |file: std::fs::DirEntry| match file.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&file.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    files.flatten().map(size).sum()
}

#[test]
fn a_panic_counts_unless_the_process_was_ending() {
    let ending = "thread 'a' panicked at b\na panic while the process ends place=b";
    assert_eq!(panic_in(ending), None);
    assert!(panic_in(&format!("{ending}\nthread 'c' panicked at d")).is_some());
    assert!(panic_in("ERROR a panic in the handling of a request; please report it").is_some());
    assert_eq!(documented_statuses(), [0, 2, 3, 74, 75, 76, 77]);
}

#[test]
fn the_data_of_every_server_is_measured_also_of_one_that_took_the_place_of_another() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["data-0", "new-data-3", "hooks"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("data-of-a-run.json"), "{}").unwrap();
    let mut measured = data_directories(folder.path());
    measured.sort();
    assert_eq!(measured, [folder.path().join("data-0"), folder.path().join("new-data-3")]);
}
