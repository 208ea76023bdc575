//! One operation of the history: what was asked, what was answered, and when. One JSON document a line.
//!
//! What it promises: times are nanoseconds on one monotonic clock; an operation without an end has an outcome that
//! nobody knows, and stays open for ever. What it must not do: guess.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A slot of one TaskManager of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// Which TaskManager of the part.
    pub task_manager: u16,
    /// Which slot of it.
    pub slot_index: u16,
}

/// A slot that a job holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Held {
    /// The allocation.
    pub id: Uuid,
    /// Where.
    pub place: Place,
    /// Its token.
    pub fencing_token: u64,
}

/// What was asked. Jobs and masters are numbers within the part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Action {
    /// Slots for a job; `all`: all of them or none.
    Allocate { job: u8, slots: u32, all: bool },
    /// Give back these slots of a job.
    Release { job: u8, ids: Vec<Uuid> },
    /// A linearizable read of what a job holds.
    ReadJob { job: u8 },
    /// Change the maximum of the part's queue.
    PutMaximum { maximum: u32 },
    /// A linearizable read of the part's queue.
    ReadQueue,
    /// Name the master of a job.
    PutMaster { job: u8, master: u32 },
    /// The heartbeat of a job's master.
    Renew { job: u8, master: u32 },
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Outcome {
    /// These slots were granted; none at all is possible for a request that takes less.
    Granted { slots: Vec<Held> },
    /// The job holds these.
    Shown { slots: Vec<Held> },
    /// The queue: its maximum and what its jobs hold.
    Queue { maximum: u32, used: u32 },
    /// The job: how many slots it holds.
    Job { slots: u32 },
    /// Done.
    Done,
    /// Definitely not done.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// One operation of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Which independent part of the state it is about.
    pub part: u16,
    /// Whose it was.
    pub client: u16,
    /// When it was first sent.
    pub began_ns: u64,
    /// When its answer was there; missing if its outcome is unknown.
    pub ended_ns: Option<u64>,
    /// How often it was sent.
    pub tries: u32,
    /// The revision that the answer named.
    pub revision: Option<u64>,
    /// Whether a fault was at work when it began or ended.
    pub in_fault: bool,
    /// What was asked.
    pub action: Action,
    /// What was answered.
    pub outcome: Outcome,
}

impl Operation {
    /// Whether the service answered.
    pub fn is_known(&self) -> bool {
        self.outcome != Outcome::Unknown
    }
}

/// What is fixed during a run, the first line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// How many parts.
    pub parts: u16,
    /// Jobs of each part.
    pub jobs: u8,
    /// Slots of each part.
    pub slots: u32,
    /// The maximum of each part's queue at the beginning.
    pub maximum: u32,
}

/// Writes a history.
pub struct HistoryWriter {
    began: Instant,
    file: Mutex<BufWriter<File>>,
}

impl HistoryWriter {
    /// A new history at `path`.
    pub fn create(path: &Path, setting: &Setting) -> std::io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer(&mut file, setting)?;
        file.write_all(b"\n")?;
        Ok(Self { began: Instant::now(), file: Mutex::new(file) })
    }

    /// The time on the clock of this history.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("a run is shorter than five hundred years")
    }

    /// Adds one operation.
    pub fn record(&self, operation: &Operation) {
        let mut line = serde_json::to_vec(operation).expect("an operation is plain data");
        line.push(b'\n');
        let mut file = self.file.lock().expect("no writer of the history panics while it holds the lock");
        file.write_all(&line).expect("the history can be written: without it the run is worthless");
    }

    /// Brings all lines to the file.
    pub fn flush(&self) -> std::io::Result<()> {
        self.file.lock().expect("no writer of the history panics while it holds the lock").flush()
    }
}

/// Reads a history. A torn line is an error, because then the run did not end.
pub fn load(path: &Path) -> Result<(Setting, Vec<Operation>), String> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut lines = BufReader::new(file).lines().enumerate().map(|(index, line)| {
        line.map_err(|error| error.to_string()).map_err(|error| format!("line {}: {error}", index + 1))
    });
    let first = lines.next().ok_or("the history is empty")??;
    let setting = serde_json::from_str(&first).map_err(|error| format!("line 1: {error}"))?;
    let mut operations = Vec::new();
    for line in lines {
        let line = line?;
        operations
            .push(serde_json::from_str(&line).map_err(|error| format!("line `{line}` is torn: {error}"))?);
    }
    Ok((setting, operations))
}
