//! The log store: entries, vote and committed hint, durable when the callback says so.
//!
//! A [`LogStore`] is a handle on a mirror in memory, a writer thread and a watchdog thread. Reads are answered from
//! the mirror; writes change the mirror at once and are acknowledged through their [`Done`], in order, after the
//! engine and the tip record are synced. After the first error every later request is answered with it. The store
//! knows neither what entries mean nor who leads. Tested in `tests/storage/`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::engine::{Engine, EngineOptions, Values};
use super::image::Image;
use super::ledger::Ledger;
use super::mirror::{Mirror, MirrorStart};
use super::queue::{Queue, Request};
use super::record::StoredEntry;
use super::tip::{TipFile, TipHome, TipOwner};
use super::writer::Writer;
use super::{Damage, DataDir, LogStatistics, StorageError, recovery, watchdog};

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place; the next entry has the next one.
    pub index: u64,
    /// The term under which it was made.
    pub term: u64,
    /// The caller's bytes.
    pub payload: Bytes,
}

/// Where the log begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBounds {
    /// Index, term and the caller's bytes of the last purged entry.
    pub purged: Option<(u64, u64, Bytes)>,
    /// Index and term of the last entry, or of the last purged one if none follows it.
    pub last: Option<(u64, u64)>,
}

/// Called once, from the writer's thread, when a request is durable or has failed. It must not block.
pub type Done = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// How a log store works.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Memory for the engine's pages.
    pub cache_bytes: u64,
    /// A sync that takes longer is fatal.
    pub sync_limit: Duration,
    /// Opening that takes longer is a quarantine.
    pub open_limit: Duration,
    /// Most keys that are removed after a purge between two syncs.
    pub removals_per_step: usize,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            // Reads are answered from the mirror; the engine needs only the pages that it writes.
            cache_bytes: 16 << 20,
            sync_limit: Duration::from_secs(10),
            open_limit: Duration::from_secs(120),
            removals_per_step: 64,
        }
    }
}

/// A handle on the open log; clones share it.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Keeps the lock for as long as the log is open.
    _directory: DataDir,
}

impl LogStore {
    /// Opens the log of a directory that has an identity, and checks that it holds what was acknowledged.
    ///
    /// # Errors
    /// [`StorageError::Quarantine`] names what is missing or damaged, [`StorageError::Io`], [`StorageError::Engine`].
    pub fn open(directory: &DataDir, options: LogOptions) -> Result<LogStore, StorageError> {
        let identity = directory
            .identity()
            .ok_or_else(|| StorageError::refused("a log needs a directory with an identity"))?;
        let mut tip = TipFile::open(TipHome {
            directory: directory.path().to_owned(),
            disk: directory.disk(),
            owner: TipOwner::of(&identity),
            identity_revision: directory.identity_revision(),
        })?;
        refuse_missing_engine(&directory.log_directory(), &tip)?;
        let (engine, values) = Engine::open(EngineOptions {
            directory: directory.log_directory(),
            disk: directory.disk(),
            cache_bytes: options.cache_bytes,
            open_limit: options.open_limit,
        })?;
        let image = match accept(values, &mut tip) {
            Ok(image) => image,
            Err(error) => {
                engine.close();
                return Err(error);
            }
        };
        let ledger = Ledger::new(&image, tip.counter());
        let queue = Arc::new(Queue::new(mirror_of(image)));
        let removals_per_step = options.removals_per_step.max(1);
        let writer = Writer { queue: Arc::clone(&queue), engine, tip, ledger, removals_per_step };
        let threads = start_threads(writer, options.sync_limit, directory.path())?;
        let shared = Shared { queue, threads: Mutex::new(threads), _directory: directory.clone() };
        Ok(LogStore { shared: Arc::new(shared) })
    }

    /// Where the log begins and ends, appends included that are not durable yet.
    pub fn bounds(&self) -> LogBounds {
        self.shared.queue.read(Mirror::bounds)
    }

    /// The vote that was saved last.
    pub fn vote(&self) -> Option<Bytes> {
        self.shared.queue.read(Mirror::vote)
    }

    /// The committed hint that was saved last; after a restart the last one that became durable.
    pub fn committed(&self) -> Option<Bytes> {
        self.shared.queue.read(Mirror::committed)
    }

    /// The entries of `from..until` that are there, from memory. With a limit, the answer ends when its payloads
    /// exceed the limit, but is never empty if there is an entry in the range.
    ///
    /// # Errors
    /// [`StorageError::Refused`] for a reversed range; the fatal error if there was one.
    pub fn entries(
        &self,
        from: u64,
        until: u64,
        limit_bytes: Option<usize>,
    ) -> Result<Vec<LogEntry>, StorageError> {
        self.shared.queue.read_checked(|mirror| mirror.entries(from, until, limit_bytes))
    }

