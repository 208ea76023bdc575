//! Every kind of loss and damage that opening must name, one case each, and the crash states that it must accept.
//!
//! The cases change a closed store through the engine itself, so that the engine sees nothing wrong and only the
//! guard can notice. Faults below the engine are in `faults.rs`.

use std::fs;
use std::path::Path;

use slotkeeper::codec::ENVELOPE_BYTES;
use slotkeeper::storage::{
    Damage, DataDir, DataDirOptions, Identity, LogStore, SnapshotId, SnapshotStore, StorageError,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::store::{
    CLUSTER, NODE, Waiting, copy_directory, directory, directory_options, entry, log_options, open,
    quick_directory,
};

/// A closed store with a past: the directory as it was at two earlier times, and as it is.
struct Scene {
    early: TempDir,
    middle: TempDir,
    home: TempDir,
}

impl Scene {
    /// Early: vote 1, entries 0 to 5, purged through 1. Middle: entries to 8, vote 2, purged through 3. Now: entries
    /// to 12 and a hint. Each entry is a record of its own.
    fn new() -> Scene {
        let scene = Scene { early: quick_directory(), middle: quick_directory(), home: quick_directory() };
        scene.live(|store| {
            store.vote_now(b"vote 1").unwrap();
            append_each(store, 0..6);
            store.purge_now(1, 1).unwrap();
        });
        copy_directory(scene.home.path(), scene.early.path());
        scene.live(|store| {
            append_each(store, 6..9);
            store.vote_now(b"vote 2").unwrap();
            store.purge_now(3, 1).unwrap();
        });
        copy_directory(scene.home.path(), scene.middle.path());
        scene.live(|store| append_each(store, 9..13));
        scene
    }

    fn live(&self, life: impl FnOnce(&LogStore)) {
        let store = open(self.home.path()).unwrap();
        life(&store);
        store.shutdown();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    /// Replaces a file or directory by what it was then.
    fn take_back(&self, then: &TempDir, name: &str) {
        let (from, to) = (then.path().join(name), self.path(name));
        if from.is_dir() {
            fs::remove_dir_all(&to).unwrap();
            copy_directory(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }

    fn edit(&self, change: impl FnOnce(&sled::Db)) {
        edit_engine(self.home.path(), change);
    }
}

fn append_each(store: &LogStore, indexes: std::ops::Range<u64>) {
    for index in indexes {
        store.append_now(vec![entry(index, 1, 50)]).unwrap();
    }
}

/// Opens the engine of a closed store past the guard.
fn edit_engine<T>(home: &Path, change: impl FnOnce(&sled::Db) -> T) -> T {
    let config = sled::Config::new().path(home.join("log")).segment_size(8 << 20).flush_every_ms(None);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let database = loop {
        match config.open() {
            Ok(database) => break database,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
    };
    let outcome = change(&database);
    database.flush().unwrap();
    outcome
}

fn record_key(index: u64) -> Vec<u8> {
    [&[2], &index.to_be_bytes()[..]].concat()
}

fn value_in(home: &Path, key: &[u8]) -> Vec<u8> {
    edit_engine(home, |engine| engine.get(key).unwrap().unwrap().to_vec())
}

fn flip(engine: &sled::Db, key: &[u8], place_from_end: usize) {
    let mut value = engine.get(key).unwrap().unwrap().to_vec();
    let place = value.len() - 1 - place_from_end;
    value[place] ^= 4;
    engine.insert(key, value).unwrap();
}

const VOTE: [u8; 2] = [1, 1];
const PURGE_MARK: [u8; 2] = [1, 2];

/// What was done, and how to recognise the answer.
type Case = (&'static str, fn(&Scene), fn(&Damage) -> bool);

const CASES: [Case; 23] = [
    (
        "the tip is ahead of the log",
        |scene| scene.take_back(&scene.middle, "log"),
        |damage| matches!(damage, Damage::EntriesLost { first: 9, last: 12 }),
    ),
    (
        "the engine was emptied",
        |scene| fs::remove_dir_all(scene.path("log")).unwrap(),
        |damage| *damage == Damage::LogMissing,
    ),
    (
        "the engine's file was emptied",
        |scene| fs::File::create(scene.path("log/db")).unwrap().set_len(0).unwrap(),
        |damage| *damage == Damage::LogMissing,
    ),
    (
        "the engine holds nothing",
        |scene| scene.edit(|engine| engine.clear().unwrap()),
        |damage| *damage == Damage::LogStale,
    ),
    (
        "the vote is older",
        |scene| {
            let old = value_in(scene.early.path(), &VOTE);
            scene.edit(|engine| drop(engine.insert(VOTE, old).unwrap()));
        },
        |damage| *damage == Damage::VoteLost,
    ),
    (
        "the vote is gone",
        |scene| scene.edit(|engine| drop(engine.remove(VOTE).unwrap())),
        |damage| *damage == Damage::VoteLost,
    ),
    (
        "the vote is damaged",
        |scene| scene.edit(|engine| flip(engine, &VOTE, 0)),
        |damage| *damage == Damage::MarkDamaged,
    ),
    (
        "the purge mark is older",
        |scene| {
            let old = value_in(scene.early.path(), &PURGE_MARK);
            scene.edit(|engine| {
                engine.insert(PURGE_MARK, old).unwrap();
            });
        },
        |damage| matches!(damage, Damage::PurgeMarkLost | Damage::EntriesMissing { first: 2, last: 3 }),
    ),
    (
        "the purge mark is gone",
        |scene| scene.edit(|engine| drop(engine.remove(PURGE_MARK).unwrap())),
        |damage| matches!(damage, Damage::PurgeMarkLost | Damage::ChainBroken { index: 4 }),
    ),
    (
        "an entry is flipped",
        |scene| scene.edit(|engine| flip(engine, &record_key(7), 10)),
        |damage| *damage == Damage::EntryDamaged { index: 7 },
    ),
    (
        "a middle record is missing",
        |scene| scene.edit(|engine| drop(engine.remove(record_key(7)).unwrap())),
        |damage| *damage == Damage::EntriesMissing { first: 7, last: 7 },
    ),
    (
        "the first record is missing",
        |scene| scene.edit(|engine| drop(engine.remove(record_key(4)).unwrap())),
        |damage| *damage == Damage::EntriesMissing { first: 4, last: 4 },
    ),
    (
        "the last record is missing",
        |scene| scene.edit(|engine| drop(engine.remove(record_key(12)).unwrap())),
        |damage| *damage == Damage::EntriesLost { first: 12, last: 12 },
    ),
    (
        "a record lies under another key",
        |scene| {
            scene.edit(|engine| {
                let value = engine.get(record_key(8)).unwrap().unwrap();
                engine.insert(record_key(7), value).unwrap();
            });
        },
        |damage| *damage == Damage::EntryDamaged { index: 7 },
    ),
    (
        "a record of another history took the place of one",
        |scene| {
            let other = quick_directory();
            let store = open(other.path()).unwrap();
            store.append_now((0..7).map(|index| entry(index, 2, 50)).collect()).unwrap();
            append_each(&store, 7..8);
            store.shutdown();
            let foreign = value_in(other.path(), &record_key(7));
            scene.edit(|engine| drop(engine.insert(record_key(7), foreign).unwrap()));
        },
        |damage| *damage == Damage::ChainBroken { index: 7 },
    ),
    (
        "an unknown key appeared",
        |scene| scene.edit(|engine| drop(engine.insert([9, 9], b"what").unwrap())),
        |damage| *damage == Damage::MarkDamaged,
    ),
    (
        "the engine made a blob file",
        |scene| fs::write(scene.path("log/blobs/12345"), b"blob").unwrap(),
        |damage| *damage == Damage::EngineBlobs,
    ),
    (
        "the tip is older than the log",
        |scene| scene.take_back(&scene.early, "tip"),
        |damage| *damage == Damage::TipStale,
    ),
    (
        "the tip is missing",
        |scene| fs::remove_file(scene.path("tip")).unwrap(),
        |damage| *damage == Damage::TipMissing,
    ),
    (
        "the tip is damaged",
        |scene| fs::write(scene.path("tip"), [0xaa; 8192]).unwrap(),
        |damage| *damage == Damage::TipDamaged,
    ),
    (
        "the identity is missing",
        |scene| fs::remove_file(scene.path("identity")).unwrap(),
        |damage| *damage == Damage::IdentityMissing,
    ),
    (
        "the identity is damaged",
        |scene| {
            let mut content = fs::read(scene.path("identity")).unwrap();
            content[ENVELOPE_BYTES + 3] ^= 1;
            fs::write(scene.path("identity"), content).unwrap();
        },
        |damage| *damage == Damage::IdentityDamaged,
    ),
    (
        "the identity is an old one",
        |scene| {
            let old = fs::read(scene.path("identity")).unwrap();
            let home = directory(scene.home.path());
            let newer = Identity { details: b"newer".to_vec(), ..home.identity().unwrap() };
            home.save_identity(&newer).unwrap();
            drop(home);
            scene.live(|store| store.vote_now(b"vote 3").unwrap());
            fs::write(scene.path("identity"), old).unwrap();
        },
        |damage| *damage == Damage::IdentityStale,
    ),
];

#[test]
fn each_kind_of_loss_and_damage_is_named() {
    let pristine = Scene::new();
    for (name, harm, is_expected) in CASES {
        let scene = Scene { early: quick_directory(), middle: quick_directory(), home: quick_directory() };
        copy_directory(pristine.early.path(), scene.early.path());
        copy_directory(pristine.middle.path(), scene.middle.path());
        copy_directory(pristine.home.path(), scene.home.path());
        harm(&scene);
        for attempt in ["first", "second"] {
            let error = open_strictly(scene.home.path()).err().unwrap_or_else(|| panic!("{name}: it opened"));
            let damage = error.damage().unwrap_or_else(|| panic!("{name}: {error}"));
            assert!(is_expected(damage), "{name}, {attempt} attempt: {error}");
            let text = error.to_string();
            assert!(text.contains("quarantine") && text.contains(';'), "{name} says what to do: {text}");
        }
    }
    open_strictly(pristine.home.path()).expect("an unharmed store opens").shutdown();
}

/// Unlike the other tests, does not give a directory a new identity.
fn open_strictly(home: &Path) -> Result<LogStore, StorageError> {
    let directory =
        DataDir::open(home, directory_options(std::sync::Arc::new(slotkeeper::storage::RealDisk)))?;
    LogStore::open(&directory, log_options())
}

#[test]
fn a_directory_of_another_cluster_or_node_is_refused() {
    let home = quick_directory();
    drop(directory(home.path()));
    let options = || directory_options(std::sync::Arc::new(slotkeeper::storage::RealDisk));
    let of_cluster = |id| DataDirOptions { expected_cluster: Some(id), ..options() };
    let of_node = |id| DataDirOptions { expected_node: Some(id), ..options() };
    let refusal =
        |options| DataDir::open(home.path(), options).err().and_then(|error| error.damage().cloned());
    assert_eq!(refusal(of_cluster(Uuid::from_u128(9))), Some(Damage::OtherCluster));
    assert_eq!(refusal(of_node(NODE + 1)), Some(Damage::OtherCluster));
    assert_eq!(refusal(of_cluster(CLUSTER)), None);
    assert_eq!(refusal(of_node(NODE)), None);
}

#[test]
fn the_tip_of_another_directory_is_refused() {
    let (home, other) = (Scene::new(), quick_directory());
    let options = DataDirOptions {
        mint_incarnation: std::sync::Arc::new(|| Uuid::from_u128(0x2c)),
        ..directory_options(std::sync::Arc::new(slotkeeper::storage::RealDisk))
    };
    let stranger = DataDir::open(other.path(), options).unwrap();
    let identity =
        Identity { incarnation: stranger.incarnation(), ..directory(home.home.path()).identity().unwrap() };
    stranger.save_identity(&identity).unwrap();
    fs::copy(other.path().join("tip"), home.path("tip")).unwrap();
    let error = open(home.home.path()).err().unwrap();
    assert_eq!(error.damage(), Some(&Damage::OtherCluster));
}

#[test]
fn a_directory_that_is_in_use_is_refused_and_free_again_afterwards() {
    let home = quick_directory();
    let store = open(home.path()).unwrap();
    assert!(matches!(open(home.path()), Err(StorageError::Locked { .. })));
    store.shutdown();
    let directory = directory(home.path());
    let snapshots = SnapshotStore::open(&directory).unwrap();
    drop(directory);
    assert!(matches!(open(home.path()), Err(StorageError::Locked { .. })), "snapshots hold the lock too");
    drop(snapshots);
    open(home.path()).unwrap().shutdown();
}

#[test]
fn a_snapshot_that_does_not_reach_the_log_is_a_quarantine() {
    let home = quick_directory();
    let directory = directory(home.path());
    let snapshots = SnapshotStore::open(&directory).unwrap();
    assert_eq!(snapshots.newest(None).unwrap(), None);
    assert_eq!(snapshots.newest(Some(5)).unwrap_err().damage(), Some(&Damage::SnapshotLost));
    snapshots
        .save(SnapshotId { index: 4, term: 1 }, b"meta", &|writer| writer.write_all(&b"body"[..]))
        .unwrap();
    assert_eq!(snapshots.newest(Some(5)).unwrap_err().damage(), Some(&Damage::SnapshotLost));
    assert_eq!(snapshots.newest(Some(4)).unwrap().unwrap().body, "body");
}
