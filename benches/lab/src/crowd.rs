//! Connections beside the load: idle ones, slow ones, and one tenant that asks for far more than it may have.
//!
//! Promises: a connection that the server closed is opened again, so the crowd keeps its size; what could not be opened is
//! told. Must not: count for anything itself.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

type Failed = Box<dyn Error>;

/// Connections that are opened at once; more would only meet a full backlog.
const OPENED_AT_ONCE: usize = 200;
/// A slow client sends one byte of its request in this time.
const SLOW_BYTE: Duration = Duration::from_secs(1);
/// After a connection was refused.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that are open until this is dropped.
pub struct Crowd {
    tasks: JoinSet<()>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    opened: AtomicU64,
    failed: AtomicU64,
    served: AtomicU64,
}

impl Crowd {
    /// `idle` connections that ask nothing and `slow` ones that take for ever to ask, all to one server.
    pub async fn gather(address: &str, idle: usize, slow: usize) -> Result<Self, Failed> {
        raise_open_files((idle + slow + 1_000) as u64)?;
        let mut crowd = Self { tasks: JoinSet::new(), counts: Arc::default() };
        for number in 0..idle + slow {
            let (address, counts) = (address.to_owned(), crowd.counts.clone());
            crowd.tasks.spawn(async move { stay(&address, number < idle, &counts).await });
            if number % OPENED_AT_ONCE == OPENED_AT_ONCE - 1 {
                crowd.wait_until_opened(number + 1).await;
            }
        }
        crowd.wait_until_opened(idle + slow).await;
        Ok(crowd)
    }

    /// A tenant that sends this request again and again on each of its connections, whatever the answer is.
    pub fn greedy(address: &str, request: &str, connections: usize) -> Self {
        let mut crowd = Self { tasks: JoinSet::new(), counts: Arc::default() };
        for _ in 0..connections {
            let (address, request, counts) = (address.to_owned(), request.to_owned(), crowd.counts.clone());
            crowd.tasks.spawn(async move { ask_for_ever(&address, &request, &counts).await });
        }
        crowd
    }

    /// Waits until so many connections were opened or could not be.
    async fn wait_until_opened(&self, count: usize) {
        let count = count as u64;
        while self.counts.opened.load(Ordering::Relaxed) + self.counts.failed.load(Ordering::Relaxed) < count
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Connections that could not be opened.
    pub fn failed(&self) -> u64 {
        self.counts.failed.load(Ordering::Relaxed)
    }

    /// Answers that a greedy tenant got.
    pub fn served(&self) -> u64 {
        self.counts.served.load(Ordering::Relaxed)
    }
}

fn raise_open_files(wanted: u64) -> Result<(), Failed> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return Err(format!("the crowd needs {wanted} open files (ulimit -Hn)").into());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })?)
}

/// One connection, opened again when it is closed.
async fn stay(address: &str, is_idle: bool, counts: &Counts) {
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            counts.failed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        counts.opened.fetch_add(1, Ordering::Relaxed);
        let mut nothing = [0];
        if is_idle {
            // Ends when the server closes.
            let _ = stream.read(&mut nothing).await;
            continue;
        }
        for byte in b"GET /v1/cluster HTTP/1.1\r\nhost: slow\r\nx-slow: ".iter().chain([b'a'].iter().cycle())
        {
            tokio::time::sleep(SLOW_BYTE).await;
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    }
}

async fn ask_for_ever(address: &str, request: &str, counts: &Counts) {
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut answer = vec![0; 16 << 10];
        // An answer to such a request is small and comes in one piece.
        while stream.write_all(request.as_bytes()).await.is_ok() {
            match stream.read(&mut answer).await {
                Ok(length) if length > 0 => counts.served.fetch_add(1, Ordering::Relaxed),
                _ => break,
            };
        }
    }
}
