//! The disk of one machine: what is synced survives a crash, of the rest a random part does, perhaps half of the last write.
//!
//! It stands in the place of sled and the snapshot files, behind the same traits. Writes are seen by readers at once and
//! acknowledged after a sync that takes its time, in order, as the real store does it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use slotkeeper::codec;
use slotkeeper::storage::{
    DataDir, Done, LogBounds, LogEntry, LogStatistics, LogStorage, OpenStores, Snapshot, SnapshotId,
    SnapshotStorage, StorageError, Stores, WriteBody,
};
use tokio::sync::watch;

use crate::draw::Draw;
use crate::{planted, trace};

/// Entries of the log that stay readable for the observer, by index.
pub type Archive = BTreeMap<u64, (u64, Bytes)>;

/// What the disk has made durable and acknowledged, and a node therefore never goes below, whatever happens. What a
/// planted bug acknowledges is not among it: others have to find that.
#[derive(Debug, Clone, Default)]
pub struct Promises {
    vote: Option<Bytes>,
    /// The last entry of the log; a truncation takes it back.
    pub last: u64,
    pub snapshot: u64,
}

impl Promises {
    /// The term of the vote.
    pub fn term(&self) -> u64 {
        let vote = self.vote.as_ref().map(|vote| codec::decode::<(u64, Option<u64>, bool)>(vote, vote.len()));
        vote.map_or(0, |vote| vote.expect("a vote is a term, a node, and whether it is committed").0)
    }

    fn keep(&mut self, write: &Write) {
        match write {
            Write::Append(entries) => {
                self.last = entries.last().map_or(self.last, |entry| entry.index);
            }
            Write::Vote(vote) => self.vote = Some(vote.clone()),
            Write::Truncate(_) | Write::Purge(..) => {}
        }
    }
}

/// When what a planted bug acknowledged too early becomes durable.
const LATE_MS: u64 = 1_000;

/// Clones share the disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    draw: Draw,
    now_ms: u64,
    /// What readers see.
    seen: Image,
    /// What a crash leaves.
    synced: Image,
    queue: VecDeque<(Write, Done)>,
    /// How many writes are being synced, and when that is done.
    syncing: Option<(usize, u64)>,
    sync_max_ms: u64,
    /// Nothing more can be written until there is space.
    is_full: bool,
    /// A write that failed is the last of its process.
    failed: watch::Sender<Option<StorageError>>,
    promises: Promises,
    archive: Archive,
    /// Votes that were acknowledged and are not durable yet, which only a planted bug leaves behind.
    late_votes: Vec<(u64, Bytes)>,
    /// Snapshots that are not durable yet, which only a planted bug leaves behind.
    late_snapshots: Vec<(u64, Snapshot)>,
    /// How likely a crash is at this moment, because of what was handed over since somebody asked.
    crash_percent: u64,
    /// Grows with every crash; handles of an earlier life do nothing.
    life: u64,
}

#[derive(Debug, Clone, Default)]
struct Image {
    entries: BTreeMap<u64, LogEntry>,
    purged: Option<(u64, u64, Bytes)>,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    snapshots: Vec<Snapshot>,
}

#[derive(Debug, Clone)]
enum Write {
    Append(Vec<LogEntry>),
    Vote(Bytes),
    Truncate(Option<u64>),
    Purge(u64, u64, Bytes),
}

impl Image {
    fn write(&mut self, write: &Write) {
        match write {
            Write::Append(entries) => {
                self.entries.extend(entries.iter().map(|entry| (entry.index, entry.clone())));
            }
            Write::Vote(vote) => self.vote = Some(vote.clone()),
            Write::Truncate(kept) => {
                self.entries.split_off(&kept.map_or(0, |kept| kept + 1));
            }
            Write::Purge(index, term, opaque) => {
                if self.purged.as_ref().is_none_or(|(before, _, _)| before < index) {
                    self.purged = Some((*index, *term, opaque.clone()));
                    self.entries = self.entries.split_off(&(index + 1));
                }
            }
        }
    }

