//! Clients beside the load that look at the refusals themselves: how soon they come, and whether each says when to come again.
//! The load itself waits for its own turn on the processors that it shares with the servers; who asks now and then does not.
//!
//! Promises: they ask so seldom that they add nothing to the load, and what they count are answers with 429 or 503.
//! Must not: judge anything else.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// How many ask side by side.
const PROBERS: usize = 8;
/// Between two questions of one.
const PAUSE: Duration = Duration::from_millis(20);
/// No answer that is looked at is longer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Refusals {
    pub without_retry_after: u64,
    /// How long each took, in milliseconds.
    pub times_ms: Vec<f64>,
}

impl Refusals {
    /// Counts an answer by its head.
    fn count(&mut self, head: &str, took: Duration) {
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        if !matches!(status, Some("429" | "503")) {
            return;
        }
        self.times_ms.push(took.as_secs_f64() * 1e3);
        let tells = lines.any(|line| line.to_ascii_lowercase().starts_with("retry-after:"));
        self.without_retry_after += u64::from(!tells);
    }

    /// How many were seen.
    pub fn seen(&self) -> usize {
        self.times_ms.len()
    }

    /// The time that 99 of 100 did not take longer than, in milliseconds; 0 if none was seen.
    pub fn p99_ms(&self) -> f64 {
        let mut times = self.times_ms.clone();
        times.sort_unstable_by(f64::total_cmp);
        times.get(times.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default()
    }
}

/// Sends `request` to `address` again and again on several connections, and counts refusals, until it is dropped.
pub async fn probe(address: &str, request: &str, refusals: &Rc<RefCell<Refusals>>) {
    let all = LocalSet::new();
    for _ in 0..PROBERS {
        let (address, request, refusals) = (address.to_owned(), request.to_owned(), Rc::clone(refusals));
        all.spawn_local(async move { probe_alone(&address, &request, &refusals).await });
    }
    all.await;
}

async fn probe_alone(address: &str, request: &str, refusals: &Rc<RefCell<Refusals>>) {
    loop {
        // A connection that broke is opened again; what broke it is counted by the load.
        let _ = ask(address, request, refusals).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(address: &str, request: &str, refusals: &Rc<RefCell<Refusals>>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    loop {
        let asked = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let length = loop {
            if stream.read_buf(&mut answer).await? == 0 || answer.len() > ANSWER_BYTES_MAX {
                return Ok(());
            }
            if let Some(length) = whole_length(&answer)
                && answer.len() >= length
            {
                break length;
            }
        };
        let text = String::from_utf8_lossy(&answer[..length]);
        refusals.borrow_mut().count(text.split("\r\n\r\n").next().unwrap_or_default(), asked.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
}

/// The length of the answer that begins here, once its head is whole.
fn whole_length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Some(head + length.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Duration, Refusals, whole_length};

    #[test]
    fn a_refusal_that_does_not_say_when_to_come_again_is_counted() {
        let mut refusals = Refusals::default();
        let took = Duration::from_millis(7);
        refusals.count("HTTP/1.1 200 OK\r\ncontent-length: 0", took);
        refusals.count("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1", took);
        refusals.count("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0", took);
        assert_eq!(refusals, Refusals { without_retry_after: 1, times_ms: vec![7.0, 7.0] });
        assert_eq!(refusals.p99_ms(), 7.0);
    }

    #[test]
    fn an_answer_is_whole_with_its_body() {
        assert_eq!(whole_length(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), None);
        assert_eq!(whole_length(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), Some(43));
        assert_eq!(whole_length(b"HTTP/1.1 204 No Content\r\n\r\n"), Some(27));
    }
}
