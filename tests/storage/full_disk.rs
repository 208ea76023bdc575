//! A disk that is really full: writing stops with an error, and with space again nothing is missing.

use std::fs;

use slotkeeper::storage::{LogStore, StorageError};

use crate::loop_device::{self, Mounted};
use crate::script::{Script, requests_in};
use crate::store::{answer, open, quick_directory};

/// Writes until the first error; gives how many requests were acknowledged, and the error.
fn fill(store: &LogStore, seed: u64) -> (u64, StorageError) {
    let mut script = Script::new(seed);
    for acknowledged in 0.. {
        let (done, durable) = answer();
        script.next_request().submit(store, done);
        if let Err(error) = durable.recv().expect("every request is answered") {
            return (acknowledged, error);
        }
    }
    unreachable!("the disk is never full");
}

#[test]
fn a_full_disk_stops_the_store_and_with_space_again_nothing_is_missing() {
    if loop_device::is_missing() {
        return;
    }
    let room = quick_directory();
    let image = room.path().join("disk.img");
    loop_device::make_image(&image, 96 << 20).unwrap();
    let mounted = Mounted::new(&image, room.path().join("mounted")).unwrap();
    let home = mounted.point.join("data");
    let ballast = mounted.point.join("ballast");
    fs::write(&ballast, vec![0; 60 << 20]).unwrap();
    let store = open(&home).unwrap();
    let mut fatal = store.fatal();
    let (acknowledged, error) = fill(&store, 3);
    assert!(acknowledged > 100, "{acknowledged} requests before {error}");
    assert_eq!(fatal.borrow_and_update().clone(), Some(error.clone()));
    drop(store);
    fs::remove_file(&ballast).unwrap();
    // The failed store keeps the engine's file locked in this process, so a copy is opened.
    let copy = quick_directory();
    crate::store::copy_directory(&home, copy.path());
    let store = open(copy.path()).unwrap();
    assert!(requests_in(&store, 3, acknowledged, acknowledged + 1).is_some(), "{acknowledged} after {error}");
    store.shutdown();
    let full = open_on_full_disk(&mounted, copy.path());
    assert!(full.damage().is_none(), "a full disk is not damage: {full}");
}

/// Puts the files on the disk, fills it to the last byte and opens.
fn open_on_full_disk(mounted: &Mounted, from: &std::path::Path) -> StorageError {
    let home = mounted.point.join("again");
    fs::remove_dir_all(mounted.point.join("data")).unwrap();
    crate::store::copy_directory(from, &home);
    let mut ballast = fs::File::create(mounted.point.join("ballast")).unwrap();
    while std::io::Write::write_all(&mut ballast, &[0; 4096]).is_ok() {}
    let options = slotkeeper::storage::DataDirOptions {
        free_space_floor_bytes: None,
        ..crate::store::directory_options(std::sync::Arc::new(slotkeeper::storage::RealDisk))
    };
    match slotkeeper::storage::DataDir::open(&home, options) {
        Err(error @ StorageError::NoSpace { .. }) => error,
        other => panic!("a full disk is refused at the door, not with {:?}", other.err()),
    }
}
