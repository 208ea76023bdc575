//! Work that would keep the serving threads too long: it goes to a thread of its own.
//!
//! What it promises: on a runtime of several threads the work runs beside everything else; on a runtime of one thread it
//! is done at once, because whoever chose that runtime wants one thing after the other, the same way each time. Work of
//! [`run`] begins with the call, also if nobody waits for its result. What it must not do: know what the work is.

use std::cell::Cell;
use std::future::{Ready, ready};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use futures::future::Either;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::clock::{Clock as _, SystemClock};

/// Resolves to the result of the work, or to an error if it panicked.
pub(crate) type Working<T> = Either<JoinHandle<T>, Ready<Result<T, JoinError>>>;

/// Begins `work`. Called from within a runtime.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Working<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Either::Right(ready(Ok(work()))),
        _ => Either::Left(spawn_blocking(work)),
    }
}

/// What the kernel takes off from the priority of work aside: it gets a tenth of the time of a thread that serves when there is
/// not enough for both, which keeps it going.
const ASIDE_NICE: i32 = 10;
/// How long work aside rests, in times of what it has worked.
const REST_PER_WORK: u32 = 3;
/// On a machine that is busy for long it goes on after this.
const REST_MAX: Duration = Duration::from_millis(5);

/// Does `work` that nobody is in a hurry for: on a thread of its own which leaves the processors to those that serve. Work over
/// a whole state takes seconds of processor time, and on a busy machine every request would wait for its turn beside it.
///
/// # Errors
/// If no thread can be started, or the work panicked.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce(&Pace) -> T + Send + 'static,
) -> io::Result<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Ok(work(&Pace { rested: None }));
    }
    let (told, done) = oneshot::channel();
    let begun = move || {
        #[cfg(target_os = "linux")]
        step_aside();
        let _ = told.send(work(&Pace { rested: Some(Cell::new(SystemClock.now())) }));
    };
    thread::Builder::new().name("aside".to_owned()).spawn(begun)?;
    done.await.map_err(io::Error::other)
}

/// Lets work aside rest now and then: the kernel lets even a thread of low priority finish its few milliseconds before those
/// that wake up meanwhile get the processor, and a request passes through many threads.
pub(crate) struct Pace {
    /// When the work went on after the last rest; `None` where nothing runs beside it.
    rested: Option<Cell<Instant>>,
}

impl Pace {
    /// Rests for some times as long as the work went on since the last rest.
    pub(crate) fn rest(&self) {
        let Some(rested) = &self.rested else { return };
        thread::sleep(rest_after(SystemClock.now().saturating_duration_since(rested.get())));
        rested.set(SystemClock.now());
    }
}

fn rest_after(worked: Duration) -> Duration {
    worked.saturating_mul(REST_PER_WORK).min(REST_MAX)
}

/// Lowers the priority of this thread; where that is not allowed, its work is done all the same.
#[cfg(target_os = "linux")]
fn step_aside() {
    let nice = rustix::process::getpriority_process(None).unwrap_or_default();
    let _ = rustix::process::setpriority_process(None, nice.saturating_add(ASIDE_NICE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn on_one_thread_the_work_is_done_before_the_call_returns() {
        let own = std::thread::current().id();
        let Either::Right(done) = run(|| std::thread::current().id()) else { panic!("it went elsewhere") };
        assert_eq!(done.await.unwrap(), own);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn on_several_threads_the_work_leaves_the_caller() {
        let own = std::thread::current().id();
        assert_ne!(run(|| std::thread::current().id()).await.unwrap(), own);
        assert_ne!(aside(|_| std::thread::current().id()).await.unwrap(), own);
    }

    #[tokio::test]
    async fn work_aside_is_done_on_the_one_thread_that_there_is() {
        let own = std::thread::current().id();
        assert_eq!(aside(|_| std::thread::current().id()).await.unwrap(), own);
    }

    #[test]
    fn a_rest_is_some_times_the_work_and_never_long() {
        assert_eq!(rest_after(Duration::from_millis(1)), Duration::from_millis(3));
        assert_eq!(rest_after(Duration::from_secs(60)), REST_MAX);
        assert_eq!(rest_after(Duration::MAX), REST_MAX);
    }

    #[tokio::test]
    async fn work_rests_only_where_something_runs_beside_it() {
        assert!(
            aside(|pace| pace.rested.is_none()).await.unwrap(),
            "virtual clocks must not wait for real ones"
        );
        let rested_later = |pace: &Pace| {
            let rested = || pace.rested.as_ref().map(Cell::get);
            let before = rested();
            pace.rest();
            rested() > before
        };
        let several = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        assert!(several.spawn(aside(rested_later)).await.unwrap().unwrap());
        several.shutdown_background();
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(flavor = "multi_thread")]
    async fn work_aside_leaves_the_processors_to_others_and_nobody_else_does() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        assert_eq!(aside(move |_| nice()).await.unwrap(), (before + ASIDE_NICE).min(19));
        assert_eq!(run(nice).await.unwrap(), before);
        assert_eq!(nice(), before);
    }
}
