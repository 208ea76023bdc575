//! The store against a simple model: any order of requests, closed or crashed and opened again every few steps.
//!
//! Requests are submitted without waiting until the store is closed or a wait is drawn, so that the writer shares
//! records and steps between them. Sizes fall on both sides of the record cap. After each opening everything the
//! model knows must be read, and nothing else. After a crash that is the state after some number of changes, at least
//! of those that had been acknowledged. `SLOTKEEPER_MODEL_CASES` sets how many runs there are (5,000 if not set, about 15 ms of
//! processor time each).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use slotkeeper::storage::{Done, LogEntry, LogStore, RECORD_CAP_BYTES, StorageError};
use tempfile::TempDir;

use crate::store::{answer, copy_directory, directory_on, entry, log_options, opaque, quick_directory};
use crate::watched_disk::WatchedDisk;

#[derive(Debug, Clone)]
enum Step {
    /// Entries of these sizes at the end.
    Append(Vec<usize>),
    /// Drop this share of the live entries from the end.
    Truncate(f64),
    TruncateAll,
    /// Purge this share of the live entries from the start.
    Purge(f64),
    /// Purge this far beyond the end.
    PurgeBeyond(u64),
    /// Repeat the last purge.
    PurgeAgain,
    Vote(u8),
    Committed(u8),
    NextTerm,
    Wait,
    /// The process dies after so many operations on the disk.
    CrashAfter(u8),
    Reopen,
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 0..400_usize,
        2 => 4_000..20_000_usize,
        1 => (RECORD_CAP_BYTES - 60)..(RECORD_CAP_BYTES + 60),
        1 => (RECORD_CAP_BYTES + 1)..(3 * RECORD_CAP_BYTES),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => prop::collection::vec(sizes(), 1..6).prop_map(Step::Append),
        1 => prop::collection::vec(0..300_usize, 100..200).prop_map(Step::Append),
        4 => (0.0..1.0).prop_map(Step::Truncate),
        1 => Just(Step::TruncateAll),
        4 => (0.0..1.0).prop_map(Step::Purge),
        1 => (1..50_u64).prop_map(Step::PurgeBeyond),
        1 => Just(Step::PurgeAgain),
        3 => any::<u8>().prop_map(Step::Vote),
        3 => any::<u8>().prop_map(Step::Committed),
        2 => Just(Step::NextTerm),
        2 => Just(Step::Wait),
        3 => (0..6_u8).prop_map(Step::CrashAfter),
        3 => Just(Step::Reopen),
    ]
}

/// What a request changes. An append changes entry by entry, because the writer may make a part of it durable.
#[derive(Debug, Clone)]
enum Change {
    Append(LogEntry),
    Truncate(Option<u64>),
    Purge(u64, u64),
    Vote(Bytes),
}

/// What a store holds.
#[derive(Debug, Clone, Default)]
struct Model {
    entries: BTreeMap<u64, LogEntry>,
    purged: Option<(u64, u64)>,
    vote: Option<Bytes>,
}

impl Model {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Append(entry) => {
                self.entries.insert(entry.index, entry.clone());
            }
            Change::Truncate(Some(kept)) => drop(self.entries.split_off(&(kept + 1))),
            Change::Truncate(None) => self.entries.clear(),
            Change::Purge(index, term) => {
                self.entries = self.entries.split_off(&(index + 1));
                self.purged = Some((*index, *term));
            }
            Change::Vote(vote) => self.vote = Some(vote.clone()),
        }
    }

    fn matches(&self, store: &LogStore) -> bool {
        let bounds = store.bounds();
        let last = self.entries.values().next_back().map(|entry| (entry.index, entry.term));
        bounds.purged == self.purged.map(|(index, term)| (index, term, opaque(index)))
            && bounds.last == last.or(self.purged)
            && store.vote() == self.vote
            && store.entries(0, u64::MAX, None).unwrap().iter().eq(self.entries.values())
    }
}

