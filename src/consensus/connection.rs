//! One connection to or from a peer: length-prefixed, sealed messages in order.
//!
//! What it promises: a message is whole, checksummed and of bounded length, or the connection is at an end; a
//! connection that still owes answers is never mistaken for a quiet one. What it must not do: know what is said.
//! Tested below.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::messages::{ANSWER_FORMAT, Addresses, Envelope, REQUEST_FORMAT, Reply, Request};
use super::transport::BoxedStream;
use crate::codec::{self, CodecError};

/// Bytes of one message: a full batch of entries or one piece of a snapshot, with room.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Bytes that may wait in the write buffer before a writer has to wait.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

pub(super) type Frames = Framed<BoxedStream, LengthDelimitedCodec>;

/// Why a connection is at an end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum ConnectionError {
    /// The other side has closed it.
    #[error("the connection was closed")]
    Closed,
    /// It broke, or a message was longer than allowed.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// A message can not be read.
    #[error("a message can not be read: {0}")]
    Unreadable(CodecError),
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A connection, from either side.
pub(super) struct Connection {
    pub(super) frames: Frames,
    /// Answers that the other side still owes to requests that nobody waits for any more.
    pub(super) owed_answers: usize,
}

impl Connection {
    pub(super) fn new(stream: BoxedStream) -> Self {
        let codec = LengthDelimitedCodec::builder()
            .little_endian()
            .length_field_type::<u32>()
            .max_frame_length(MESSAGE_BYTES_MAX)
            .new_codec();
        let mut frames = Framed::new(stream, codec);
        frames.set_backpressure_boundary(WRITE_BUFFER_BYTES);
        Self { frames, owed_answers: 0 }
    }

    pub(super) async fn send(&mut self, message: Bytes) -> Result<(), ConnectionError> {
        Ok(self.frames.send(message).await?)
    }

    /// The next request; `None` when the other side has closed.
    pub(super) async fn next_request(&mut self) -> Result<Option<Envelope<Request>>, ConnectionError> {
        match self.frames.next().await {
            None => Ok(None),
            Some(message) => open_request(&message?).map(Some),
        }
    }

    /// The next answer.
    pub(super) async fn next_reply(&mut self) -> Result<Reply, ConnectionError> {
        open_reply(&self.frames.next().await.ok_or(ConnectionError::Closed)??)
    }

    /// Whether the connection can carry a new request: neither closed nor with something unexpected to read.
    pub(super) fn is_usable(&mut self) -> bool {
        while self.owed_answers > 0 {
            match self.frames.next().now_or_never() {
                Some(Some(Ok(_))) => self.owed_answers -= 1,
                Some(_) => return false,
                None => return true,
            }
        }
        self.frames.next().now_or_never().is_none()
    }
}

/// The bytes of a request.
pub(super) fn seal_request(addresses: Addresses, body: &Request) -> Bytes {
    seal(REQUEST_FORMAT, &Envelope { addresses, body })
}

/// The bytes of an answer.
pub(super) fn seal_reply(reply: &Reply) -> Bytes {
    seal(ANSWER_FORMAT, reply)
}

fn seal(format: codec::Format, message: &impl Serialize) -> Bytes {
    codec::seal(format, message).expect("every message has an encoded form")
}

pub(super) fn open_request(message: &BytesMut) -> Result<Envelope<Request>, ConnectionError> {
    open(REQUEST_FORMAT, message)
}

pub(super) fn open_reply(message: &BytesMut) -> Result<Reply, ConnectionError> {
    open(ANSWER_FORMAT, message)
}

fn open<T: DeserializeOwned>(format: codec::Format, message: &BytesMut) -> Result<T, ConnectionError> {
    codec::open(format, message).map_err(ConnectionError::Unreadable)
}

/// Whether these bytes are the content of a request or of an answer, for `fuzz/`. One that is must read the same after it
/// was sent on.
#[cfg(fuzzing)]
pub fn is_peer_message(content: &[u8]) -> bool {
    fn is<T: Serialize + DeserializeOwned>(format: codec::Format, content: &[u8]) -> bool {
        let read = |message: &Bytes| open::<T>(format, &BytesMut::from(&message[..]));
        let Ok(message) = read(&codec::seal_bytes(format, content)) else { return false };
        let sent = seal(format, &message);
        let again = read(&sent).expect("what was read can be sent on");
        assert_eq!(seal(format, &again), sent, "a message reads otherwise after it was sent on");
        true
    }
    is::<Envelope<Request>>(REQUEST_FORMAT, content) | is::<Reply>(ANSWER_FORMAT, content)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::consensus::messages::Endpoint;

    fn pair() -> (Connection, Connection) {
        let (left, right) = tokio::io::duplex(1 << 16);
        (Connection::new(Box::new(left)), Connection::new(Box::new(right)))
    }

    fn addresses() -> Addresses {
        let endpoint = Endpoint { node_id: 1, incarnation: uuid::Uuid::nil() };
        Addresses { cluster_id: uuid::Uuid::nil(), from: endpoint, to: endpoint }
    }

    #[tokio::test]
    async fn requests_and_answers_arrive_in_order() {
        let (mut client, mut server) = pair();
        client.send(seal_request(addresses(), &Request::Hello)).await.unwrap();
        client.send(seal_request(addresses(), &Request::Report)).await.unwrap();
        assert!(matches!(server.next_request().await.unwrap().unwrap().body, Request::Hello));
        assert!(matches!(server.next_request().await.unwrap().unwrap().body, Request::Report));
        server.send(seal_reply(&Reply::Done)).await.unwrap();
        assert!(matches!(client.next_reply().await.unwrap(), Reply::Done));
        drop(client);
        assert!(server.next_request().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_message_beyond_the_limit_ends_the_connection_unread() {
        let (mut raw, right) = tokio::io::duplex(1 << 16);
        let mut server = Connection::new(Box::new(right));
        raw.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
        assert!(matches!(server.next_request().await, Err(ConnectionError::Broken(_))));
    }

    #[tokio::test]
    async fn a_damaged_message_is_named_as_such() {
        let (mut client, mut server) = pair();
        let mut message = seal_request(addresses(), &Request::Hello).to_vec();
        let last = message.len() - 1;
        message[last] ^= 1;
        client.send(message.into()).await.unwrap();
        assert!(matches!(server.next_request().await, Err(ConnectionError::Unreadable(_))));
    }

    #[tokio::test]
    async fn a_connection_that_owes_answers_skips_them_before_it_is_used_again() {
        let (mut client, mut server) = pair();
        assert!(client.is_usable());
        client.owed_answers = 2;
        server.send(seal_reply(&Reply::Done)).await.unwrap();
        assert!(client.is_usable());
        assert_eq!(client.owed_answers, 1);
        drop(server);
        assert!(!client.is_usable());
    }
}
