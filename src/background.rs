//! Work that would keep the serving threads too long: it goes to a thread of its own.
//!
//! What it promises: on a runtime of several threads the work runs beside everything else; on a runtime of one thread it
//! is done at once, because whoever chose that runtime wants one thing after the other, the same way each time. The work
//! begins with the call, also if nobody waits for its result. What it must not do: know what the work is.

use std::future::{Ready, ready};

use futures::future::Either;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// Resolves to the result of the work, or to an error if it panicked.
pub(crate) type Working<T> = Either<JoinHandle<T>, Ready<Result<T, JoinError>>>;

/// Begins `work`. Called from within a runtime.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Working<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Either::Right(ready(Ok(work()))),
        _ => Either::Left(spawn_blocking(work)),
    }
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
    }
}
