//! A client beside the load that looks at the refusals themselves: whether each says when to come again.
//!
//! Promises: it asks so seldom that it adds nothing to the load, and what it counts are answers with 429 or 503.
//! Must not: judge anything else.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(5);
/// No answer that is looked at is longer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusals {
    pub seen: u64,
    pub without_retry_after: u64,
}

impl Refusals {
    /// Counts an answer by its head.
    fn count(&mut self, head: &str) {
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        if !matches!(status, Some("429" | "503")) {
            return;
        }
        self.seen += 1;
        let tells = lines.any(|line| line.to_ascii_lowercase().starts_with("retry-after:"));
        self.without_retry_after += u64::from(!tells);
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            seen: self.seen + other.seen,
            without_retry_after: self.without_retry_after + other.without_retry_after,
        }
    }
}

/// Sends `request` to `address` again and again, and counts refusals, until it is dropped.
pub async fn probe(address: &str, request: &str, refusals: &Rc<Cell<Refusals>>) -> std::convert::Infallible {
    loop {
        // A connection that broke is opened again; what broke it is counted by the load.
        let _ = ask(address, request, refusals).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(address: &str, request: &str, refusals: &Rc<Cell<Refusals>>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    loop {
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
        let mut counted = refusals.get();
        counted.count(text.split("\r\n\r\n").next().unwrap_or_default());
        refusals.set(counted);
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
    use super::{Refusals, whole_length};

    #[test]
    fn a_refusal_that_does_not_say_when_to_come_again_is_counted() {
        let mut refusals = Refusals::default();
        refusals.count("HTTP/1.1 200 OK\r\ncontent-length: 0");
        refusals.count("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1");
        refusals.count("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0");
        assert_eq!(refusals, Refusals { seen: 2, without_retry_after: 1 });
    }

    #[test]
    fn an_answer_is_whole_with_its_body() {
        assert_eq!(whole_length(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), None);
        assert_eq!(whole_length(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), Some(43));
        assert_eq!(whole_length(b"HTTP/1.1 204 No Content\r\n\r\n"), Some(27));
    }
}
