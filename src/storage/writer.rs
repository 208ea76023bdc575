//! The one thread that writes to the log engine.
//!
//! It takes everything that is queued and does it in order in as few steps as it can. A step is: write the values,
//! sync the engine, write and sync the tip record, answer the callers. All appends of a step that follow each other
//! share records. A truncation is a step of its own, because only then can recovery tell a log that was cut on
//! purpose from one that lost its end. After a step at most a few keys are removed that a purge left over. The first
//! error ends the thread. Tested in `tests/storage/durability.rs` and `model.rs`.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use bytes::Bytes;

use super::engine::{Engine, panic_text};
use super::ledger::{Ledger, Truncation};
use super::queue::{Queue, Queued, Request, Work};
use super::record::{self, Key, LogRecord, RecordContent};
use super::tip::TipFile;
use super::{Damage, Done, LogEntry, StorageError, format};
use crate::codec;

/// What the writer owns.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    pub(super) engine: Engine,
    pub(super) tip: TipFile,
    pub(super) ledger: Ledger,
    /// Most keys removed between two steps.
    pub(super) removals_per_step: usize,
}

impl Writer {
    /// Works until the store is closed or fails.
    pub(super) fn run(mut self) {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| self.work()));
        let error = match outcome {
            Ok(Ok(())) => return self.engine.close(),
            Ok(Err(error)) => error,
            Err(panic) => StorageError::Engine {
                reason: format!("the writer panicked: {}", panic_text(panic.as_ref())),
            },
        };
        tracing::error!(%error, "the log has failed, nothing is acknowledged any more");
        self.queue.fail(error, Vec::new());
        self.engine.abandon();
    }

    fn work(&mut self) -> Result<(), StorageError> {
        while let Some(work) = self.queue.take(self.ledger.has_removable()) {
            let Work { mut queued, committed } = work;
            if let Some(committed) = committed {
                self.ledger.note_committed(committed);
            }
            while let Some(next) = queued.pop_front() {
                let mut step = vec![next];
                if !step[0].stands_alone() {
                    while let Some(next) = queued.pop_front_if(|next| !next.stands_alone()) {
                        step.push(next);
                    }
                }
                if let Err(error) = self.step(step) {
                    let rest = queued.into_iter().map(|queued| queued.done).collect();
                    self.queue.fail(error.clone(), rest);
                    return Err(error);
                }
            }
            self.remove_some()?;
            self.queue.rest();
        }
        Ok(())
    }

    fn step(&mut self, step: Vec<Queued>) -> Result<(), StorageError> {
        let (requests, callbacks): (Vec<Request>, Vec<Done>) =
            step.into_iter().map(|queued| (queued.request, queued.done)).unzip();
        self.queue.begin(callbacks);
        let written_bytes = self.write(requests)?;
        self.engine.sync()?;
        self.tip.write(self.ledger.tip_state())?;
        self.ledger.note_tip(self.tip.counter());
        self.queue.complete(written_bytes)
    }

    /// Writes the values of all requests in their order; gives how many bytes.
    fn write(&mut self, requests: Vec<Request>) -> Result<u64, StorageError> {
        let mut written_bytes = 0;
        let mut appended: Vec<LogEntry> = Vec::new();
        for request in requests {
            if let Request::Append(entries) = request {
                appended.extend(entries);
                continue;
            }
            written_bytes += self.write_entries(std::mem::take(&mut appended))?;
            written_bytes += match request {
                Request::Append(_) | Request::Barrier => 0,
                Request::Vote(vote) => {
                    let record = self.ledger.vote(vote)?;
                    self.insert([record])?
                }
                Request::Purge { index, term, opaque } => {
                    let mark = self.ledger.purge(index, term, opaque)?;
                    self.insert([mark])?
                }
                Request::Truncate(kept) => self.truncate(kept)?,
            };
        }
        Ok(written_bytes + self.write_entries(appended)?)
    }

    fn write_entries(&mut self, entries: Vec<LogEntry>) -> Result<u64, StorageError> {
        if entries.is_empty() {
            return Ok(0);
        }
        let values = self.ledger.append(&entries)?;
        self.insert(values)
    }

    fn insert(&self, values: impl IntoIterator<Item = (Key, Bytes)>) -> Result<u64, StorageError> {
        let mut written_bytes = 0;
        for (key, value) in values {
            self.engine.insert(key, &value)?;
            written_bytes += value.len() as u64;
        }
        Ok(written_bytes)
    }

    fn truncate(&mut self, kept: Option<u64>) -> Result<u64, StorageError> {
        let Some(truncation) = self.ledger.truncate(kept) else { return Ok(0) };
        let mut changes: Vec<(Key, Option<Bytes>)> =
            truncation.removed.iter().map(|key| (*key, None)).collect();
        if let Some(value) = self.shortened_boundary(&truncation)? {
            changes.push(value);
        }
        let mark = codec::seal(format::TRUNCATION_MARK, &truncation.mark)
            .map_err(|error| StorageError::refused(error.to_string()))?;
        changes.push((Key::TruncationMark, Some(mark)));
        let written_bytes = changes.iter().flat_map(|(_, value)| value).map(|value| value.len() as u64).sum();
        self.engine.apply(changes)?;
        Ok(written_bytes)
    }

    /// The record on the edge of a truncation, read back and cut.
    fn shortened_boundary(
        &self,
        truncation: &Truncation,
    ) -> Result<Option<(Key, Option<Bytes>)>, StorageError> {
        let Some(span) = truncation.boundary else { return Ok(None) };
        let unreadable =
            |detail: String| StorageError::quarantine(Damage::EntryDamaged { index: span.first }, detail);
        let value = self.engine.get(Key::Record(span.first))?;
        let value = value.ok_or_else(|| unreadable("its record is gone".to_owned()))?;
        let mut record: LogRecord =
            codec::open(format::RECORD, &value).map_err(|error| unreadable(error.to_string()))?;
        record.stamp = truncation.mark.stamp.clone();
        match &mut record.content {
            RecordContent::Entries(entries) => entries.retain(|entry| entry.index <= span.last),
            RecordContent::Chunked { .. } => {
                return Err(unreadable("a record of one entry has no inside to cut".to_owned()));
            }
        }
        let value =
            codec::seal(format::RECORD, &record).map_err(|error| StorageError::refused(error.to_string()))?;
        Ok(Some((Key::Record(span.first), Some(value))))
    }

    /// Removes what a purge left over, a little at a time, because a large removal would hold up the next step.
    fn remove_some(&mut self) -> Result<(), StorageError> {
        let keys = self.ledger.take_removable(self.removals_per_step);
        if keys.is_empty() {
            return Ok(());
        }
        self.queue.begin_upkeep();
        for key in keys {
            self.engine.remove(key)?;
        }
        self.engine.settle()
    }
}

impl Queued {
    fn stands_alone(&self) -> bool {
        matches!(self.request, Request::Truncate(_))
    }
}

const _: () = assert!(
    record::RECORD_CAP_BYTES <= 64 << 10,
    "sixteen values must fit into a page that stays in the file"
);
