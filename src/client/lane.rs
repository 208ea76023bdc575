//! One connection that carries one request after the other: what a load generator sends through.
//!
//! Promises: an exchange writes the request in one piece and gives the answer as it came, with as
//! little work as it can, so that a load generator measures the server and not itself. Must not: repeat anything, look for the leader, or understand
//! answers; programs that are not measuring use [`Client`](super::Client). After a failure the lane is of no more use.
//! Tested in `client/tests/lane.rs`.

use std::io::Write as _;
use std::ops::Range;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::error::Failure;
use super::options::normalized_address;
use crate::api::headers::IDEMPOTENCY_KEY;

/// The longest head of an answer; the API's have a few hundred bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The largest answer that is read.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Room for the next bytes of an answer.
const READ_BYTES: usize = 4 << 10;

/// One request. `target` is the path as it stands in the request line: it must be encoded already.
#[derive(Debug, Clone, Copy)]
pub struct LaneRequest<'a> {
    /// For example `POST`.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The idempotency key, if the answer is to be remembered.
    pub key: Option<&'a str>,
    /// The body, JSON or empty.
    pub body: &'a [u8],
}

/// A connection to one server.
#[derive(Debug)]
pub struct Lane {
    server: String,
    authority: String,
    stream: TcpStream,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// Where in `incoming` the body of the last answer is.
    body: Range<usize>,
}

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    head_bytes: usize,
    body_bytes: usize,
}

impl Lane {
    /// Connects to `server`, an address as [`ClientOptions`](super::ClientOptions) takes it.
    ///
    /// # Errors
    /// [`Failure::Connect`].
    pub async fn open(server: &str, limit: Duration) -> Result<Self, Failure> {
        let refused = |problem: String| Failure::Connect { server: server.to_owned(), problem };
        let address = normalized_address(server).map_err(|error| refused(error.to_string()))?;
        let authority = address.trim_start_matches("http://").to_owned();
        let stream = tokio::time::timeout(limit, TcpStream::connect(&authority))
            .await
            .map_err(|_| refused("it took too long".to_owned()))?
            .map_err(|error| refused(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| refused(error.to_string()))?;
        Ok(Self {
            server: address,
            authority,
            stream,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            body: 0..0,
        })
    }

    /// Sends `request`, reads its answer and gives its status; [`Lane::body`] has the rest.
    ///
    /// # Errors
    /// [`Failure::Timeout`] or [`Failure::Broken`]: the request may have been carried out.
    pub async fn exchange(&mut self, request: LaneRequest<'_>, limit: Duration) -> Result<u16, Failure> {
        self.body = 0..0;
        self.write_head_and_body(request);
        match tokio::time::timeout(limit, self.send_and_receive()).await {
            Err(_) => Err(Failure::Timeout { server: self.server.clone() }),
            Ok(Err(problem)) => Err(Failure::Broken { server: self.server.clone(), problem }),
            Ok(Ok(head)) => {
                self.body = head.head_bytes..head.head_bytes + head.body_bytes;
                Ok(head.status)
            }
        }
    }

    /// The body of the last answer.
    pub fn body(&self) -> &[u8] {
        &self.incoming[self.body.clone()]
    }

    fn write_head_and_body(&mut self, request: LaneRequest<'_>) {
        let LaneRequest { method, target, key, body } = request;
        let infallible = "writing to memory does not fail";
        self.outgoing.clear();
        let out = &mut self.outgoing;
        write!(out, "{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.authority).expect(infallible);
        write!(out, "content-length: {}\r\n", body.len()).expect(infallible);
        if let Some(key) = key {
            write!(out, "{IDEMPOTENCY_KEY}: {key}\r\n").expect(infallible);
        }
        if !body.is_empty() {
            out.extend_from_slice(b"content-type: application/json\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }

    async fn send_and_receive(&mut self) -> Result<Head, String> {
        self.stream.write_all(&self.outgoing).await.map_err(|error| error.to_string())?;
        self.incoming.clear();
        loop {
            if let Some(head) = read_head(&self.incoming)?
                && self.incoming.len() >= head.head_bytes + head.body_bytes
            {
                return Ok(head);
            }
            self.incoming.reserve(READ_BYTES);
            let read = self.stream.read_buf(&mut self.incoming).await.map_err(|error| error.to_string())?;
            if read == 0 {
                return Err("the server closed it".to_owned());
            }
        }
    }
}

/// The head at the beginning of `bytes`; `None` while it is not whole.
fn read_head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        let is_too_long = bytes.len() > HEAD_BYTES_MAX;
        return if is_too_long { Err("the head of the answer is too long".to_owned()) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| "the head is not text".to_owned())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| "the answer is not HTTP/1.1".to_owned())?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    match length {
        Some(body_bytes) if body_bytes <= BODY_BYTES_MAX => {
            Ok(Some(Head { status, head_bytes: end + 4, body_bytes }))
        }
        Some(_) => Err(format!("the answer has more than {BODY_BYTES_MAX} bytes")),
        None => Err("the answer does not say how long it is".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        for cut in 0..answer.len() - 2 {
            assert_eq!(read_head(&answer[..cut]), Ok(None), "after {cut} bytes");
        }
        let whole = Head { status: 201, head_bytes: answer.len() - 2, body_bytes: 2 };
        assert_eq!(read_head(answer), Ok(Some(whole)));
    }

    #[test]
    fn what_is_not_an_answer_is_refused() {
        assert!(read_head(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(read_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(read_head(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").is_err());
        assert!(read_head(&[b'a'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
