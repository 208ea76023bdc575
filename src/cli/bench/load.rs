//! The load: threads of their own on which the clients run, closed loop or open loop.
//!
//! Promises: in the open loop a request is due at a fixed time and its latency counts from there, also while all clients
//! are still busy with earlier ones, so that a slow answer is not hidden by the requests that it held up; what was
//! never sent before the end is told. The threads do nothing else, and say what processor time they took. Must not:
//! repeat a request.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::caller::{Caller, Miss};
use super::fleet::Registered;
use super::leader::LeaderView;
use super::options::BenchOptions;
use super::tally::{Operation, Progress, Tally};
use super::workload::Script;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::clock::{Clock as _, SystemClock};

/// When what happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// When the first request is sent.
    pub(super) starts: Instant,
    /// Answers count from here on.
    pub(super) counts: Instant,
    /// When the last request is sent.
    pub(super) ends: Instant,
}

/// What all clients share.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) run: String,
    pub(super) options: Arc<BenchOptions>,
    pub(super) leader: LeaderView,
    pub(super) fleet: Arc<Vec<Registered>>,
    pub(super) limit: Duration,
    pub(super) window: Window,
    pub(super) progress: Arc<Progress>,
    /// Whether to end before the time.
    pub(super) stop: AtomicBool,
    /// The number of the next request.
    pub(super) tickets: AtomicU64,
}

impl Load {
    /// Runs all clients until the end and gives what they counted.
    ///
    /// # Errors
    /// If a thread can not be started.
    pub(super) async fn run(self: &Arc<Self>) -> Result<Tally, Failure> {
        let (clients, threads) = (self.options.clients, self.options.threads);
        let mut running = Vec::new();
        for thread in 0..threads {
            let own = clients * thread / threads..clients * (thread + 1) / threads;
            let (load, (told, ended)) = (Arc::clone(self), tokio::sync::oneshot::channel());
            std::thread::Builder::new()
                .name(format!("bench-{thread}"))
                // Nobody waits for it any more after Ctrl-C.
                .spawn(move || drop(told.send(run_thread(&load, own))))
                .map_err(|error| {
                    Failure::new(Exit::Unavailable, format!("no thread to send from: {error}"))
                })?;
            running.push(ended);
        }
        let mut sum = Tally::default();
        for ended in running {
            let tally = ended.await.map_err(|_| Failure::new(Exit::Bug, "a thread of the load has ended"))?;
            sum.merge(tally?);
        }
        Ok(sum)
    }

    /// Requests of the open loop that were due from the first one to the end; `None` in the closed loop.
    pub(super) fn due(&self) -> Option<u64> {
        let rate = self.options.rate?;
        let lasts = self.window.ends.saturating_duration_since(self.window.starts);
        u64::try_from((lasts.as_nanos() * u128::from(rate)).div_ceil(1_000_000_000)).ok()
    }

    /// When request `ticket` is due; in the closed loop as soon as somebody can send it.
    fn due_at(&self, ticket: u64) -> Option<Instant> {
        let rate = self.options.rate?;
        let since_ns = u128::from(ticket) * 1_000_000_000 / u128::from(rate);
        Some(self.window.starts + Duration::from_nanos(u64::try_from(since_ns).unwrap_or(u64::MAX)))
    }

    /// Counts what came of a request that was sent at `sent`, and was due at `due` in the open loop.
    fn count(
        &self,
        tally: &mut Tally,
        (operation, due, sent): (Operation, Option<Instant>, Instant),
        called: &Result<&[u8], Miss>,
    ) {
        let now = SystemClock.now();
        tally.requests += 1;
        // By the end of a request, not by when it was due: an open loop beyond the capacity is behind by ever more.
        if now < self.window.counts {
            return;
        }
        let service = now.saturating_duration_since(sent);
        match called {
            Ok(_) => {
                tally.done(operation, now.saturating_duration_since(due.unwrap_or(sent)));
                if due.is_some() {
                    tally.served(operation, service);
                }
                self.progress.done(now);
            }
            Err(miss) => {
                tally.missed(miss, service);
                self.progress.missed();
            }
        }
    }

    fn has_ended(&self, now: Instant) -> bool {
        now >= self.window.ends || self.stop.load(Ordering::Relaxed)
    }
}

fn run_thread(load: &Arc<Load>, clients: Range<u32>) -> Result<Tally, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(Exit::Unavailable, format!("no runtime to send from: {error}")))?;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let all = LocalSet::new();
    for number in clients {
        all.spawn_local(run_client(Arc::clone(load), number, Rc::clone(&tally)));
    }
    runtime.block_on(all);
    let mut tally = tally.take();
    tally.cpu = thread_cpu();
    Ok(tally)
}

async fn run_client(load: Arc<Load>, number: u32, tally: Rc<RefCell<Tally>>) {
    let mut caller = Caller::new(load.leader.clone(), load.limit);
    let mut script = Script::new(&load.run, number, &load.options, &load.fleet);
    let mut target = String::new();
    // A connection that can not be made now is made by the first request, which says so.
    let _ = caller.connect().await;
    tokio::time::sleep_until(load.window.starts.into()).await;
    while !load.has_ended(SystemClock.now()) {
        let ticket = load.tickets.fetch_add(1, Ordering::Relaxed);
        let due = load.due_at(ticket);
        if let Some(due) = due {
            tokio::time::sleep_until(due.min(load.window.ends).into()).await;
            if load.has_ended(SystemClock.now()) {
                return;
            }
        }
        let sent = SystemClock.now();
        script.prepare(ticket);
        let called = caller.call(script.request(ticket, &mut target)).await;
        load.count(&mut tally.borrow_mut(), (script.operation(), due, sent), &called);
        match called {
            Ok(body) => script.answered(body),
            // Who is refused stays away for as long as it is asked to, as every good client does; in the open loop the others ask
            // in its place.
            Err(miss) => {
                let again = (SystemClock.now() + miss.pause).min(load.window.ends);
                tokio::time::sleep_until(again.into()).await;
            }
        }
    }
}

/// The processor time of this thread, where the system tells it.
fn thread_cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