/// A copy of the directory that is made by the writer itself, between two of its operations on the disk.
#[derive(Debug, Default)]
struct Crash {
    is_due: bool,
    /// Where the copy is, and how many changes had been acknowledged then.
    copy: Arc<Mutex<Option<(TempDir, usize)>>>,
}

struct Run {
    home: TempDir,
    disk: WatchedDisk,
    store: Option<LogStore>,
    waiting: Vec<Receiver<Result<(), StorageError>>>,
    term: u64,
    first: u64,
    model: Model,
    /// The model before `changes`.
    settled: Model,
    changes: Vec<Change>,
    /// How many of `changes` have been acknowledged.
    acknowledged: Arc<AtomicUsize>,
    crash: Crash,
    /// The hint that is certainly durable, and those after it.
    committed: Vec<Option<Bytes>>,
    /// All hints since the last opening.
    hints: Vec<Option<Bytes>>,
    crashes: usize,
}

impl Run {
    fn new(first: u64) -> Run {
        let (home, disk) = (quick_directory(), WatchedDisk::default());
        let store = Some(open_on(home.path(), &disk));
        Run {
            home,
            disk,
            store,
            waiting: Vec::new(),
            term: 1,
            first,
            model: Model::default(),
            settled: Model::default(),
            changes: Vec::new(),
            acknowledged: Arc::default(),
            crash: Crash::default(),
            committed: vec![None],
            hints: vec![None],
            crashes: 0,
        }
    }

    fn store(&self) -> &LogStore {
        self.store.as_ref().expect("the store is open between steps")
    }

    fn next_index(&self) -> u64 {
        let last =
            self.model.entries.keys().next_back().copied().or(self.model.purged.map(|(index, _)| index));
        last.map_or(self.first, |last| last + 1)
    }

    fn submit(&mut self, changes: Vec<Change>, submit: impl FnOnce(&LogStore, Done)) {
        if !changes.is_empty()
            && let Some(newest) = self.committed.pop()
        {
            self.committed = vec![newest];
        }
        changes.iter().for_each(|change| self.model.apply(change));
        self.changes.extend(changes);
        let (answered, answer) = answer();
        let (acknowledged, so_far) = (Arc::clone(&self.acknowledged), self.changes.len());
        let done: Done = Box::new(move |result| {
            acknowledged.fetch_max(so_far, Ordering::SeqCst);
            answered(result);
        });
        submit(self.store(), done);
        self.waiting.push(answer);
    }

