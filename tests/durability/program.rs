//! Single runs of the program `slotkeeper`, for what it says and the status that it ends with.
//!
//! What it promises: every run ends within a deadline, also when the program would go on for ever. What it must not do:
//! be used for clusters under load (`tests/support/drill.rs` does that).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const END_MAX: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` after a signal.
    pub status: Option<i32>,
    /// Everything that it wrote.
    pub said: String,
}

/// The program under test.
pub fn path() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_slotkeeper"))
}

/// Runs `slotkeeper` with these arguments until it ends by itself.
pub fn run(folder: &Path, arguments: &[&str]) -> Ended {
    let output = folder.join("said");
    let file = std::fs::File::create(&output).unwrap();
    let mut child = Command::new(path())
        .args(arguments)
        .env("SLOTKEEPER_FREE_SPACE_FLOOR", "16MiB")
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + END_MAX;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("`slotkeeper {}` does not end:\n{}", arguments.join(" "), said(&output));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ended { status: status.code(), said: said(&output) }
}

fn said(output: &PathBuf) -> String {
    std::fs::read_to_string(output).unwrap_or_default()
}
