//! File systems in files, mounted through a loop device, for faults that need a file system of their own.
//!
//! Without root, loop devices and the tools of ext4 the tests fail, because a fault that is not tried is not survived;
//! `SLOTKEEPER_WITHOUT_LOOP=1` accepts that in writing. Shared by `tests/storage` and `tests/durability`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Runs a program; its words are the error.
pub fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let code = output.status.code().unwrap_or(-1);
    // Up to 3, the repair of a file system says that it has repaired it.
    if code == 0 || (program == "e2fsck" && code < 4) {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{program} {arguments:?} ended with {code}: {words}"))
}

/// Stops processes and waits until none of their threads runs, in the kernel neither: before that, a copy of their disk is
/// not of one moment. On a busy machine a thread may go on for some milliseconds after the signal.
pub fn freeze(processes: &[u32]) -> Result<(), String> {
    for process in processes {
        let id = Pid::from_raw(i32::try_from(*process).unwrap()).unwrap();
        kill_process(id, Signal::STOP).map_err(|error| format!("process {process}: {error}"))?;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    for process in processes {
        // Twice, because a thread may begin while the others are looked at.
        while !(is_frozen(*process) && is_frozen(*process)) {
            if Instant::now() > deadline {
                return Err(format!("process {process} does not stop"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn is_frozen(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return false };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name of the program stands in brackets before the state and may hold anything.
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    })
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A mounted image; dropped, it is not mounted any more.
pub struct Mounted {
    pub point: PathBuf,
}

impl Mounted {
    pub fn new(image: &Path, point: PathBuf) -> Result<Mounted, String> {
        fs::create_dir_all(&point).unwrap();
        run("mount", &["-o", "loop", text(image), text(&point)])?;
        Ok(Mounted { point })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if run("umount", &[text(&self.point)]).is_err() {
            // Somebody still holds a file open; the mount must go nevertheless.
            run("umount", &["-l", text(&self.point)]).unwrap();
        }
    }
}

/// Makes a file with an empty file system of this size.
pub fn make_image(image: &Path, bytes: u64) -> Result<(), String> {
    File::create(image).unwrap().set_len(bytes).unwrap();
    run("mkfs.ext4", &["-q", "-F", "-m", "0", text(image)])
}

/// Whether these tests cannot be made and that is accepted.
pub fn is_missing() -> bool {
    let room = tempfile::tempdir().unwrap();
    let image = room.path().join("disk.img");
    let tried = make_image(&image, 16 << 20)
        .and_then(|()| Mounted::new(&image, room.path().join("mounted")).map(drop));
    let accepted = std::env::var("SLOTKEEPER_WITHOUT_LOOP").is_ok_and(|value| value == "1");
    match tried {
        Ok(()) => false,
        Err(reason) if accepted => {
            println!("not tried: {reason}");
            true
        }
        Err(reason) => panic!(
            "this test needs root, loop devices and ext4 tools: {reason}; set SLOTKEEPER_WITHOUT_LOOP=1 to go without"
        ),
    }
}
