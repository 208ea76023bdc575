//! Receiving a snapshot from the leader and handing it to the engine.
//!
//! What it promises: a snapshot reaches the engine only whole, with the announced length and checksum, under a vote that may
//! have made it, and opened: it holds the state that it names, and none from before what it would replace. The engine ends
//! the node over any other; here it is refused to its sender, and the node lives on with the state that it has. One arrives at
//! a time. What it must not do: touch the state. Tested in `tests/consensus` and `tests/bad_input/snapshots.rs`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use openraft::async_runtime::WatchReceiver;
use tokio::time::timeout;

use super::connection::{Connection, ConnectionError};
use super::messages::{Addresses, Refusal, Reply, Request, SnapshotBegin, SnapshotEnd};
use super::server::Server;
use super::state_machine::SnapshotBody;
use super::types::{LogId, Raft, Snapshot};
use crate::background;
use crate::codec::LARGEST_DECODABLE_BYTES;
use crate::domain::Revision;
use crate::replica::{PreparedState, Replica, ReplicaError};

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
    if let Err(reason) = check(&begin, committed(raft)) {
        return Ok(Reply::Failed(reason));
    }
    tracing::info!(from = %addresses.from, meta = %begin.meta, bytes = begin.body_bytes, "receiving a snapshot");
    let revision = server.replica().revision();
    let body = match receive_body(connection, &addresses, begin.body_bytes).await? {
        Ok(body) => body,
        Err(reason) => return Ok(Reply::Failed(reason)),
    };
    let prepared = match prepare(server.replica(), body.clone()).await {
        Ok(opened) => opened.and_then(|prepared| check_age(raft, &begin, revision, prepared)),
        Err(panicked) => return Ok(Reply::Failed(panicked.to_string())),
    };
    let body = match prepared {
        // The engine puts it aside, on a thread that must not free a whole state.
        Ok(prepared) if begin.meta.last_log_id <= committed(raft) => {
            drop(background::run(move || drop(prepared)));
            SnapshotBody::own(body)
        }
        Ok(prepared) => SnapshotBody::received(body, prepared),
        Err(error) => return Ok(refuse(server, &addresses, &begin, &error)),
    };
    let snapshot = Snapshot { meta: begin.meta, snapshot: body };
    Ok(match raft.install_full_snapshot(begin.vote, snapshot).await {
        Ok(response) => Reply::Snapshot(response.vote),
        Err(fatal) => Reply::Failed(fatal.to_string()),
    })
}

fn committed(raft: &Raft) -> Option<LogId> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    metrics.local_committed.max(metrics.last_applied)
}

/// The engine ends the process over a snapshot that its own sender's vote can not have made, or that contradicts what is
/// committed; better not to show it one.
fn check(begin: &SnapshotBegin, committed: Option<LogId>) -> Result<(), String> {
    if begin.body_bytes > LARGEST_DECODABLE_BYTES as u64 {
        return Err(format!("a snapshot of {} bytes is more than can be read", begin.body_bytes));
    }
    match begin.meta.last_log_id {
        Some(last) if last.leader_id.term > begin.vote.leader_id.term => {
            Err(format!("a leader of term {} has no entry of {last}", begin.vote.leader_id.term))
        }
        Some(last) if committed.is_some_and(|known| last > known && last.index <= known.index) => {
            Err(format!("{last} is not what is committed there"))
        }
        _ => Ok(()),
    }
}

/// Opens the state beside the serving threads. It is not kept twice: what is opened here is what the engine installs.
async fn prepare(
    replica: &Replica,
    body: Bytes,
) -> Result<Result<PreparedState, ReplicaError>, tokio::task::JoinError> {
    let replica = replica.clone();
    background::run(move || replica.prepare(&body)).await
}

/// A snapshot that reaches further than what is committed here can hold no state from before `revision`, which was applied
/// when the snapshot began to arrive. One that does not reach further is put aside by the engine, whatever it holds.
fn check_age(
    raft: &Raft,
    begin: &SnapshotBegin,
    revision: Revision,
    prepared: PreparedState,
) -> Result<PreparedState, ReplicaError> {
    let snapshot = prepared.revision();
    if begin.meta.last_log_id > committed(raft) && snapshot < revision {
        return Err(ReplicaError::OlderSnapshot { snapshot, current: revision });
    }
    Ok(prepared)
}

fn refuse(server: &Server, addresses: &Addresses, begin: &SnapshotBegin, error: &ReplicaError) -> Reply {
    let refusal = Refusal::UnsoundSnapshot;
    if server.is_first(addresses.from.node_id, refusal) {
        tracing::error!(
            from = %addresses.from,
            meta = %begin.meta,
            %error,
            "the leader's snapshot is refused; this node keeps its state and stays behind. If the leader runs a newer release, \
             start that here; if not, let another member lead (`slotkeeper transfer-leadership`) and replace the one that \
             sent this"
        );
    }
    Reply::Refused(refusal)
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
