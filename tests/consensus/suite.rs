//! The engine's own suite for stores, on the real log and the real snapshots: fresh, and reopened around every call.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::{LogState, OptionalSend, RaftLogReader, StorageError};
use slotkeeper::consensus::{LogAdapter, StateMachine, TypeConfig};
use slotkeeper::replica::Replica;
use slotkeeper::storage::{DataDir, DataDirOptions, Identity, LogEntry, LogOptions, LogStore, SnapshotStore};
use tempfile::TempDir;
use tokio::sync::Mutex;
use uuid::Uuid;

fn directory() -> (TempDir, DataDir) {
    let temporary = tempfile::tempdir().unwrap();
    let mut options = DataDirOptions::new(Uuid::new_v4);
    options.free_space_floor_bytes = Some(0);
    let directory = DataDir::open(temporary.path(), options).unwrap();
    let identity = Identity {
        cluster_id: Uuid::from_u128(1),
        node_id: 1,
        incarnation: directory.incarnation(),
        details: Vec::new(),
    };
    directory.save_identity(&identity).unwrap();
    (temporary, directory)
}

fn state_machine(directory: &DataDir) -> StateMachine {
    StateMachine::new(Replica::new(), Arc::new(SnapshotStore::open(directory).unwrap()))
}

/// A follower can be told that entry 26 is committed while the write of entry 26 is still under way.
#[tokio::test(flavor = "multi_thread")]
async fn a_committed_hint_that_outlived_its_entry_ends_with_the_log() {
    let (_temporary, directory) = directory();
    let store = LogStore::open(&directory, LogOptions::default()).unwrap();
    let mut log = LogAdapter::new(Arc::new(store.clone()));
    let hint = |log_id: Option<[u8; 2]>| match log_id {
        Some([term, index]) => Bytes::copy_from_slice(&[1, term, index]),
        None => Bytes::from_static(&[0]),
    };
    store.save_committed(hint(Some([1, 2])));
    assert_eq!(log.read_committed().await.unwrap(), None, "nothing is in the log");
    let entry = LogEntry { index: 1, term: 1, payload: Bytes::from_static(&[0]) };
    store.append(vec![entry], Box::new(|stored| stored.unwrap()));
    let committed = log.read_committed().await.unwrap().map(|log_id| log_id.index);
    assert_eq!(committed, Some(1));
    store.save_committed(hint(None));
    assert_eq!(log.read_committed().await.unwrap(), None);
}

struct Fresh;

impl StoreBuilder<TypeConfig, LogAdapter, StateMachine, TempDir> for Fresh {
    async fn build(&self) -> Result<(TempDir, LogAdapter, StateMachine), StorageError<TypeConfig>> {
        let (temporary, directory) = directory();
        let log = LogAdapter::new(Arc::new(LogStore::open(&directory, LogOptions::default()).unwrap()));
        Ok((temporary, log, state_machine(&directory)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_passes_the_engines_suite() {
    Suite::test_all(Fresh).await.unwrap();
}

/// A log that is closed and opened again before every call.
#[derive(Clone)]
struct Reopening {
    directory: DataDir,
    open: Arc<Mutex<LogStore>>,
    /// One test purges an entry that its log never had, in front of those it has. No log of the engine looks like
    /// that, and the store's chain of entries rightly refuses it when it is opened again.
    stays_open: Arc<AtomicBool>,
}

impl Reopening {
    fn new(directory: DataDir) -> Self {
        let store = LogStore::open(&directory, LogOptions::default()).unwrap();
        Self { directory, open: Arc::new(Mutex::new(store)), stays_open: Arc::default() }
    }

    async fn reopened(&self) -> LogAdapter {
        if self.stays_open.load(Ordering::SeqCst) {
            return self.as_it_is().await;
        }
        let mut open = self.open.lock().await;
        open.clone().shutdown();
        *open = LogStore::open(&self.directory, LogOptions::default()).unwrap();
        LogAdapter::new(Arc::new(open.clone()))
    }

    /// A committed hint becomes durable with the next write, so there is nothing to find after reopening.
    async fn as_it_is(&self) -> LogAdapter {
        LogAdapter::new(Arc::new(self.open.lock().await.clone()))
    }
}

impl RaftLogReader<TypeConfig> for Reopening {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<EntryOf<TypeConfig>>> {
        self.reopened().await.try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<TypeConfig>>> {
        self.reopened().await.read_vote().await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> io::Result<Vec<EntryOf<TypeConfig>>> {
        self.reopened().await.limited_get_log_entries(start, end).await
    }
}

impl RaftLogStorage<TypeConfig> for Reopening {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        self.reopened().await.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<TypeConfig>) -> io::Result<()> {
        self.reopened().await.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        self.as_it_is().await.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogIdOf<TypeConfig>>> {
        self.as_it_is().await.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.reopened().await.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        self.reopened().await.truncate_after(last).await
    }

    async fn purge(&mut self, log_id: LogIdOf<TypeConfig>) -> io::Result<()> {
        let adapter = self.reopened().await;
        let store = self.open.lock().await.clone();
        let first = store.entries(0, u64::MAX, None).unwrap().first().map(|entry| entry.index);
        let in_front = store.bounds().purged.is_none() && first.is_some_and(|first| log_id.index < first);
        self.stays_open.fetch_or(in_front, Ordering::SeqCst);
        { adapter }.purge(log_id).await
    }
}

struct Reopened;

impl StoreBuilder<TypeConfig, Reopening, StateMachine, TempDir> for Reopened {
    async fn build(&self) -> Result<(TempDir, Reopening, StateMachine), StorageError<TypeConfig>> {
        let (temporary, directory) = directory();
        let state_machine = state_machine(&directory);
        Ok((temporary, Reopening::new(directory), state_machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_passes_the_engines_suite_when_it_is_reopened_around_every_call() {
    Suite::test_all(Reopened).await.unwrap();
}