    fn share(&self, share: f64) -> Option<u64> {
        let place = (self.model.entries.len() as f64 * share) as usize;
        self.model.entries.keys().nth(place).copied()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(sizes) => self.append(&sizes),
            Step::Truncate(share) => {
                if let Some(kept) = self.share(share) {
                    self.truncate(Some(kept));
                }
            }
            Step::TruncateAll => self.truncate(None),
            Step::Purge(share) => {
                if let Some(index) = self.share(share) {
                    self.purge(index, self.model.entries[&index].term);
                }
            }
            Step::PurgeBeyond(distance) => self.purge(self.next_index() + distance, self.term),
            Step::PurgeAgain => {
                if let Some((index, term)) = self.model.purged {
                    self.submit(Vec::new(), |store, done| {
                        store.purge_through(index, term, opaque(index), done);
                    });
                }
            }
            Step::Vote(vote) => {
                let vote = Bytes::from(vec![vote; 20]);
                self.submit(vec![Change::Vote(vote.clone())], |store, done| store.save_vote(vote, done));
            }
            Step::Committed(hint) => {
                let hint = Bytes::from(vec![hint; 9]);
                self.committed.push(Some(hint.clone()));
                self.hints.push(Some(hint.clone()));
                self.store().save_committed(hint);
            }
            Step::NextTerm => self.term += 1,
            Step::Wait => self.wait(),
            Step::CrashAfter(operations) => self.crash_after(operations),
            Step::Reopen => self.reopen(),
        }
        assert!(self.model.matches(self.store()));
    }

    fn append(&mut self, sizes: &[usize]) {
        let entries: Vec<_> =
            (self.next_index()..).zip(sizes).map(|(index, size)| entry(index, self.term, *size)).collect();
        let changes = entries.iter().cloned().map(Change::Append).collect();
        self.submit(changes, |store, done| store.append(entries, done));
    }

    fn truncate(&mut self, kept: Option<u64>) {
        let first_gone = kept.map_or(0, |kept| kept + 1);
        let changes = self.model.entries.range(first_gone..).next().map(|_| Change::Truncate(kept));
        self.submit(changes.into_iter().collect(), |store, done| store.truncate_after(kept, done));
    }

    fn purge(&mut self, index: u64, term: u64) {
        self.submit(vec![Change::Purge(index, term)], |store, done| {
            store.purge_through(index, term, opaque(index), done);
        });
    }

    fn wait(&mut self) {
        for answer in self.waiting.drain(..) {
            assert_eq!(answer.recv().expect("every request is answered"), Ok(()));
        }
    }

    /// Lets the process die before one of its next operations on the disk; the run finds out when it opens again.
    fn crash_after(&mut self, operations: u8) {
        if self.crash.is_due {
            return;
        }
        self.crash.is_due = true;
        let (home, copy) = (self.home.path().to_owned(), Arc::clone(&self.crash.copy));
        let (acknowledged, mut left) = (Arc::clone(&self.acknowledged), operations);
        self.disk.look_before_each(move |_| {
            if left == 0 && copy.lock().unwrap().is_none() {
                let room = quick_directory();
                copy_directory(&home, room.path());
                *copy.lock().unwrap() = Some((room, acknowledged.load(Ordering::SeqCst)));
            }
            left = left.saturating_sub(1);
        });
    }

    fn reopen(&mut self) {
        self.store.take().expect("the store is open between steps").shutdown();
        self.wait();
        self.disk.look_before_each(|_| ());
        let crash = std::mem::take(&mut self.crash);
        let crashed = crash.copy.lock().unwrap().take();
        let hints = if crashed.is_some() { &self.hints } else { &self.committed };
        if let Some((home, acknowledged)) = crashed {
            self.home = home;
            self.crashes += 1;
            let store = open_on(self.home.path(), &self.disk);
            assert!(hints.contains(&store.committed()), "{:?}", store.committed());
            self.model = self.state_after_crash(&store, acknowledged);
            self.store = Some(store);
        } else {
            let store = open_on(self.home.path(), &self.disk);
            assert!(hints.contains(&store.committed()), "{:?}", store.committed());
            assert!(self.model.matches(&store));
            self.store = Some(store);
        }
        self.committed = vec![self.store().committed()];
        self.hints = self.committed.clone();
        self.settled = self.model.clone();
        self.changes.clear();
        self.acknowledged.store(0, Ordering::SeqCst);
    }

    /// The model after as many changes as the store shows, which are at least those that were acknowledged.
    fn state_after_crash(&self, store: &LogStore, acknowledged: usize) -> Model {
        let mut model = self.settled.clone();
        for (number, change) in self.changes.iter().enumerate() {
            if number >= acknowledged && model.matches(store) {
                return model;
            }
            model.apply(change);
        }
        let asked = self.changes.len();
        assert!(model.matches(store), "not the state after {acknowledged} to {asked} changes");
        model
    }
}

fn open_on(home: &Path, disk: &WatchedDisk) -> LogStore {
    LogStore::open(&directory_on(home, disk.shared()).unwrap(), log_options()).unwrap()
}

#[test]
fn a_store_behaves_like_its_model_over_any_steps_and_reopenings() {
    let cases =
        std::env::var("SLOTKEEPER_MODEL_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(5000);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let runs = (0..2_u64, prop::collection::vec(steps(), 1..14));
    let crashes = AtomicUsize::new(0);
    TestRunner::new(config)
        .run(&runs, |(first, steps)| {
            let mut run = Run::new(first);
            for step in steps {
                run.step(step);
            }
            run.reopen();
            crashes.fetch_add(run.crashes, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    let crashes = crashes.into_inner();
    println!("{crashes} crashes");
    assert!(crashes > cases as usize / 20, "hardly any run crashed: {crashes}");
}
