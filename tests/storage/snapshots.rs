//! Snapshots are whole or not there, and the one before is kept until the next is safe.

use std::fs;
use std::path::Path;

use slotkeeper::storage::{Damage, SnapshotId, SnapshotStore, StorageError};

use crate::store::{directory, directory_on, quick_directory};
use crate::watched_disk::{Event, WatchedDisk, file_names};

fn id(index: u64) -> SnapshotId {
    SnapshotId { index, term: 3 }
}

fn snapshots(home: &Path) -> SnapshotStore {
    SnapshotStore::open(&directory(home)).unwrap()
}

fn names(home: &Path) -> Vec<String> {
    file_names(&home.join("snapshots"))
}

#[test]
fn the_newest_snapshot_is_read_back_after_reopening_and_two_are_kept() {
    let home = quick_directory();
    let store = snapshots(home.path());
    let body = vec![5; 700_000];
    for index in [10, 20, 30] {
        let saved = store
            .save(id(index), format!("meta {index}").as_bytes(), &|writer| writer.write_all(&body[..]))
            .unwrap();
        assert_eq!((saved.id, saved.body_bytes), (id(index), 700_000));
        assert_eq!(saved.body_checksum, crc32c::crc32c(&body));
    }
    drop(store);
    let store = snapshots(home.path());
    let newest = store.newest(Some(30)).unwrap().unwrap();
    assert_eq!((newest.id, &newest.meta[..], &newest.body[..]), (id(30), &b"meta 30"[..], &body[..]));
    assert_eq!(newest.body_checksum, crc32c::crc32c(&body));
    let listed: Vec<_> = store.list().unwrap().into_iter().map(|(id, _)| id.index).collect();
    assert_eq!(listed, [30, 20]);
}

#[test]
fn a_snapshot_that_comes_late_does_not_push_out_a_newer_one() {
    let home = quick_directory();
    let store = snapshots(home.path());
    for index in [20, 30, 10] {
        store.save(id(index), b"", &|writer| writer.write_all(&b"body"[..])).unwrap();
    }
    assert_eq!(store.newest(Some(30)).unwrap().unwrap().id, id(30));
    assert_eq!(names(home.path()), ["snap-3-20-1", "snap-3-30-2"]);
}

#[test]
fn a_received_snapshot_counts_only_with_the_announced_length_and_checksum() {
    let home = quick_directory();
    let store = snapshots(home.path());
    let receive = || {
        let mut incoming = store.receive(id(10), b"meta").unwrap();
        incoming.append(b"first ").unwrap();
        incoming.append(b"second").unwrap();
        assert_eq!(incoming.body_bytes(), 12);
        incoming
    };
    let checksum = crc32c::crc32c(b"first second");
    assert!(matches!(receive().finish(11, checksum), Err(StorageError::Refused { .. })));
    assert!(matches!(receive().finish(12, checksum + 1), Err(StorageError::Refused { .. })));
    drop(receive());
    assert_eq!(names(home.path()), [""; 0], "what was refused leaves nothing behind");
    let (one, two) = (receive(), receive());
    one.finish(12, checksum).unwrap();
    two.finish(12, checksum).unwrap();
    assert_eq!(store.newest(None).unwrap().unwrap().body, "first second");
}

#[test]
fn an_unfinished_file_is_removed_when_the_store_opens() {
    let home = quick_directory();
    let store = snapshots(home.path());
    let mut incoming = store.receive(id(10), b"meta").unwrap();
    incoming.append(b"half").unwrap();
    std::mem::forget(incoming);
    assert_eq!(names(home.path()), ["snap-3-10-1.tmp"]);
    let copy = quick_directory();
    crate::store::copy_directory(home.path(), copy.path());
    snapshots(copy.path());
    assert_eq!(names(copy.path()), [""; 0]);
}

#[test]
fn a_damaged_newest_snapshot_is_set_aside_if_the_log_reaches_the_one_before() {
    let home = quick_directory();
    let store = snapshots(home.path());
    for index in [10, 20] {
        store
            .save(id(index), b"meta", &|writer| writer.write_all(format!("body {index}").as_bytes()))
            .unwrap();
    }
    let path = &store.list().unwrap()[0].1;
    let mut content = fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(path, content).unwrap();
    let error = store.newest(Some(15)).unwrap_err();
    assert_eq!(error.damage(), Some(&Damage::SnapshotLost));
    assert_eq!(names(home.path()), ["snap-3-10-1", "snap-3-20-2.damaged"], "the evidence is kept");
    assert_eq!(store.newest(Some(15)).unwrap_err().damage(), Some(&Damage::SnapshotLost));
    assert_eq!(store.newest(Some(10)).unwrap().unwrap().body, "body 10");
    store.save(id(18), b"meta", &|writer| writer.write_all(&b"body 18"[..])).unwrap();
    assert_eq!(store.newest(Some(15)).unwrap().unwrap().body, "body 18");
}

