//! One connection: bytes in and out, watched so that a silent client does not hold it.
//!
//! What it promises: a connection is closed when the head of a request takes too long (also when it never begins), when
//! nothing is asked for too long, and when the client takes no byte of an answer for too long; a request that is
//! being served never counts as silence. What it must not do: know what is asked.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::options::HttpOptions;
use crate::clock::Clock;

/// A moment as milliseconds since the connection began, plus one; zero is never.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn set(&self, now_ms: u64) {
        self.0.store(now_ms + 1, Ordering::Relaxed);
    }

    fn set_if_never(&self, now_ms: u64) {
        let _ = self.0.compare_exchange(0, now_ms + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn is_older_than(&self, age: Duration, now_ms: u64) -> bool {
        self.is_set() && self.age(now_ms) > age
    }

    fn age(&self, now_ms: u64) -> Duration {
        Duration::from_millis((now_ms + 1).saturating_sub(self.0.load(Ordering::Relaxed)))
    }
}

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    clock: Arc<dyn Clock>,
    began: Instant,
    /// Requests that are being served.
    in_flight: AtomicU32,
    /// Whether frames may come without a request: HTTP/2 after the first request.
    is_framed: AtomicBool,
    has_served: AtomicBool,
    /// When the head of a request began to arrive that is not whole yet.
    head_began: Moment,
    /// When a byte moved or a request ended.
    last_moved: Moment,
    /// When the connection began or a request ended.
    last_served: Moment,
    /// Since when the client takes nothing.
    write_blocked: Moment,
    /// Cancelled when the connection has to make room.
    going: CancellationToken,
    /// Cancelled when it is overdue.
    closing: CancellationToken,
}

impl Activity {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let activity = Self {
            began: clock.now(),
            clock,
            in_flight: AtomicU32::new(0),
            is_framed: AtomicBool::new(false),
            has_served: AtomicBool::new(false),
            head_began: Moment::default(),
            last_moved: Moment::default(),
            last_served: Moment::default(),
            write_blocked: Moment::default(),
            going: CancellationToken::new(),
            closing: CancellationToken::new(),
        };
        // A client that never sends a byte is slow with its first head.
        activity.head_began.set(0);
        activity.last_moved.set(0);
        activity.last_served.set(0);
        Arc::new(activity)
    }

    fn now_ms(&self) -> u64 {
        let since = self.clock.now().saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX - 1)
    }

    fn read(&self, bytes: &[u8]) {
        let now_ms = self.now_ms();
        self.last_moved.set(now_ms);
        if bytes.starts_with(b"PRI * HTTP/2.0") {
            self.is_framed.store(true, Ordering::Relaxed);
        }
        let waits_for_head = self.in_flight.load(Ordering::Relaxed) == 0
            && !(self.is_framed.load(Ordering::Relaxed) && self.has_served.load(Ordering::Relaxed));
        if waits_for_head {
            self.head_began.set_if_never(now_ms);
        }
    }

    fn wrote(&self) {
        self.write_blocked.clear();
        self.last_moved.set(self.now_ms());
    }

    /// A head is whole and its request is being served until the guard is dropped.
    pub(super) fn serve(self: &Arc<Self>) -> Serving {
        self.head_began.clear();
        self.has_served.store(true, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Serving(Arc::clone(self))
    }

    /// For how long no request has been served, if none is and no answer waits to be taken. What a client sends that is no
    /// request does not count: bytes that drip in, or pings.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        self.is_idle().then(|| self.last_served.age(self.now_ms()))
    }

    /// Whether no request is being served and no answer waits to be taken.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0 && !self.write_blocked.is_set()
    }

    /// Has the connection end as soon as no request is on it.
    pub(super) fn tell_to_go(&self) {
        self.going.cancel();
    }

    /// Has it end with what is on it.
    fn close(&self) {
        self.closing.cancel();
    }

    /// Closes the connection if it is overdue.
    pub(super) fn close_if_overdue(&self, options: &HttpOptions) {
        if let Some(reason) = self.overdue(options) {
            tracing::debug!(reason, "a connection is closed");
            self.close();
        }
    }

    /// Whether it was told to go.
    #[cfg(test)]
    pub(super) fn is_told_to_go(&self) -> bool {
        self.going.is_cancelled()
    }

    /// Whether it was closed.
    #[cfg(test)]
    pub(super) fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Resolves when it is told to go.
    pub(super) async fn told_to_go(&self) {
        self.going.cancelled().await;
    }

    /// Resolves when it is to be closed.
    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// Why the connection is to be closed now, if it is.
    fn overdue(&self, options: &HttpOptions) -> Option<&'static str> {
        let now_ms = self.now_ms();
        if self.write_blocked.is_older_than(options.write_timeout, now_ms) {
            return Some("the client takes no answer");
        }
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return None;
        }
        if self.head_began.is_older_than(options.header_timeout, now_ms) {
            return Some("the head of a request takes too long");
        }
        self.last_moved.is_older_than(options.idle_timeout, now_ms).then_some("nothing is asked")
    }
}

