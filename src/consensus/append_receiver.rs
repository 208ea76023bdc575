//! Receiving a stream of entries or heartbeats and handing it to the engine.
//!
//! What it promises: requests reach the engine in order and answers go back in order, many under way at once; after a
//! conflict or a higher vote that answer is sent and the stream ends, as the sender expects; entries that no leader can send
//! never reach the engine, which would end the process over them. What it must not do: let a stream change its sender. Tested
//! below, in `tests/bad_input/peers.rs`, and through `tests/consensus`.

use std::pin::pin;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use openraft::raft::AppendEntriesRequest;
use tokio::sync::oneshot;

use super::connection::{Connection, ConnectionError, open_request, seal_reply};
use super::messages::{Addresses, AppendReply, Envelope, Reply, Request};
use super::server::Server;
use super::types::{EntryPayload, Payload, Raft, TypeConfig};
use crate::codec::sealed_bytes;

/// Answers that are sent together if they are ready together.
const BATCH_MAX: usize = 64;

/// Serves the stream that `first` has opened until it ends.
pub(super) async fn serve(
    server: Arc<Server>,
    raft: &Raft,
    mut connection: Connection,
    (addresses, first): (Addresses, AppendEntriesRequest<TypeConfig>),
) -> Result<(), ConnectionError> {
    if let Err(reason) = check(&first) {
        tracing::warn!(from = %addresses.from, reason, "a stream of entries is refused");
        return connection.send(seal_reply(&Reply::Failed(reason))).await;
    }
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
        Ok(Envelope { addresses, body: Request::Append(append) }) if addresses == *expected => {
            let checked = check(&append);
            checked
                .inspect_err(
                    |reason| tracing::warn!(from = %expected.from, reason, "a stream of entries is closed"),
                )
                .ok()
                .map(|()| append)
        }
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

/// Whether a leader can have sent this: each entry follows the one before it, in a term that can follow, and holds a whole
/// envelope. What is in the envelope is checked when it is applied.
fn check(append: &AppendEntriesRequest<TypeConfig>) -> Result<(), String> {
    let mut before = append.prev_log_id;
    for entry in &append.entries {
        let (index, term) = (entry.log_id.index, entry.log_id.leader_id.term);
        let follows = match before {
            None => index == 0,
            Some(before) => before.index.checked_add(1) == Some(index) && term >= before.leader_id.term,
        };
        if !follows || term > append.vote.leader_id.term {
            return Err(format!("no leader of {} sends {} after {before:?}", append.vote, entry.log_id));
        }
        if let EntryPayload::Normal(Payload(bytes)) = &entry.payload
            && sealed_bytes(bytes) != Some(bytes.len())
        {
            return Err(format!("{} holds {} bytes that are no record", entry.log_id, bytes.len()));
        }
        before = Some(entry.log_id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::{Format, seal_bytes};
    use crate::consensus::types::{Entry, Vote, log_id};

    fn append(before: Option<(u64, u64)>, entries: &[(u64, u64)]) -> AppendEntriesRequest<TypeConfig> {
        let record = seal_bytes(Format { magic: *b"SKrc", version: 1 }, b"record");
        let entry = |(term, index): &(u64, u64)| Entry {
            log_id: log_id(*term, *index),
            payload: EntryPayload::Normal(Payload(record.clone())),
        };
        AppendEntriesRequest {
            vote: Vote::new_committed(5, 1),
            prev_log_id: before.map(|(term, index)| log_id(term, index)),
            entries: entries.iter().map(entry).collect(),
            leader_commit: None,
        }
    }

    #[test]
    fn what_a_leader_sends_passes() {
        assert_eq!(check(&append(None, &[(1, 0), (1, 1), (4, 2), (5, 3)])), Ok(()));
        assert_eq!(check(&append(Some((4, 9)), &[(4, 10), (5, 11)])), Ok(()));
        assert_eq!(check(&append(Some((4, 9)), &[])), Ok(()));
    }

    #[test]
    fn holes_reversed_ranges_and_terms_that_can_not_be_are_refused() {
        for (before, entries) in [
            (None, &[(1, 1)][..]),
            (Some((4, 9)), &[(4, 11)]),
            (Some((4, 9)), &[(4, 10), (4, 12)]),
            (Some((4, 9)), &[(4, 11), (4, 10)]),
            (Some((4, 9)), &[(4, 9)]),
            (Some((4, 9)), &[(3, 10)]),
            (Some((4, 9)), &[(5, 10), (4, 11)]),
            (Some((4, 9)), &[(6, 10)]),
            (Some((4, u64::MAX)), &[(4, 0)]),
        ] {
            assert!(check(&append(before, entries)).is_err(), "{entries:?} after {before:?}");
        }
    }

    #[test]
    fn an_entry_that_holds_no_whole_envelope_is_refused() {
        let whole = append(Some((4, 9)), &[(4, 10)]);
        for bytes in [Bytes::new(), Bytes::from_static(b"SKrc"), Bytes::from(vec![0; 1 << 20])] {
            let mut changed = whole.clone();
            changed.entries[0].payload = EntryPayload::Normal(Payload(bytes));
            assert!(check(&changed).unwrap_err().contains("no record"));
        }
    }
}
