//! The ordinary life of a store: what is acknowledged is there after it was closed and opened again.

use bytes::Bytes;
use slotkeeper::storage::{DataDir, DataDirOptions, RECORD_CAP_BYTES, SpaceState, StorageError};

use crate::store::{NODE, Waiting, answer, directory, directory_options, entry, log_options, opaque, open};
use crate::watched_disk::WatchedDisk;

#[test]
fn everything_acknowledged_is_there_after_reopening() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    assert_eq!((store.bounds().last, store.vote(), store.committed()), (None, None, None));
    store.vote_now(b"vote 1").unwrap();
    store.append_now((0..10).map(|index| entry(index, 1, 100)).collect()).unwrap();
    store.save_committed(Bytes::from_static(b"committed 8"));
    store.append_now((10..20).map(|index| entry(index, 2, 5000)).collect()).unwrap();
    store.truncate_now(Some(17)).unwrap();
    store.purge_now(4, 1).unwrap();
    store.shutdown();

    let store = open(home.path()).unwrap();
    assert_eq!(store.bounds().purged, Some((4, 1, opaque(4))));
    assert_eq!(store.bounds().last, Some((17, 2)));
    assert_eq!(store.vote().unwrap(), "vote 1");
    assert_eq!(store.committed().unwrap(), "committed 8");
    let expected: Vec<_> =
        (5..18).map(|index| if index < 10 { entry(index, 1, 100) } else { entry(index, 2, 5000) }).collect();
    assert_eq!(store.entries(0, 100, None).unwrap(), expected);
}

#[test]
fn an_entry_larger_than_a_record_survives_truncation_and_purge_around_it() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    let sizes = [10, RECORD_CAP_BYTES, 3 * RECORD_CAP_BYTES + 5, 10, 2 << 20, 10];
    let entries: Vec<_> = sizes.iter().zip(1..).map(|(size, index)| entry(index, 1, *size)).collect();
    store.append_now(entries.clone()).unwrap();
    store.shutdown();
    let store = open(home.path()).unwrap();
    assert_eq!(store.entries(0, 100, None).unwrap(), entries);
    store.truncate_now(Some(4)).unwrap();
    store.purge_now(2, 1).unwrap();
    store.append_now(vec![entry(5, 2, 100_000)]).unwrap();
    store.shutdown();
    let store = open(home.path()).unwrap();
    let expected = [entries[2].clone(), entries[3].clone(), entry(5, 2, 100_000)];
    assert_eq!(store.entries(0, 100, None).unwrap(), expected);
    store.purge_now(4, 1).unwrap();
    store.shutdown();
    assert_eq!(open(home.path()).unwrap().entries(0, 100, None).unwrap(), expected[2..]);
}

#[test]
fn a_refused_request_leaves_the_store_usable() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    store.append_now(vec![entry(1, 1, 10)]).unwrap();
    assert!(matches!(store.append_now(vec![entry(3, 1, 10)]), Err(StorageError::Refused { .. })));
    assert!(matches!(store.entries(2, 1, None), Err(StorageError::Refused { .. })));
    store.append_now(vec![entry(2, 1, 10)]).unwrap();
    assert_eq!(store.bounds().last, Some((2, 1)));
}

#[test]
fn a_closed_store_answers_that_it_is_closed() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    let other = store.clone();
    let (done, durable) = answer();
    store.append(vec![entry(1, 1, 10)], done);
    store.shutdown();
    assert_eq!(durable.recv().unwrap(), Ok(()));
    assert_eq!(other.append_now(vec![entry(2, 1, 10)]), Err(StorageError::Closed));
}

#[test]
fn a_directory_keeps_its_incarnation_and_its_identity() {
    let home = tempfile::tempdir().unwrap();
    let first = directory(home.path());
    let mut identity = first.identity().unwrap();
    assert_eq!((identity.node_id, identity.incarnation), (NODE, first.incarnation()));
    identity.details = b"bootstrapped".to_vec();
    first.save_identity(&identity).unwrap();
    let stranger = slotkeeper::storage::Identity { node_id: NODE + 1, ..identity.clone() };
    assert!(matches!(first.save_identity(&stranger), Err(StorageError::Refused { .. })));
    drop(first);
    let again = directory(home.path());
    assert_eq!(again.identity(), Some(identity));
}

#[test]
fn statistics_count_steps_and_memory() {
    let home = tempfile::tempdir().unwrap();
    let store = slotkeeper::storage::LogStore::open(&directory(home.path()), log_options()).unwrap();
    store.append_now(vec![entry(1, 1, 1000)]).unwrap();
    store.vote_now(b"vote").unwrap();
    let statistics = store.statistics();
    assert_eq!((statistics.syncs, statistics.mirror_entries, statistics.queue_length), (2, 1, 0));
    assert!(statistics.written_bytes > 1000 && statistics.mirror_bytes > 1000);
    assert!(statistics.longest_sync > std::time::Duration::ZERO);
}

#[test]
fn a_disk_below_the_floor_is_refused_at_opening_and_shows_while_open() {
    const MEBIBYTE: u64 = 1 << 20;
    let (home, disk) = (tempfile::tempdir().unwrap(), WatchedDisk::default());
    let options = || DataDirOptions { free_space_floor_bytes: None, ..directory_options(disk.shared()) };
    disk.set_free_bytes(512 * MEBIBYTE - 1);
    let refusal = DataDir::open(home.path(), options()).err();
    assert!(matches!(refusal, Some(StorageError::NoSpace { .. })), "{refusal:?}");
    disk.set_free_bytes(512 * MEBIBYTE);
    let directory = DataDir::open(home.path(), options()).unwrap();
    assert_eq!(directory.space_state(), Ok(SpaceState::Low));
    disk.set_free_bytes(1024 * MEBIBYTE);
    assert_eq!(directory.space_state(), Ok(SpaceState::Ok));
    disk.set_free_bytes(100);
    assert_eq!(directory.space_state(), Ok(SpaceState::Full));
    drop(directory);
    let lowered = DataDirOptions { free_space_floor_bytes: Some(100), ..options() };
    assert!(DataDir::open(home.path(), lowered).is_ok(), "the operator may lower the floor");
}