/// A request that is being served.
#[derive(Debug)]
pub(super) struct Serving(Arc<Activity>);

impl Drop for Serving {
    fn drop(&mut self) {
        let now_ms = self.0.now_ms();
        self.0.last_moved.set(now_ms);
        self.0.last_served.set(now_ms);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream whose bytes are noticed.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    fn noticed<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &written {
            Poll::Ready(_) => self.activity.wrote(),
            Poll::Pending => self.activity.write_blocked.set_if_never(self.activity.now_ms()),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = &buf.filled()[before..];
        if !read.is_empty() {
            self.activity.read(read);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.noticed(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.noticed(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    fn activity() -> (Arc<ManualClock>, Arc<Activity>, HttpOptions) {
        let clock = Arc::new(ManualClock::new(0));
        let activity = Activity::new(Arc::clone(&clock) as Arc<dyn Clock>);
        (clock, activity, HttpOptions::default())
    }

    #[test]
    fn a_client_that_drips_a_head_is_cut() {
        let (clock, activity, options) = activity();
        for _ in 0..5 {
            activity.read(b"G");
            clock.advance(Duration::from_millis(1_000));
        }
        assert_eq!(activity.overdue(&options), None);
        clock.advance(Duration::from_millis(500));
        assert!(activity.overdue(&options).is_some());
    }

    #[test]
    fn a_client_that_never_says_anything_is_cut() {
        let (clock, activity, options) = activity();
        clock.advance(options.header_timeout + Duration::from_millis(1));
        assert!(activity.overdue(&options).is_some());
    }

    #[test]
    fn a_request_that_is_served_is_no_silence_and_an_idle_connection_is() {
        let (clock, activity, options) = activity();
        activity.read(b"GET / HTTP/1.1\r\n\r\n");
        let serving = activity.serve();
        clock.advance(Duration::from_secs(600));
        assert_eq!(activity.overdue(&options), None);
        drop(serving);
        clock.advance(options.idle_timeout);
        assert_eq!(activity.overdue(&options), None);
        clock.advance(Duration::from_millis(1));
        assert!(activity.overdue(&options).is_some());
    }

    #[test]
    fn a_client_that_takes_no_answer_is_cut() {
        let (clock, activity, options) = activity();
        let _serving = activity.serve();
        activity.write_blocked.set_if_never(activity.now_ms());
        clock.advance(options.write_timeout + Duration::from_millis(1));
        assert!(activity.overdue(&options).is_some());
        activity.wrote();
        assert_eq!(activity.overdue(&options), None);
    }

    #[test]
    fn a_connection_is_idle_from_its_last_request_whatever_drips_in_and_not_before_its_answer_is_taken() {
        let (clock, activity, _) = activity();
        activity.read(b"GET / HTTP/1.1\r\n\r\n");
        let serving = activity.serve();
        assert_eq!(activity.idle_for(), None);
        activity.write_blocked.set_if_never(activity.now_ms());
        drop(serving);
        assert_eq!(activity.idle_for(), None, "the answer is not taken yet");
        activity.wrote();
        clock.advance(Duration::from_secs(2));
        activity.read(b"G");
        assert_eq!(activity.idle_for(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn pings_of_an_idle_http2_connection_are_no_slow_head() {
        let (clock, activity, options) = activity();
        activity.read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        drop(activity.serve());
        activity.read(b"ping");
        clock.advance(options.header_timeout + Duration::from_secs(1));
        assert_eq!(activity.overdue(&options), None);
    }
}
