//! What the callers of the log, its writer and its watchdog share: mirror, queue, and the first fatal error.
//!
//! A request changes the mirror and enters the queue under one lock, so the order of the queue is the order in which
//! the mirror changed. Once a fatal error is latched, nothing is acknowledged any more: requests in the queue and
//! under way are answered with the error, and so is everything that comes later; whoever is answered so can look the
//! error up. Callbacks run outside the lock. Tested in `tests/storage/durability.rs`, and with thousands of interleavings in
//! `tests/concurrency`.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::mirror::Mirror;
use super::sync::{Condvar, Mutex, MutexGuard};
use super::{Done, LogEntry, LogStatistics, StorageError};

/// A request for the writer.
pub(super) enum Request {
    Append(Vec<LogEntry>),
    Vote(Bytes),
    Truncate(Option<u64>),
    Purge {
        index: u64,
        term: u64,
        opaque: Bytes,
    },
    /// Changes nothing; answered when everything before it is durable.
    Barrier,
}

/// A request and whom to answer.
pub(super) struct Queued {
    pub(super) request: Request,
    pub(super) done: Done,
}

/// What the writer takes at once.
pub(super) struct Work {
    pub(super) queued: VecDeque<Queued>,
    pub(super) committed: Option<Bytes>,
}

#[derive(Default)]
struct State {
    mirror: Mirror,
    queued: VecDeque<Queued>,
    /// A committed hint that no value carries yet.
    committed: Option<Bytes>,
    /// Callbacks of the step under way.
    under_way: Vec<Done>,
    /// When the writer began what it is doing.
    began: Option<Instant>,
    statistics: LogStatistics,
    closing: bool,
    fatal: Option<StorageError>,
}

impl State {
    /// Whether nothing will be written any more.
    fn is_over(&self) -> bool {
        self.fatal.is_some() || (self.closing && self.queued.is_empty() && self.began.is_none())
    }
}

/// The shared part of a log store.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Signalled when there is work for the writer, or an end to it.
    work: Condvar,
    /// Signalled when the store closes.
    closed: Condvar,
    fatal: watch::Sender<Option<StorageError>>,
}

impl Queue {
    pub(super) fn new(mirror: Mirror) -> Queue {
        let state = State { mirror, ..State::default() };
        Queue {
            state: Mutex::new(state),
            work: Condvar::new(),
            closed: Condvar::new(),
            fatal: watch::channel(None).0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fatal(&self) -> watch::Receiver<Option<StorageError>> {
        self.fatal.subscribe()
    }

    /// Reads the mirror.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Mirror) -> T) -> T {
        read(&self.lock().mirror)
    }

    /// Reads the mirror unless the store has failed.
    pub(super) fn read_checked<T>(
        &self,
        read: impl FnOnce(&Mirror) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let state = self.lock();
        match &state.fatal {
            Some(error) => Err(error.clone()),
            None => read(&state.mirror),
        }
    }

    pub(super) fn statistics(&self) -> LogStatistics {
        let state = self.lock();
        LogStatistics {
            mirror_bytes: state.mirror.bytes(),
            mirror_entries: state.mirror.entry_count(),
            queue_length: state.queued.len() + state.under_way.len(),
            ..state.statistics.clone()
        }
    }

    /// Changes the mirror and queues the request that `change` makes; a refusal is answered at once.
    pub(super) fn submit(
        &self,
        done: Done,
        change: impl FnOnce(&mut Mirror) -> Result<Request, StorageError>,
    ) {
        let mut state = self.lock();
        let refusal = match &state.fatal {
            Some(error) => Err(error.clone()),
            None if state.closing => Err(StorageError::Closed),
            None => change(&mut state.mirror),
        };
        match refusal {
            Ok(request) => {
                state.queued.push_back(Queued { request, done });
                drop(state);
                self.work.notify_one();
            }
            Err(error) => {
                drop(state);
                done(Err(error));
            }
        }
    }

    pub(super) fn set_committed(&self, committed: Bytes) {
        let mut state = self.lock();
        state.mirror.set_committed(committed.clone());
        state.committed = Some(committed);
    }

    /// Everything that is queued. Without work, waits for some, unless `idle_work` is there to be done meanwhile.
    /// Gives nothing when the store is closing and all is done, or has failed.
    pub(super) fn take(&self, idle_work: bool) -> Option<Work> {
        let mut state = self.lock();
        while state.queued.is_empty() && !state.closing && state.fatal.is_none() && !idle_work {
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.fatal.is_some() || (state.closing && state.queued.is_empty()) {
            return None;
        }
        state.began = Some(Instant::now());
        Some(Work { queued: std::mem::take(&mut state.queued), committed: state.committed.take() })
    }

    /// Notes that a step begins whose callbacks are these.
    pub(super) fn begin(&self, callbacks: Vec<Done>) {
        let mut state = self.lock();
        state.under_way = callbacks;
        state.began = Some(Instant::now());
    }

    /// Notes that the step under way is durable, and answers its callers unless the store has failed meanwhile.
    pub(super) fn complete(&self, written_bytes: u64) -> Result<(), StorageError> {
        let mut state = self.lock();
        if let Some(error) = &state.fatal {
            return Err(error.clone());
        }
        let took = state.began.take().map_or(Duration::ZERO, |began| began.elapsed());
        state.statistics.note_sync(took, written_bytes);
        if state.is_over() {
            self.closed.notify_all();
        }
        let callbacks = std::mem::take(&mut state.under_way);
        drop(state);
        for done in callbacks {
            done(Ok(()));
        }
        Ok(())
    }

    /// Notes that the writer has nothing under way.
    pub(super) fn rest(&self) {
        let mut state = self.lock();
        state.began = None;
        if state.is_over() {
            self.closed.notify_all();
        }
    }

    /// Notes that the writer is at work that nobody waits for, but that must not hang either.
    pub(super) fn begin_upkeep(&self) {
        self.lock().began = Some(Instant::now());
    }

    /// Latches the first fatal error and answers everybody who waits, now and later, with it. `rest` are requests
    /// that the writer has taken and not begun.
    pub(super) fn fail(&self, error: StorageError, rest: Vec<Done>) {
        let mut state = self.lock();
        let error = state.fatal.get_or_insert(error).clone();
        state.began = None;
        let mut waiting = std::mem::take(&mut state.under_way);
        waiting.extend(rest);
        waiting.extend(std::mem::take(&mut state.queued).into_iter().map(|queued| queued.done));
        // Before anybody can be refused for it: who stops over a refusal must find its reason.
        self.fatal.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(error.clone());
            is_first
        });
        drop(state);
        self.work.notify_all();
        self.closed.notify_all();
        for done in waiting {
            done(Err(error.clone()));
        }
    }

    /// Takes no more requests; the writer ends when it has done those that it has.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_all();
        self.closed.notify_all();
    }

    /// Waits until the store is closed and idle or has failed, or for a while; gives false when it is over.
    pub(super) fn wait_while_open(&self, at_most: Duration) -> bool {
        let (state, _) = self
            .closed
            .wait_timeout_while(self.lock(), at_most, |state| !state.is_over())
            .unwrap_or_else(PoisonError::into_inner);
        !state.is_over()
    }

    /// When the step under way began.
    pub(super) fn step_began(&self) -> Option<Instant> {
        self.lock().began
    }
}
