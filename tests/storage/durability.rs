//! Nothing is acknowledged before it is durable, nothing is out of order, and nothing after an error.

use std::sync::mpsc::{TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use slotkeeper::storage::{LogOptions, LogStore, RECORD_CAP_BYTES, StorageError};

use crate::store::{
    Waiting, answer, copy_directory, directory_on, entry, log_options, open, quick_directory,
};
use crate::watched_disk::{Event, WatchedDisk, engine_sync, file_names, tip_sync, tip_write};

fn open_on(disk: &WatchedDisk, home: &std::path::Path, options: LogOptions) -> LogStore {
    LogStore::open(&directory_on(home, disk.shared()).unwrap(), options).unwrap()
}

#[test]
fn the_answer_comes_after_the_syncs_of_engine_and_tip() {
    let (home, disk) = (quick_directory(), WatchedDisk::default());
    let store = open_on(&disk, home.path(), log_options());
    disk.take_events();
    disk.hold(engine_sync());
    let noted = |text: &'static str| {
        let disk = disk.clone();
        Box::new(move |result: Result<(), StorageError>| {
            result.unwrap();
            disk.note(text);
        })
    };
    store.append(vec![entry(1, 1, 10)], noted("first"));
    disk.wait_for(&engine_sync());
    store.save_vote(Bytes::from_static(b"vote"), noted("second"));
    store.append(vec![entry(2, 1, 10)], noted("third"));
    assert_eq!(store.bounds().last, Some((2, 1)), "appended entries are readable at once");
    assert_eq!(disk.take_events(), [engine_sync()], "nothing is answered while the sync is held back");
    disk.release();
    let (done, durable) = answer();
    store.barrier(done);
    durable.recv().unwrap().unwrap();
    let note = |text: &str| Event::Note(text.to_owned());
    let events = disk.take_events();
    let (first, rest) = events.split_at(3);
    assert_eq!(first, [tip_write(), tip_sync(), note("first")]);
    assert_eq!(rest[..5], [engine_sync(), tip_write(), tip_sync(), note("second"), note("third")]);
}

