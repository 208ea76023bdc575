//! Receiving a snapshot from the leader and handing it to the engine.
//!
//! What it promises: a snapshot is installed only whole, with the announced length and checksum, under a vote that may
//! have made it; one arrives at a time. What it must not do: touch the state before all of this holds.
//! Tested in `tests/consensus`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::connection::{Connection, ConnectionError};
use super::messages::{Addresses, Refusal, Reply, Request, SnapshotBegin, SnapshotEnd};
use super::server::Server;
use super::state_machine::SnapshotBody;
use super::types::{Raft, Snapshot};
use crate::codec::LARGEST_DECODABLE_BYTES;

/// A sender that is silent for so long has given up.
const PIECE_WITHIN: Duration = Duration::from_secs(30);

/// Receives what `begin` announces and gives the answer to it.
pub(super) async fn receive(
    server: &Server,
    raft: &Raft,
    connection: &mut Connection,
    (addresses, begin): (Addresses, SnapshotBegin),
) -> Result<Reply, ConnectionError> {
    let Ok(_slot) = server.snapshot_slot.try_acquire() else { return Ok(Reply::Refused(Refusal::Busy)) };
    if let Err(reason) = check(&begin) {
        return Ok(Reply::Failed(reason));
    }
    tracing::info!(from = %addresses.from, meta = %begin.meta, bytes = begin.body_bytes, "receiving a snapshot");
    let body = match receive_body(connection, &addresses, begin.body_bytes).await? {
        Ok(body) => body,
        Err(reason) => return Ok(Reply::Failed(reason)),
    };
    let snapshot = Snapshot { meta: begin.meta, snapshot: SnapshotBody(body) };
    Ok(match raft.install_full_snapshot(begin.vote, snapshot).await {
        Ok(response) => Reply::Snapshot(response.vote),
        Err(fatal) => Reply::Failed(fatal.to_string()),
    })
}

/// The engine ends the process over a snapshot that its own sender's vote can not have made; better not to show it one.
fn check(begin: &SnapshotBegin) -> Result<(), String> {
    if begin.body_bytes > LARGEST_DECODABLE_BYTES as u64 {
        return Err(format!("a snapshot of {} bytes is more than can be read", begin.body_bytes));
    }
    match begin.meta.last_log_id {
        Some(last) if last.leader_id.term > begin.vote.leader_id.term => {
            Err(format!("a leader of term {} has no entry of {last}", begin.vote.leader_id.term))
        }
        _ => Ok(()),
    }
}

async fn receive_body(
    connection: &mut Connection,
    expected: &Addresses,
    body_bytes: u64,
) -> Result<Result<Bytes, String>, ConnectionError> {
    let mut body = BytesMut::new();
    loop {
        let next = timeout(PIECE_WITHIN, connection.next_request()).await;
        let envelope = next.map_err(|_| ConnectionError::Closed)??.ok_or(ConnectionError::Closed)?;
        if envelope.addresses != *expected {
            return Ok(Err("the sender changed within a snapshot".to_owned()));
        }
        match envelope.body {
            Request::SnapshotPiece(piece) if (body.len() + piece.len()) as u64 <= body_bytes => {
                body.extend_from_slice(&piece);
            }
            Request::SnapshotPiece(_) => return Ok(Err("the snapshot is longer than announced".to_owned())),
            Request::SnapshotEnd(SnapshotEnd { body_checksum }) => {
                let is_whole = body.len() as u64 == body_bytes && crc32c::crc32c(&body) == body_checksum;
                let damaged = || "the snapshot arrived damaged".to_owned();
                return Ok(is_whole.then(|| body.freeze()).ok_or_else(damaged));
            }
            _ => return Ok(Err("a snapshot was interrupted by another message".to_owned())),
        }
    }
}
