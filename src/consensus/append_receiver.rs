//! Receiving a stream of entries or heartbeats and handing it to the engine.
//!
//! What it promises: requests reach the engine in order and answers go back in order, many under way at once; after a
//! conflict or a higher vote that answer is sent and the stream ends, as the sender expects. What it must not do: let
//! a stream change its sender. Tested through `tests/consensus`.

use std::pin::pin;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use openraft::raft::AppendEntriesRequest;
use tokio::sync::oneshot;

use super::connection::{Connection, ConnectionError, open_request, seal_reply};
use super::messages::{Addresses, AppendReply, Envelope, Reply, Request};
use super::server::Server;
use super::types::{Raft, TypeConfig};

/// Answers that are sent together if they are ready together.
const BATCH_MAX: usize = 64;

/// Serves the stream that `first` has opened until it ends.
pub(super) async fn serve(
    server: Arc<Server>,
    raft: &Raft,
    connection: Connection,
    (addresses, first): (Addresses, AppendEntriesRequest<TypeConfig>),
) -> Result<(), ConnectionError> {
    let (mut answers, requests) = connection.frames.split();
    let following = requests.scan((), move |(), message| {
        let message = message.inspect_err(|error| tracing::debug!(%error, "a stream of entries broke")).ok();
        let next = message.and_then(|message| next_append(&addresses, &message));
        let next = next.inspect(|_| server.received().count_append());
        std::future::ready(next)
    });
    // The engine reads the input in a task of its own; it must not outlive this stream.
    let (_ended, end) = oneshot::channel::<()>();
    let input = futures::stream::once(std::future::ready(first)).chain(following).take_until(end);
    let mut batches = pin!(raft.stream_append(input).ready_chunks(BATCH_MAX));
    while let Some(batch) = batches.next().await {
        for result in batch {
            let (reply, goes_on) = match result {
                Ok(result) => (Reply::Append(AppendReply::from(result.clone())), result.is_ok()),
                Err(fatal) => (Reply::Failed(fatal.to_string()), false),
            };
            answers.feed(seal_reply(&reply)).await?;
            if !goes_on {
                return Ok(answers.flush().await?);
            }
        }
        answers.flush().await?;
    }
    Ok(())
}

fn next_append(expected: &Addresses, message: &bytes::BytesMut) -> Option<AppendEntriesRequest<TypeConfig>> {
    match open_request(message) {
        Ok(Envelope { addresses, body: Request::Append(append) }) if addresses == *expected => Some(append),
        Ok(_) => {
            tracing::warn!(from = %expected.from, "a stream of entries carried something else and is closed");
            None
        }
        Err(error) => {
            tracing::warn!(from = %expected.from, %error, "a stream of entries is closed");
            None
        }
    }
}