#[test]
fn a_snapshot_of_another_cluster_is_refused() {
    let (home, other) = (quick_directory(), quick_directory());
    let saved =
        snapshots(home.path()).save(id(10), b"meta", &|writer| writer.write_all(&b"body"[..])).unwrap();
    let content = fs::read(&saved.path).unwrap();
    let options = crate::store::directory_options(std::sync::Arc::new(slotkeeper::storage::RealDisk));
    let stranger = slotkeeper::storage::DataDir::open(other.path(), options).unwrap();
    stranger
        .save_identity(&slotkeeper::storage::Identity {
            cluster_id: uuid::Uuid::from_u128(0xdead),
            node_id: 1,
            incarnation: stranger.incarnation(),
            details: Vec::new(),
        })
        .unwrap();
    let foreign = SnapshotStore::open(&stranger).unwrap();
    fs::write(other.path().join("snapshots/snap-3-10-1"), content).unwrap();
    assert_eq!(foreign.newest(None).unwrap_err().damage(), Some(&Damage::OtherCluster));
}

#[test]
fn the_order_is_sync_rename_sync_of_the_directory_and_only_then_removal() {
    let (home, disk) = (quick_directory(), WatchedDisk::default());
    let store = SnapshotStore::open(&directory_on(home.path(), disk.shared()).unwrap()).unwrap();
    for index in [10, 20] {
        store.save(id(index), b"", &|writer| writer.write_all(&b"body"[..])).unwrap();
    }
    disk.take_events();
    store.save(id(30), b"", &|writer| writer.write_all(&b"body"[..])).unwrap();
    let name = |name: &str| name.to_owned();
    let expected = [
        Event::Sync(name("snap-3-30-3.tmp")),
        Event::Rename(name("snap-3-30-3")),
        Event::SyncDirectory(name("snapshots")),
        Event::Remove(name("snap-3-10-1")),
    ];
    assert_eq!(disk.take_events(), expected);
}

#[test]
fn a_large_snapshot_is_handed_to_the_disk_in_parts() {
    let (home, disk) = (quick_directory(), WatchedDisk::default());
    let store = SnapshotStore::open(&directory_on(home.path(), disk.shared()).unwrap()).unwrap();
    disk.take_events();
    let piece = vec![7; 1 << 20];
    store.save(id(10), b"", &|writer| (0..9).try_for_each(|_| writer.write_all(&piece))).unwrap();
    let unfinished = Event::Sync("snap-3-10-1.tmp".to_owned());
    let syncs = disk.take_events().iter().filter(|event| **event == unfinished).count();
    assert_eq!(syncs, 3, "9 MiB: after four, after eight, and at the end");
}

#[test]
fn a_failure_at_any_step_leaves_the_snapshot_before_usable() {
    let steps = [
        Event::Sync("snap-3-20-2.tmp".to_owned()),
        Event::Rename("snap-3-20-2".to_owned()),
        Event::SyncDirectory("snapshots".to_owned()),
    ];
    for step in steps {
        let (home, disk) = (quick_directory(), WatchedDisk::default());
        let store = SnapshotStore::open(&directory_on(home.path(), disk.shared()).unwrap()).unwrap();
        store.save(id(10), b"", &|writer| writer.write_all(&b"body 10"[..])).unwrap();
        disk.fail(step.clone(), 0);
        assert!(store.save(id(20), b"", &|writer| writer.write_all(&b"body 20"[..])).is_err(), "{step:?}");
        drop(store);
        let newest = snapshots(home.path()).newest(Some(10)).unwrap().unwrap();
        assert!(newest.body == "body 10" || newest.body == "body 20", "{step:?}");
        assert!(names(home.path()).contains(&"snap-3-10-1".to_owned()), "{step:?}");
    }
}

#[test]
fn a_body_that_can_not_be_written_is_an_error_and_leaves_nothing() {
    let home = quick_directory();
    let store = snapshots(home.path());
    assert!(matches!(
        store.save(id(10), b"", &|_| Err(std::io::Error::other("no body"))),
        Err(StorageError::Io { .. })
    ));
    assert_eq!(names(home.path()), [""; 0]);
}