#[test]
fn every_answer_under_load_follows_syncs_that_began_after_its_request() {
    let (home, disk) = (quick_directory(), WatchedDisk::default());
    let store = open_on(&disk, home.path(), log_options());
    disk.take_events();
    std::thread::scope(|scope| {
        for lane in 0..3_u64 {
            let (store, disk) = (&store, &disk);
            scope.spawn(move || {
                for number in 0..60_u64 {
                    let (name, other) = (format!("{lane}/{number}"), disk.clone());
                    disk.note(format!("asked {name}"));
                    let done = Box::new(move |result: Result<(), StorageError>| {
                        result.unwrap();
                        other.note(format!("answered {name}"));
                    });
                    match lane {
                        0 => store.append(vec![entry(number, 1, 200)], done),
                        _ => store.save_vote(Bytes::from(vec![number as u8; 8]), done),
                    }
                    if number % 7 == lane {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    store.shutdown();
    let events = disk.take_events();
    let place_of =
        |text: String| events.iter().position(|event| *event == Event::Note(text.clone())).unwrap();
    for lane in 0..3 {
        for number in 0..60 {
            let asked = place_of(format!("asked {lane}/{number}"));
            let answered = place_of(format!("answered {lane}/{number}"));
            let mut between = events[asked..answered].iter();
            for needed in [engine_sync(), tip_write(), tip_sync()] {
                assert!(
                    between.any(|event| *event == needed),
                    "{needed:?} before the answer {lane}/{number}"
                );
            }
        }
        let answers: Vec<_> = (0..60).map(|number| place_of(format!("answered {lane}/{number}"))).collect();
        assert!(answers.is_sorted(), "answers come in the order of requests");
    }
}

/// What was acknowledged when a copy of the directory was taken.
#[derive(Debug, Clone, Default, PartialEq)]
struct Acknowledged {
    vote: u8,
    last: Option<u64>,
    purged: Option<u64>,
}

#[test]
fn a_crash_at_any_disk_operation_loses_nothing_and_keeps_the_order() {
    let (home, copies, disk) = (quick_directory(), quick_directory(), WatchedDisk::default());
    let store = open_on(&disk, home.path(), LogOptions { removals_per_step: 2, ..log_options() });
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let taken = Arc::new(Mutex::new(Vec::new()));
    {
        let (home, copies) = (home.path().to_owned(), copies.path().to_owned());
        let (acknowledged, taken) = (Arc::clone(&acknowledged), Arc::clone(&taken));
        disk.look_before_each(move |event| {
            let mut taken = taken.lock().unwrap();
            copy_directory(&home, &copies.join(taken.len().to_string()));
            taken.push((event.clone(), acknowledged.lock().unwrap().clone()));
        });
    }
    let note = |change: fn(&mut Acknowledged, u64), value: u64| {
        let acknowledged = Arc::clone(&acknowledged);
        Box::new(move |result: Result<(), StorageError>| {
            result.unwrap();
            change(&mut acknowledged.lock().unwrap(), value);
        })
    };
    // A new vote directly before the entries of its term; truncations and purges of all shapes between them.
    let mut next = 0;
    for term in 1..=6_u64 {
        store.save_vote(Bytes::from(vec![term as u8]), note(|known, term| known.vote = term as u8, term));
        for size in [100, 60_000, 100] {
            store.append(vec![entry(next, term, size)], note(|known, last| known.last = Some(last), next));
            next += 1;
        }
        store.truncate_after(Some(next - 2), note(|known, last| known.last = Some(last), next - 2));
        next -= 1;
        store.append(
            (next..next + 5).map(|index| entry(index, term, 50)).collect(),
            note(|known, last| known.last = Some(last), next + 4),
        );
        next += 5;
        store.truncate_after(Some(next - 3), note(|known, last| known.last = Some(last), next - 3));
        next -= 2;
        let (index, purged_term) = if term == 4 { (next + 10, term) } else { (next - 2, term) };
        let purged = note(
            |known, purged| {
                known.purged = Some(purged);
                known.last = known.last.max(Some(purged));
            },
            index,
        );
        store.purge_through(index, purged_term, Bytes::new(), purged);
        next = next.max(index + 1);
        let (done, durable) = answer();
        store.barrier(done);
        durable.recv().unwrap().unwrap();
    }
    store.shutdown();
    let taken = taken.lock().unwrap().clone();
    assert!(taken.len() > 60, "{} copies", taken.len());
    for (number, (event, known)) in taken.into_iter().enumerate() {
        let store = open(&copies.path().join(number.to_string()))
            .unwrap_or_else(|error| panic!("crash {number} before {event:?}: {error}"));
        check_after_crash(&store, &known, &format!("crash {number} before {event:?}"));
    }
}

fn check_after_crash(store: &LogStore, known: &Acknowledged, name: &str) {
    let vote = store.vote().map_or(0, |vote| vote[0]);
    assert!(vote >= known.vote, "{name}: vote {vote} of {known:?}");
    let entries = store.entries(0, u64::MAX, None).unwrap();
    for found in &entries {
        assert!(found.term <= u64::from(vote), "{name}: entry {} is there before its vote", found.index);
        assert_eq!(*found, entry(found.index, found.term, found.payload.len()), "{name}");
    }
    let bounds = store.bounds();
    assert!(bounds.purged.as_ref().map(|purged| purged.0) >= known.purged, "{name}: {bounds:?} of {known:?}");
    // A truncation under way may have cut at most four entries that were acknowledged before it was asked for.
    let last = bounds.last.map(|last| last.0 + 4);
    assert!(last >= known.last, "{name}: {bounds:?} of {known:?}");
}

#[test]
fn after_a_failed_sync_or_write_nothing_is_acknowledged_or_tried_again() {
    for failing in [engine_sync(), tip_write(), tip_sync()] {
        let (home, disk) = (quick_directory(), WatchedDisk::default());
        let store = open_on(&disk, home.path(), log_options());
        let mut fatal = store.fatal();
        store.append_now(vec![entry(1, 1, 10)]).unwrap();
        assert_eq!(*fatal.borrow_and_update(), None);
        disk.take_events();
        disk.fail(failing.clone(), 1);
        store.append_now(vec![entry(2, 1, 10)]).unwrap();
        let error = store.append_now(vec![entry(3, 1, 10)]).unwrap_err();
        assert!(matches!(error, StorageError::Io { .. }), "{error}");
        assert_eq!(
            fatal.borrow_and_update().clone(),
            Some(error.clone()),
            "the fatal channel names the error"
        );
        // The disk is well again, but the kernel may have dropped what it could not write.
        disk.fail(failing.clone(), usize::MAX);
        assert_eq!(store.append_now(vec![entry(4, 1, 10)]), Err(error.clone()));
        assert_eq!(store.vote_now(b"vote"), Err(error.clone()));
        assert_eq!(store.truncate_now(None), Err(error.clone()));
        assert_eq!(store.purge_now(1, 1), Err(error.clone()));
        assert_eq!(store.entries(0, 10, None), Err(error.clone()));
        store.shutdown();
        let tries = disk.take_events().iter().filter(|event| **event == failing).count();
        assert_eq!(tries, 2, "the failed operation is not tried again: {failing:?}");
        let copy = quick_directory();
        copy_directory(home.path(), copy.path());
        assert!(open(copy.path()).unwrap().bounds().last >= Some((2, 1)));
    }
}

#[test]
fn a_sync_that_hangs_is_fatal_and_its_late_success_acknowledges_nothing() {
    let (home, disk) = (quick_directory(), WatchedDisk::default());
    let options = LogOptions { sync_limit: Duration::from_millis(100), ..log_options() };
    let store = open_on(&disk, home.path(), options);
    disk.take_events();
    disk.hold(engine_sync());
    let (done, under_way) = answer();
    store.append(vec![entry(1, 1, 10)], done);
    disk.wait_for(&engine_sync());
    let (done, queued) = answer();
    store.append(vec![entry(2, 1, 10)], done);
    let expected = Err(StorageError::SyncTooSlow { limit_ms: 100 });
    assert_eq!(under_way.recv_timeout(Duration::from_secs(20)).unwrap(), expected);
    assert_eq!(queued.recv_timeout(Duration::from_secs(20)).unwrap(), expected);
    assert_eq!(store.fatal().borrow().clone().map(Err), Some(expected.clone()));
    disk.release();
    assert_eq!(store.append_now(vec![entry(3, 1, 10)]), expected);
    store.shutdown();
    assert_eq!(under_way.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn the_fatal_channel_wakes_who_waits_on_it() {
    let (home, disk) = (quick_directory(), WatchedDisk::default());
    let store = open_on(&disk, home.path(), log_options());
    let mut fatal = store.fatal();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    disk.fail(tip_sync(), 0);
    store.append(vec![entry(1, 1, 10)], Box::new(drop));
    let error = runtime.block_on(async { fatal.wait_for(Option::is_some).await.unwrap().clone() });
    assert!(matches!(error, Some(StorageError::Io { .. })));
}

#[test]
fn no_value_exceeds_the_cap_and_the_engine_makes_no_blob_files() {
    let home = quick_directory();
    let store = open(home.path()).unwrap();
    let sizes = [RECORD_CAP_BYTES - 48, RECORD_CAP_BYTES, 1 << 20, 100, RECORD_CAP_BYTES / 2 + 1];
    let mut next = 1;
    for round in 0..40 {
        let entries: Vec<_> = (next..).zip(sizes).map(|(index, size)| entry(index, 1, size)).collect();
        next += entries.len() as u64;
        store.append_now(entries).unwrap();
        if round % 5 == 4 {
            store.purge_now(next - 12, 1).unwrap();
        }
        assert_eq!(file_names(&home.path().join("log/blobs")), [""; 0]);
    }
    let (sender, receiver) = channel();
    store.barrier(Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv().unwrap().unwrap();
    store.shutdown();
    let engine = loop {
        // The engine lets go of its file a moment after the store is closed.
        if let Ok(engine) = sled::Config::new().path(home.path().join("log")).segment_size(8 << 20).open() {
            break engine;
        }
    };
    let largest = engine.iter().map(|pair| pair.unwrap().1.len()).max().unwrap();
    assert!(largest <= RECORD_CAP_BYTES + 128, "{largest} bytes");
    assert!(largest > RECORD_CAP_BYTES, "the largest chunk is as large as allowed");
}

#[test]
fn a_hint_rides_in_the_next_write_without_a_sync_of_its_own() {
    let (home, disk) = (quick_directory(), WatchedDisk::default());
    let store = open_on(&disk, home.path(), log_options());
    disk.take_events();
    store.save_committed(Bytes::from_static(b"hint"));
    assert_eq!(disk.take_events(), []);
    store.append_now(vec![entry(1, 1, 10)]).unwrap();
    store.save_committed(Bytes::from_static(b"never written"));
    let copy = quick_directory();
    copy_directory(home.path(), copy.path());
    assert_eq!(open(copy.path()).unwrap().committed().unwrap(), "hint");
    assert_eq!(store.committed().unwrap(), "never written");
}