    /// Appends entries that follow the last one. They are readable when this returns and durable when `done` is
    /// called with `Ok`.
    pub fn append(&self, entries: Vec<LogEntry>, done: Done) {
        self.shared.queue.submit(done, |mirror| {
            mirror.append(&entries)?;
            Ok(Request::Append(entries))
        });
    }

    /// Saves a vote, in order with the appends around it.
    pub fn save_vote(&self, vote: Bytes, done: Done) {
        self.shared.queue.submit(done, |mirror| {
            mirror.set_vote(vote.clone());
            Ok(Request::Vote(vote))
        });
    }

    /// Remembers a hint about what is committed; it becomes durable with the next write.
    pub fn save_committed(&self, committed: Bytes) {
        self.shared.queue.set_committed(committed);
    }

    /// Drops the entries after `kept`, or all entries that are not purged.
    pub fn truncate_after(&self, kept: Option<u64>, done: Done) {
        self.shared.queue.submit(done, |mirror| {
            mirror.truncate_after(kept)?;
            Ok(Request::Truncate(kept))
        });
    }

    /// Drops the entries up to and with `index`, which has this term; the log may end before it. `opaque` is given
    /// back by [`LogStore::bounds`].
    pub fn purge_through(&self, index: u64, term: u64, opaque: Bytes, done: Done) {
        self.shared.queue.submit(done, |mirror| {
            if mirror.purge_through(index, term, &opaque)? {
                Ok(Request::Purge { index, term, opaque })
            } else {
                Ok(Request::Barrier)
            }
        });
    }

    /// Calls `done` when everything submitted before is durable.
    pub fn barrier(&self, done: Done) {
        self.shared.queue.submit(done, |_| Ok(Request::Barrier));
    }

    /// Yields the first fatal error, once there is one; the process must then end.
    pub fn fatal(&self) -> watch::Receiver<Option<StorageError>> {
        self.shared.queue.fatal()
    }

    /// Figures since the log was opened.
    pub fn statistics(&self) -> LogStatistics {
        self.shared.queue.statistics()
    }

    /// Finishes what was submitted, closes the engine and ends the threads. Other handles answer
    /// [`StorageError::Closed`] from now on; the directory stays locked until the last of them is dropped. Blocks.
    pub fn shutdown(self) {
        self.shared.close();
    }
}

impl Shared {
    fn close(&self) {
        self.queue.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A callback may drop the last handle on the writer's own thread, which cannot wait for itself; a thread
            // that panicked has latched its error.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

/// Checks what the engine holds against the tip record, and takes what goes beyond it into the record.
fn accept(values: Values, tip: &mut TipFile) -> Result<Image, StorageError> {
    let image = Image::read(values)?;
    recovery::compare(&image, tip)?;
    tip.write(recovery::tip_state_of(&image))?;
    Ok(image)
}

/// Opening a log that is gone would create an empty one over the evidence.
fn refuse_missing_engine(log_directory: &Path, tip: &TipFile) -> Result<(), StorageError> {
    let file = log_directory.join("db");
    let is_there = file.metadata().is_ok_and(|metadata| metadata.len() > 0);
    if tip.state().sequence > 0 && !is_there {
        let detail = format!("{} is missing or empty", file.display());
        return Err(StorageError::quarantine(Damage::LogMissing, detail));
    }
    Ok(())
}

fn mirror_of(image: Image) -> Mirror {
    Mirror::new(MirrorStart {
        purged: image.purged.map(|mark| (mark.index, mark.term, mark.opaque)),
        entries: image.entries.into_iter().map(StoredEntry::into_log_entry).collect(),
        vote: image.vote.map(|record| record.vote),
        committed: image.committed,
    })
}

fn start_threads(
    writer: Writer,
    sync_limit: Duration,
    path: &Path,
) -> Result<Vec<JoinHandle<()>>, StorageError> {
    let queue = Arc::clone(&writer.queue);
    let failed = |error: std::io::Error| StorageError::io("start a thread for", path, &error);
    let writing =
        thread::Builder::new().name("log-writer".to_owned()).spawn(move || writer.run()).map_err(failed)?;
    let watching = thread::Builder::new()
        .name("log-watchdog".to_owned())
        .spawn(move || watchdog::watch(&queue, sync_limit))
        .map_err(failed)?;
    Ok(vec![writing, watching])
}
