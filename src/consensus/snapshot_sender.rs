//! Sending a snapshot to a peer that is too far behind for the log.
//!
//! What it promises: pieces of bounded size on a connection of their own, with the length before and the checksum
//! after, so that entries and heartbeats never wait behind it. What it must not do: retry; the engine does.
//! Tested in `tests/consensus`.

use std::time::Duration;

use tokio::time::timeout;

use super::connection::{Connection, seal_request};
use super::messages::{Reply, Request, SnapshotBegin, SnapshotEnd};
use super::peers::{CallError, Peers, Purpose, Target};
use super::types::{Snapshot, Vote};

/// Bytes of one piece.
const PIECE_BYTES: usize = 1 << 20;

/// Sends the snapshot under the leader's vote and gives the receiver's vote. Each step has `within` to finish.
pub(super) async fn send(
    peers: &Peers,
    target: &Target,
    (vote, snapshot): (Vote, Snapshot),
    within: Duration,
) -> Result<Vote, CallError> {
    let (mut connection, _) = peers.connection(target, Purpose::Snapshot).await?;
    let addresses = peers.addresses_to(target);
    let body = snapshot.snapshot.sealed;
    let begin = SnapshotBegin { vote, meta: snapshot.meta, body_bytes: body.len() as u64 };
    let mut sent =
        send_step(&mut connection, seal_request(addresses, &Request::SnapshotBegin(begin)), within).await;
    for start in (0..body.len()).step_by(PIECE_BYTES) {
        if sent.is_err() {
            break;
        }
        let piece = body.slice(start..body.len().min(start + PIECE_BYTES));
        sent =
            send_step(&mut connection, seal_request(addresses, &Request::SnapshotPiece(piece)), within).await;
    }
    let end = SnapshotEnd { body_checksum: crc32c::crc32c(&body) };
    if sent.is_ok() {
        sent = send_step(&mut connection, seal_request(addresses, &Request::SnapshotEnd(end)), within).await;
    }
    // A receiver that refuses closes early; its reason tells more than the broken connection.
    let answered = timeout(within, connection.next_reply()).await;
    let reply = match (answered, sent) {
        (Ok(Ok(reply)), _) => reply,
        (_, Err(error)) => return Err(error),
        (Ok(Err(error)), Ok(())) => return Err(error.into()),
        (Err(_), Ok(())) => return Err(CallError::Timeout(within)),
    };
    match peers.checked(target, reply)? {
        Reply::Snapshot(vote) => {
            peers.keep(target, Purpose::Snapshot, connection);
            Ok(vote)
        }
        _ => Err(CallError::Unexpected),
    }
}

async fn send_step(
    connection: &mut Connection,
    message: bytes::Bytes,
    within: Duration,
) -> Result<(), CallError> {
    match timeout(within, connection.send(message)).await {
        Ok(sent) => Ok(sent?),
        Err(_) => Err(CallError::Timeout(within)),
    }
}
