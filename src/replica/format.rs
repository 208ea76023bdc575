//! How records and whole states are written down.
//!
//! What it promises: both kinds have their own name and version, so that a record is never taken for a state; a state
//! carries its own hash and is refused if it does not decode to it. What it must not do: change either layout
//! without a new version. Golden bytes of records are tested with the types of `domain`; the envelope in `codec`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Format};
use crate::domain::{Record, State, StateHash};

use super::ReplicaError;

/// One entry of the log, as the leader proposes it.
pub const RECORD_FORMAT: Format = Format { magic: *b"SKrc", version: 1 };
/// The body of a snapshot.
pub const STATE_FORMAT: Format = Format { magic: *b"SKst", version: 1 };

/// The bytes under which a record is proposed, stored and sent.
///
/// # Panics
/// Never: every field of a record has an encoded form.
pub fn seal(record: &Record) -> Bytes {
    codec::seal(RECORD_FORMAT, record).expect("every record has an encoded form")
}

/// The record that `payload` holds.
///
/// # Errors
/// [`ReplicaError::Record`] names what is wrong with the bytes.
pub fn open(payload: &[u8]) -> Result<Record, ReplicaError> {
    codec::open(RECORD_FORMAT, payload).map_err(ReplicaError::Record)
}

#[derive(Serialize)]
struct SealedState<'a> {
    hash: [u8; 32],
    state: &'a State,
}

#[derive(Deserialize)]
struct OpenedState {
    hash: [u8; 32],
    state: State,
}

/// The bytes of a whole state.
pub(super) fn seal_state(state: &State) -> Result<Bytes, ReplicaError> {
    codec::seal(STATE_FORMAT, &SealedState { hash: state.hash().0, state }).map_err(ReplicaError::State)
}

/// The state that `body` holds, with its indexes rebuilt.
///
/// # Errors
/// [`ReplicaError::State`] names what is wrong with the bytes; [`ReplicaError::StateHash`] says that they are whole but
/// decode to another state than the one that was written.
pub(super) fn open_state(body: &[u8]) -> Result<State, ReplicaError> {
    let OpenedState { hash, mut state } = codec::open(STATE_FORMAT, body).map_err(ReplicaError::State)?;
    state.rebuild_indexes();
    let found = state.hash();
    if found.0 != hash {
        return Err(ReplicaError::StateHash { written: StateHash(hash), found });
    }
    Ok(state)
}