    fn bounds(&self) -> LogBounds {
        let last = self.entries.last_key_value().map(|(index, entry)| (*index, entry.term));
        let last = last.or(self.purged.as_ref().map(|(index, term, _)| (*index, *term)));
        LogBounds { purged: self.purged.clone(), last }
    }

    fn check(&self) {
        let mut next = self.purged.as_ref().map(|(index, _, _)| index + 1);
        for index in self.entries.keys() {
            assert!(next.is_none_or(|next| next == *index), "the log has a hole before {index}");
            next = Some(index + 1);
        }
    }
}

impl Image {
    /// What is purged must be in a snapshot.
    fn check_snapshot(&self) {
        let purged = self.purged.as_ref().map_or(0, |(index, _, _)| *index);
        let snapshot = self.snapshots.iter().map(|snapshot| snapshot.id.index).max().unwrap_or(0);
        assert!(purged <= snapshot, "C3: purged through {purged} and the newest snapshot ends at {snapshot}");
    }
}

impl SimulatedDisk {
    pub fn new(mut draw: Draw) -> Self {
        let sync_max_ms = draw.within(1..=12);
        let state = State {
            draw,
            now_ms: 0,
            seen: Image::default(),
            synced: Image::default(),
            queue: VecDeque::new(),
            syncing: None,
            sync_max_ms: if planted::is("acknowledgement-before-sync") { 300 } else { sync_max_ms },
            is_full: false,
            failed: watch::Sender::new(None),
            promises: Promises::default(),
            archive: Archive::new(),
            late_votes: Vec::new(),
            late_snapshots: Vec::new(),
            crash_percent: 0,
            life: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on a sync takes up to so long.
    pub fn slow_down(&self, sync_max_ms: u64) {
        self.lock().sync_max_ms = sync_max_ms;
    }

    /// Whether there is no space any more.
    pub fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    /// Ends syncs that are due and begins new ones.
    pub fn tick(&self, now_ms: u64) {
        let mut answered = Vec::new();
        let mut result = Ok(());
        {
            let mut state = self.lock();
            state.now_ms = now_ms;
            if state.is_full && !state.queue.is_empty() {
                result = Err(state.fail());
                answered.extend(state.queue.drain(..).map(|(_, done)| done));
                state.syncing = None;
            } else if let Some((count, _)) = state.syncing.take_if(|(_, due_ms)| *due_ms <= now_ms) {
                for _ in 0..count {
                    let (write, done) = state.queue.pop_front().expect("a sync is of what is queued");
                    state.synced.write(&write);
                    state.promises.keep(&write);
                    answered.push(done);
                }
                state.synced.committed = state.seen.committed.clone();
            }
            if state.syncing.is_none() && !state.queue.is_empty() {
                let limit_ms = state.sync_max_ms;
                let due_ms = now_ms + state.draw.within(1..=limit_ms);
                state.syncing = Some((state.queue.len(), due_ms));
            }
            state.finish_late();
            state.synced.check_snapshot();
        }
        for done in answered {
            done(result.clone());
        }
    }

    /// The machine is gone. What was not synced is left in part.
    pub fn crash(&self) {
        let mut state = self.lock();
        state.life += 1;
        let is_truncation = |(write, _): &(Write, Done)| matches!(write, Write::Truncate(_));
        let torn =
            state.queue.iter().position(is_truncation).filter(|_| planted::is("truncate-leaves-a-hole"));
        let kept = {
            let queued = torn.unwrap_or(state.queue.len());
            state.draw.index(queued + 1)
        };
        let queue = std::mem::take(&mut state.queue);
        let mut writes = queue.into_iter().map(|(write, _)| write);
        for write in writes.by_ref().take(kept) {
            state.synced.write(&write);
        }
        match writes.next() {
            Some(Write::Append(mut entries)) if state.draw.percent(50) => {
                let torn = state.draw.index(entries.len());
                entries.truncate(torn);
                state.synced.write(&Write::Append(entries));
            }
            Some(Write::Truncate(kept)) if torn.is_some() => {
                state.synced.entries.remove(&kept.map_or(0, |kept| kept + 1));
            }
            _ => {}
        }
        if planted::is("wiped-node") && state.draw.percent(50) {
            (state.synced, state.promises) = (Image::default(), Promises::default());
        }
        (state.syncing, state.crash_percent) = (None, 0);
        state.failed = watch::Sender::new(None);
        (state.late_snapshots, state.late_votes) = (Vec::new(), Vec::new());
        state.seen = state.synced.clone();
        let purged = state.synced.purged.as_ref().map_or(0, |(index, _, _)| *index);
        let synced: Archive = state
            .synced
            .entries
            .values()
            .map(|entry| (entry.index, (entry.term, entry.payload.clone())))
            .collect();
        state.archive.retain(|index, _| *index <= purged);
        state.archive.extend(synced);
        let last = state.seen.bounds().last;
        trace::note(&format!("a disk keeps {kept} of the writes under way and ends at {last:?}"));
    }

    /// How likely the machine should crash now. A crash hurts most while something other than an append is under way,
    /// and truncations are rare.
    pub fn take_crash_percent(&self) -> u64 {
        std::mem::take(&mut self.lock().crash_percent)
    }

    /// What it has acknowledged.
    pub fn promises(&self) -> Promises {
        self.lock().promises.clone()
    }

    /// Up to where the newest snapshot goes.
    pub fn snapshot_index(&self) -> u64 {
        self.lock().seen.snapshots.iter().map(|snapshot| snapshot.id.index).max().unwrap_or(0)
    }

    /// The entry at `index`, also if it is purged.
    pub fn archived(&self, index: u64) -> Option<(u64, Bytes)> {
        self.lock().archive.get(&index).cloned()
    }
}

impl State {
    /// A write did not fit.
    fn fail(&mut self) -> StorageError {
        trace::note("a write does not fit on the disk");
        let error = StorageError::Io {
            operation: "write the log",
            path: "data".into(),
            kind: std::io::ErrorKind::StorageFull,
            message: "no space left on device".to_owned(),
        };
        self.failed.send_replace(Some(error.clone()));
        error
    }

    /// What planted bugs acknowledged too early becomes durable in the end.
    fn finish_late(&mut self) {
        let now_ms = self.now_ms;
        for (_, snapshot) in self.late_snapshots.extract_if(.., |(due_ms, _)| *due_ms <= now_ms) {
            self.synced.snapshots.push(snapshot);
        }
        for (_, vote) in self.late_votes.extract_if(.., |(due_ms, _)| *due_ms <= now_ms) {
            self.synced.vote = Some(vote);
        }
    }
}

impl Stores for SimulatedDisk {
    fn open(&self, _directory: &DataDir) -> Result<OpenStores, StorageError> {
        let state = self.lock();
        state.seen.check();
        let handle = Arc::new(Handle { disk: self.clone(), life: state.life });
        Ok((handle.clone(), handle))
    }
}

/// The log and the snapshots of one life of the machine.
struct Handle {
    disk: SimulatedDisk,
    life: u64,
}

impl Handle {
    fn submit(&self, write: Write, done: Done) {
        let early = match &write {
            Write::Append(_) => planted::is("acknowledgement-before-sync"),
            Write::Vote(_) => planted::is("vote-not-synced"),
            _ => false,
        };
        {
            let mut state = self.disk.lock();
            if state.life != self.life {
                return;
            }
            let failed = state.failed.borrow().clone();
            if let Some(error) = failed {
                drop(state);
                return done(Err(error));
            }
            let last = state.seen.bounds().last.map_or(0, |(index, _)| index);
            state.seen.write(&write);
            match &write {
                Write::Append(entries) => {
                    let entries =
                        entries.iter().map(|entry| (entry.index, (entry.term, entry.payload.clone())));
                    state.archive.extend(entries);
                    state.seen.check();
                }
                Write::Truncate(kept) => {
                    // Of one entry either all or nothing goes.
                    let is_long = last > kept.map_or(0, |kept| kept + 1);
                    state.crash_percent = if is_long { 90 } else { 20 };
                    state.archive.split_off(&kept.map_or(0, |kept| kept + 1));
                    state.promises.last = state.promises.last.min(kept.unwrap_or(0));
                }
                Write::Vote(_) | Write::Purge(..) => state.crash_percent = state.crash_percent.max(5),
            }
            if !early {
                return state.queue.push_back((write, done));
            }
            match write {
                Write::Vote(vote) => {
                    let due_ms = state.now_ms + LATE_MS;
                    state.late_votes.push((due_ms, vote));
                }
                write => state.queue.push_back((write, Box::new(drop))),
            }
        }
        done(Ok(()));
    }
}

impl LogStorage for Handle {
    fn bounds(&self) -> LogBounds {
        self.disk.lock().seen.bounds()
    }

    fn vote(&self) -> Option<Bytes> {
        self.disk.lock().seen.vote.clone()
    }

    fn committed(&self) -> Option<Bytes> {
        self.disk.lock().seen.committed.clone()
    }

    fn entries(
        &self,
        from: u64,
        until: u64,
        limit_bytes: Option<usize>,
    ) -> Result<Vec<LogEntry>, StorageError> {
        let state = self.disk.lock();
        let mut bytes = 0;
        let limit = limit_bytes.unwrap_or(usize::MAX);
        let within = state.seen.entries.range(from..until.max(from)).map(|(_, entry)| entry.clone());
        let taken = within.take_while(|entry| {
            let goes_on = bytes <= limit;
            bytes += entry.payload.len();
            goes_on
        });
        Ok(taken.collect())
    }

    fn append(&self, entries: Vec<LogEntry>, done: Done) {
        self.submit(Write::Append(entries), done);
    }

    fn save_vote(&self, vote: Bytes, done: Done) {
        self.submit(Write::Vote(vote), done);
    }

    fn save_committed(&self, committed: Bytes) {
        self.disk.lock().seen.committed = Some(committed);
    }

    fn truncate_after(&self, kept: Option<u64>, done: Done) {
        self.submit(Write::Truncate(kept), done);
    }

    fn purge_through(&self, index: u64, term: u64, opaque: Bytes, done: Done) {
        self.submit(Write::Purge(index, term, opaque), done);
    }

    fn fatal(&self) -> watch::Receiver<Option<StorageError>> {
        self.disk.lock().failed.subscribe()
    }

    fn statistics(&self) -> LogStatistics {
        LogStatistics::default()
    }

    fn close(&self) {}
}

impl SnapshotStorage for Handle {
    fn save(&self, id: SnapshotId, meta: &[u8], write_body: &WriteBody<'_>) -> Result<u64, StorageError> {
        let mut body = Vec::new();
        write_body(&mut body).expect("memory takes everything");
        let body_bytes = body.len() as u64;
        let (meta, body) = (Bytes::copy_from_slice(meta), Bytes::from(body));
        let snapshot = Snapshot { id, meta, body, body_checksum: 0 };
        let mut state = self.disk.lock();
        if state.life != self.life {
            return Ok(body_bytes);
        }
        if state.is_full {
            return Err(state.fail());
        }
        state.seen.snapshots.push(snapshot.clone());
        if planted::is("purge-before-snapshot") {
            let due_ms = state.now_ms + LATE_MS;
            state.late_snapshots.push((due_ms, snapshot));
        } else {
            state.synced.snapshots.push(snapshot);
            state.promises.snapshot = state.promises.snapshot.max(id.index);
        }
        Ok(body_bytes)
    }

    fn newest_id(&self) -> Result<Option<SnapshotId>, StorageError> {
        Ok(self.disk.lock().seen.snapshots.iter().map(|snapshot| snapshot.id).max())
    }

    fn newest(&self, log_purged_through: Option<u64>) -> Result<Option<Snapshot>, StorageError> {
        let state = self.disk.lock();
        let newest = state.seen.snapshots.iter().max_by_key(|snapshot| snapshot.id).cloned();
        let reached = newest.as_ref().map(|snapshot| snapshot.id.index);
        match log_purged_through {
            Some(purged) if reached.is_none_or(|reached| reached < purged) => Err(StorageError::Refused {
                reason: format!(
                    "the log is purged through {purged}, the newest snapshot ends at {reached:?}"
                ),
            }),
            _ => Ok(newest),
        }
    }
}
