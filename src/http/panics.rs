//! A panic while one request is served: the request fails, the process lives.
//!
//! What it promises: a panic inside the future given to [`contain`] comes back as [`Panicked`], and [`is_contained`]
//! tells a panic hook so while the panic is under way. What it must not do: cover anything that another task or thread
//! does for the request; the round loop, the log and the replica are not the request's own, and a panic there must end
//! the process. No lock that outlives a request may be held broken: the rooms behind the handlers change shared state on
//! their own tasks. Tested below and, with the hook of the server, in `tests/http/panics.rs`.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

thread_local! {
    /// Whether this thread is polling the future of a request.
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// The future of a request panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

/// Whether a panic of this thread, now, would be the failure of one request.
pub fn is_contained() -> bool {
    IS_CONTAINED.get()
}

/// Runs the future of one request. A panic in it ends this future and nothing else.
///
/// # Errors
/// [`Panicked`]; the panic hook has told where and why.
pub async fn contain<T>(serving: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut serving = pin!(serving);
    std::future::poll_fn(move |context| poll_contained(serving.as_mut(), context)).await
}

fn poll_contained<T>(
    serving: Pin<&mut impl Future<Output = T>>,
    context: &mut Context<'_>,
) -> Poll<Result<T, Panicked>> {
    let _mark = Mark { outer: IS_CONTAINED.replace(true) };
    // After a panic the future is not polled again, only dropped.
    match catch_unwind(AssertUnwindSafe(|| serving.poll(context))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    }
}

/// Puts the mark back when the poll ends in any way.
struct Mark {
    outer: bool,
}

impl Drop for Mark {
    fn drop(&mut self) {
        IS_CONTAINED.set(self.outer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_the_request_itself_does_is_contained() {
        let seen = contain(async {
            let before = is_contained();
            tokio::task::yield_now().await;
            let elsewhere = tokio::spawn(async { is_contained() }).await.unwrap();
            let on_a_thread = tokio::task::spawn_blocking(is_contained).await.unwrap();
            (before, is_contained(), elsewhere, on_a_thread)
        });
        assert_eq!(seen.await, Ok((true, true, false, false)));
        assert!(!is_contained());
    }

    #[tokio::test]
    async fn a_panic_comes_back_and_takes_the_mark_away() {
        let panicked: Result<(), _> = contain(async {
            tokio::task::yield_now().await;
            panic!("meant");
        })
        .await;
        assert_eq!(panicked, Err(Panicked));
        assert!(!is_contained());
    }
}
