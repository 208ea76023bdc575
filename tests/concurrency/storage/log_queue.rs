//! The queue between the callers of the log, its writer and its watchdog, in thousands of interleavings.
//!
//! The writer here does what `src/storage/writer.rs` does, on a disk that is a list. What it promises: a caller that is
//! never answered, or a thread that is never woken, is a deadlock that the scheduler finds; every answer is held against
//! what was on the disk when it came.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use shuttle::sync::{Arc, Mutex, mpsc};
use shuttle::thread;

use super::mirror::Mirror;
use super::queue::{Queue, Queued, Request, Work};
use super::{LogEntry, StorageError};

/// Interleavings of each test.
const SCHEDULES: usize = 10_000;
const CALLERS: usize = 3;
const REQUESTS: usize = 2;

/// What every thread of one interleaving knows.
struct Scene {
    queue: Queue,
    /// Indexes of the entries that are durable.
    disk: Mutex<Vec<u64>>,
    /// The answers, as they came: the entry's index, and whether it was acknowledged.
    answers: Mutex<Vec<(u64, bool)>>,
    refused: AtomicUsize,
    has_failed: AtomicBool,
}

impl Scene {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: Queue::new(Mirror::default()),
            disk: Mutex::new(Vec::new()),
            answers: Mutex::new(Vec::new()),
            refused: AtomicUsize::new(0),
            has_failed: AtomicBool::new(false),
        })
    }

    /// Submits an entry that follows the last one, and waits until it is answered.
    fn submit(self: &Arc<Self>) {
        let (told, answer) = mpsc::channel();
        let had_failed = self.has_failed.load(Ordering::SeqCst);
        let index = Arc::new(AtomicUsize::new(0));
        let (scene, of) = (self.clone(), index.clone());
        let done = move |result: Result<(), StorageError>| {
            scene.answered(of.load(Ordering::SeqCst), had_failed, &result);
            told.send(()).unwrap();
        };
        self.queue.submit(Box::new(done), |mirror| {
            let next = mirror.bounds().last.map_or(1, |(last, _)| last + 1);
            let entry = LogEntry { index: next, term: 1, payload: Bytes::new() };
            mirror.append(std::slice::from_ref(&entry))?;
            index.store(usize::try_from(next).unwrap(), Ordering::SeqCst);
            Ok(Request::Append(vec![entry]))
        });
        answer.recv().expect("every request is answered");
    }

    fn answered(&self, index: usize, had_failed: bool, result: &Result<(), StorageError>) {
        let index = u64::try_from(index).unwrap();
        assert!(
            result.is_err() || !had_failed,
            "{index} was acknowledged although the log had failed before"
        );
        if result.is_ok() {
            assert!(
                self.disk.lock().unwrap().contains(&index),
                "{index} was acknowledged before it was durable"
            );
        }
        if let Err(error) = result
            && *error != StorageError::Closed
        {
            let known = self.queue.fatal().borrow().clone();
            assert_eq!(known.as_ref(), Some(error), "who was refused finds no reason for it");
        }
        if index == 0 {
            self.refused.fetch_add(1, Ordering::SeqCst);
        } else {
            self.answers.lock().unwrap().push((index, result.is_ok()));
        }
    }

    fn write(&self) {
        while let Some(Work { queued, .. }) = self.queue.take(false) {
            let (requests, callbacks): (Vec<_>, Vec<_>) =
                queued.into_iter().map(|Queued { request, done }| (request, done)).unzip();
            self.queue.begin(callbacks);
            for request in requests {
                let Request::Append(entries) = request else { continue };
                self.disk.lock().unwrap().extend(entries.iter().map(|entry| entry.index));
            }
            let had_failed = self.has_failed.load(Ordering::SeqCst);
            let completed = self.queue.complete(0);
            assert!(completed.is_err() || !had_failed, "a step was acknowledged after the failure");
            if let Err(error) = completed {
                return self.queue.fail(error, Vec::new());
            }
            self.queue.rest();
        }
    }

    fn acknowledged(&self) -> Vec<u64> {
        self.answers.lock().unwrap().iter().filter(|(_, is_done)| *is_done).map(|(index, _)| *index).collect()
    }
}

fn spawn(scene: &Arc<Scene>, work: impl FnOnce(&Arc<Scene>) + Send + 'static) -> thread::JoinHandle<()> {
    let scene = scene.clone();
    thread::spawn(move || work(&scene))
}

fn spawn_callers(scene: &Arc<Scene>) -> Vec<thread::JoinHandle<()>> {
    let call = |scene: &Arc<Scene>| (0..REQUESTS).for_each(|_| scene.submit());
    (0..CALLERS).map(|_| spawn(scene, call)).collect()
}

fn join(threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn everybody_is_acknowledged_in_the_order_of_the_log_before_the_store_closes() {
    let interleaving = || {
        let scene = Scene::new();
        let writer = spawn(&scene, |scene| scene.write());
        let watchdog = spawn(&scene, |scene| while scene.queue.wait_while_open(Duration::from_secs(1)) {});
        join(spawn_callers(&scene));
        scene.queue.close();
        scene.submit();
        join(vec![writer, watchdog]);
        let all: Vec<u64> = (1..=u64::try_from(CALLERS * REQUESTS).unwrap()).collect();
        assert_eq!(scene.acknowledged(), all);
        assert_eq!(scene.refused.load(Ordering::SeqCst), 1, "the request after the end");
    };
    shuttle::check_random(interleaving, SCHEDULES);
    shuttle::check_pct(interleaving, SCHEDULES, 3);
}

#[test]
fn after_a_failure_everybody_is_answered_once_and_nobody_is_acknowledged_any_more() {
    let interleaving = || {
        let scene = Scene::new();
        let writer = spawn(&scene, |scene| scene.write());
        let watchdog = spawn(&scene, |scene| {
            scene.queue.fail(StorageError::SyncTooSlow { limit_ms: 1 }, Vec::new());
            scene.has_failed.store(true, Ordering::SeqCst);
        });
        join(spawn_callers(&scene));
        join(vec![writer, watchdog]);
        scene.submit();
        let mut answered: Vec<u64> = scene.answers.lock().unwrap().iter().map(|(index, _)| *index).collect();
        let refused = scene.refused.load(Ordering::SeqCst);
        assert_eq!(answered.len() + refused, CALLERS * REQUESTS + 1);
        answered.sort_unstable();
        answered.dedup();
        assert_eq!(answered.len() + refused, CALLERS * REQUESTS + 1, "somebody was answered twice");
        assert!(scene.acknowledged().is_sorted());
        assert!(!scene.queue.wait_while_open(Duration::from_secs(1)));
    };
    shuttle::check_random(interleaving, SCHEDULES);
    shuttle::check_pct(interleaving, SCHEDULES, 3);
}
