//! The store against a simple model: any order of requests, closed and opened again every few steps.
//!
//! Requests are submitted without waiting until the store is closed or a wait is drawn, so that the writer shares
//! records and steps between them. Sizes fall on both sides of the record cap. After each opening everything the
//! model knows must be read, and nothing else.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use slotkeeper::storage::{LogEntry, LogStore, RECORD_CAP_BYTES, StorageError};
use tempfile::TempDir;

use crate::store::{answer, entry, opaque, open, quick_directory};

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
        3 => Just(Step::Reopen),
    ]
}

struct Run {
    home: TempDir,
    store: Option<LogStore>,
    waiting: Vec<Receiver<Result<(), StorageError>>>,
    term: u64,
    first: u64,
    entries: BTreeMap<u64, LogEntry>,
    purged: Option<(u64, u64)>,
    vote: Option<Bytes>,
    /// The hint that is certainly durable, and those after it.
    committed: Vec<Option<Bytes>>,
}

impl Run {
    fn new(first: u64) -> Run {
        let home = quick_directory();
        let store = Some(open(home.path()).unwrap());
        Run {
            home,
            store,
            waiting: Vec::new(),
            term: 1,
            first,
            entries: BTreeMap::new(),
            purged: None,
            vote: None,
            committed: vec![None],
        }
    }

    fn store(&self) -> &LogStore {
        self.store.as_ref().expect("the store is open between steps")
    }

    fn next_index(&self) -> u64 {
        let last = self.entries.keys().next_back().copied().or(self.purged.map(|(index, _)| index));
        last.map_or(self.first, |last| last + 1)
    }

    fn submit(&mut self, carries_hint: bool, submit: impl FnOnce(&LogStore, slotkeeper::storage::Done)) {
        let (done, answer) = answer();
        submit(self.store(), done);
        self.waiting.push(answer);
        if carries_hint && let Some(newest) = self.committed.pop() {
            self.committed = vec![newest];
        }
    }

    fn share(&self, share: f64) -> Option<u64> {
        let place = (self.entries.len() as f64 * share) as usize;
        self.entries.keys().nth(place).copied()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(sizes) => self.append(&sizes),
            Step::Truncate(share) => {
                if let Some(kept) = self.share(share) {
                    let changes = self.entries.split_off(&(kept + 1));
                    self.submit(!changes.is_empty(), |store, done| store.truncate_after(Some(kept), done));
                }
            }
            Step::TruncateAll => {
                let changes = std::mem::take(&mut self.entries);
                self.submit(!changes.is_empty(), |store, done| store.truncate_after(None, done));
            }
            Step::Purge(share) => {
                if let Some(index) = self.share(share) {
                    self.purge(index, self.entries[&index].term);
                }
            }
            Step::PurgeBeyond(distance) => self.purge(self.next_index() + distance, self.term),
            Step::PurgeAgain => {
                if let Some((index, term)) = self.purged {
                    self.submit(false, |store, done| store.purge_through(index, term, opaque(index), done));
                }
            }
            Step::Vote(vote) => {
                self.vote = Some(Bytes::from(vec![vote; 20]));
                let vote = Bytes::from(vec![vote; 20]);
                self.submit(true, |store, done| store.save_vote(vote, done));
            }
            Step::Committed(hint) => {
                self.committed.push(Some(Bytes::from(vec![hint; 9])));
                self.store().save_committed(Bytes::from(vec![hint; 9]));
            }
            Step::NextTerm => self.term += 1,
            Step::Wait => self.wait(),
            Step::Reopen => self.reopen(),
        }
        self.compare();
    }

    fn append(&mut self, sizes: &[usize]) {
        let entries: Vec<_> =
            (self.next_index()..).zip(sizes).map(|(index, size)| entry(index, self.term, *size)).collect();
        self.entries.extend(entries.iter().map(|entry| (entry.index, entry.clone())));
        self.submit(true, |store, done| store.append(entries, done));
    }

    fn purge(&mut self, index: u64, term: u64) {
        self.entries = self.entries.split_off(&(index + 1));
        self.purged = Some((index, term));
        self.submit(true, |store, done| store.purge_through(index, term, opaque(index), done));
    }

    fn wait(&mut self) {
        for answer in self.waiting.drain(..) {
            assert_eq!(answer.recv().expect("every request is answered"), Ok(()));
        }
    }

    fn reopen(&mut self) {
        self.store.take().expect("the store is open between steps").shutdown();
        self.wait();
        let store = open(self.home.path()).unwrap();
        assert!(self.committed.contains(&store.committed()), "{:?}", store.committed());
        self.committed = vec![store.committed()];
        self.store = Some(store);
        self.compare();
    }

    fn compare(&self) {
        let store = self.store();
        let bounds = store.bounds();
        assert_eq!(bounds.purged, self.purged.map(|(index, term)| (index, term, opaque(index))));
        let last = self.entries.values().next_back().map(|entry| (entry.index, entry.term));
        assert_eq!(bounds.last, last.or(self.purged));
        assert_eq!(store.vote(), self.vote);
        let found = store.entries(0, u64::MAX, None).unwrap();
        assert!(
            found.iter().eq(self.entries.values()),
            "{} entries instead of {}",
            found.len(),
            self.entries.len()
        );
    }
}

#[test]
fn a_store_behaves_like_its_model_over_any_steps_and_reopenings() {
    let cases =
        std::env::var("SLOTKEEPER_MODEL_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(1000);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let cases = (0..2_u64, prop::collection::vec(steps(), 1..14));
    TestRunner::new(config)
        .run(&cases, |(first, steps)| {
            let mut run = Run::new(first);
            for step in steps {
                run.step(step);
            }
            run.reopen();
            Ok(())
        })
        .unwrap();
}
