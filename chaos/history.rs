//! What the workload saw, one JSON document a line.
//!
//! What it promises: every operation that was acknowledged is in the file before the next one of its client begins.
//! Times are milliseconds on one monotonic clock of the workload.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// A granted slot as the answer showed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedSlot {
    /// The allocation.
    pub id: String,
    /// Where.
    pub task_manager: String,
    /// Which slot there.
    pub slot_index: u64,
    /// Its token.
    pub fencing_token: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Happening {
    /// The run, first line.
    Run {
        /// Name of the run; part of all its ids.
        run: String,
        /// Jobs of the run.
        jobs: Vec<String>,
    },
    /// An acknowledged grant.
    Granted {
        /// For which job.
        job: String,
        /// What.
        slots: Vec<GrantedSlot>,
    },
    /// An acknowledged release.
    Released {
        /// Of which job.
        job: String,
        /// What.
        id: String,
    },
    /// A definite refusal.
    Refused {
        /// Its code.
        code: String,
    },
    /// A linearizable read.
    Read {
        /// Of which job.
        job: String,
        /// What it showed.
        ids: Vec<String>,
    },
    /// The same request again under the same key.
    Replayed {
        /// Whether the answer was the first one.
        equal: bool,
    },
    /// An operation whose outcome stayed unknown to the end.
    Unknown {
        /// What it was.
        what: String,
    },
    /// Something that must never happen, seen while running.
    Violation {
        /// What.
        what: String,
    },
    /// The workload stopped a TaskManager of its own on purpose.
    TaskManagerStopped {
        /// Which.
        task_manager: String,
    },
}

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// When it was begun.
    pub began_ms: u64,
    /// When its answer was there.
    pub ended_ms: u64,
    /// How often it was sent.
    pub tries: u32,
    /// The revision that the answer carried.
    pub revision: Option<u64>,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// Writes a history.
pub struct Recorder {
    began: Instant,
    file: Mutex<File>,
}

impl Recorder {
    /// A new history at `path`.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self { began: Instant::now(), file: Mutex::new(File::create(path)?) })
    }

    /// Milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds a line that ended now.
    pub fn record(&self, began_ms: u64, tries: u32, revision: Option<u64>, what: Happening) {
        let line = Line { began_ms, ended_ms: self.now_ms(), tries, revision, what };
        let mut text = serde_json::to_string(&line).expect("a history line is plain data");
        text.push('\n');
        let mut file = self.file.lock().expect("no writer of the history panics while it holds the lock");
        file.write_all(text.as_bytes()).expect("the history can be written: without it the run is worthless");
    }
}

/// Reads a history; a torn last line is an error, because then the run did not end.
pub fn load(path: &Path) -> Result<Vec<Line>, String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| format!("line {}: {error}", index + 1))?;
        lines.push(serde_json::from_str(&line).map_err(|error| format!("line {}: {error}", index + 1))?);
    }
    Ok(lines)
}
