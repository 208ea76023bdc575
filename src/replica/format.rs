//! How records and whole states are written down.
//!
//! What it promises: both kinds have their own name and version, so that a record is never taken for a state; a state
//! carries its own hash and is refused if it does not decode to it. What it must not do: change either layout
//! without a new version. Golden bytes of records are tested with the types of `domain`; the envelope in `codec`.

use std::io;

use bytes::Bytes;
use serde::Serialize;

use crate::codec::{self, CodecError, Format};
use crate::domain::{FormerTimeout, KeyedCommand, Record, SettingChanges, State, StateHash};

use super::ReplicaError;

/// One entry of the log, as the leader proposes it.
pub const RECORD_FORMAT: Format = Format { magic: *b"SKrc", version: 1 };
/// The body of a snapshot. Version 1 had no changes of single settings, version 2 no former timeout, version 3 a hash over
/// remembered answers as values.
pub const STATE_FORMAT: Format = Format { magic: *b"SKst", version: 4 };

/// The bytes under which a record is proposed, stored and sent.
///
/// # Panics
/// Never: every field of a record has an encoded form.
pub fn seal(record: &Record) -> Bytes {
    codec::seal(RECORD_FORMAT, record).expect("every record has an encoded form")
}

/// How many bytes `keyed` adds to a record with many commands.
///
/// # Panics
/// Never: every field of a command has an encoded form.
pub fn command_bytes(keyed: &KeyedCommand) -> usize {
    codec::encoded_bytes(keyed).expect("every command has an encoded form")
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
    setting_changes: &'a SettingChanges,
    former_timeout: Option<FormerTimeout>,
}

/// What was written: the hash, the state, and what was encoded beside it.
type Opened = ([u8; 32], State, SettingChanges, Option<FormerTimeout>);
/// Version 2.
type OpenedTwo = ([u8; 32], State, SettingChanges);
/// Version 1.
type OpenedOne = ([u8; 32], State);

/// Writes a whole state in pieces, with `rest` after each: its bytes may be more than there is room for.
///
/// # Errors
/// Those of `writer`; also if a part of the state has no encoded form.
pub(super) fn seal_state(state: &State, writer: &mut dyn io::Write, rest: &dyn Fn()) -> io::Result<()> {
    let sealed = SealedState {
        hash: state.hash().0,
        state,
        setting_changes: state.setting_changes(),
        former_timeout: state.former_timeout(),
    };
    codec::seal_into(STATE_FORMAT, &sealed, writer, rest)
}

/// The state that `body` holds, with its indexes rebuilt.
///
/// # Errors
/// [`ReplicaError::State`] names what is wrong with the bytes; [`ReplicaError::StateHash`] says that they are whole but
/// decode to another state than the one that was written.
pub(super) fn open_state(body: &[u8]) -> Result<State, ReplicaError> {
    let (version, body) = codec::open_known(STATE_FORMAT, body).map_err(ReplicaError::State)?;
    let (hash, mut state) = decoded(version, body).map_err(ReplicaError::State)?;
    state.share_equal_values();
    state.rebuild_indexes();
    let found = if version < 4 { state.hash_over_values() } else { state.hash() };
    if found.0 != hash {
        return Err(ReplicaError::StateHash { written: StateHash(hash), found });
    }
    Ok(state)
}

/// The written hash and the state, of any version that was ever written.
fn decoded(version: u16, body: &[u8]) -> Result<([u8; 32], State), CodecError> {
    let (hash, state, setting_changes, former_timeout): Opened = match version {
        1 => {
            let (hash, state): OpenedOne = codec::decode(body, body.len())?;
            (hash, state, SettingChanges::default(), None)
        }
        2 => {
            let (hash, state, setting_changes): OpenedTwo = codec::decode(body, body.len())?;
            (hash, state, setting_changes, None)
        }
        _ => codec::decode(body, body.len())?,
    };
    Ok((hash, state.with(setting_changes, former_timeout)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Batch, ClusterId, Command, IdempotencyKey, LogicalTime, RequestKey, Revision, SessionNumber,
        SessionStart, SettingsPatch,
    };

    fn begun() -> State {
        let cluster = ClusterId(uuid::Uuid::from_u128(1 << 64));
        let mut state = State::new();
        state.apply(&Record::Begin(SessionStart { cluster, node_id: 1, at: LogicalTime(1_000) }));
        state
    }

    fn sealed(state: &State) -> Vec<u8> {
        let mut sealed = Vec::new();
        seal_state(state, &mut sealed, &|| ()).unwrap();
        sealed
    }

    fn changed(patch: SettingsPatch) -> State {
        let mut state = begun();
        let key = Some(RequestKey { key: IdempotencyKey::new("key").unwrap(), fingerprint: [1; 16] });
        let commands = vec![KeyedCommand { key, command: Command::ChangeSettings(patch) }];
        state.apply(&Record::Round(Batch { session: SessionNumber(1), at: LogicalTime(2_000), commands }));
        state
    }

    #[test]
    fn a_state_reads_back_with_the_changes_of_its_settings() {
        let state = changed(SettingsPatch { lease_grace_ms: Some(1), ..SettingsPatch::default() });
        let opened = open_state(&sealed(&state)).unwrap();
        assert_eq!(opened.setting_changes().revision_of("lease_grace"), Revision(2));
        assert_eq!(opened.hash(), state.hash());
        assert_ne!(opened.hash(), state.with(SettingChanges::default(), None).hash());
    }

    #[test]
    fn a_state_reads_back_with_the_timeout_that_was_lowered() {
        let state = changed(SettingsPatch { heartbeat_timeout_ms: Some(4_000), ..SettingsPatch::default() });
        assert_eq!(state.promised_timeout_ms(), 5_000);
        let opened = open_state(&sealed(&state)).unwrap();
        assert_eq!(opened.former_timeout(), state.former_timeout());
        assert_eq!(opened.hash(), state.hash());
        assert_ne!(opened.hash(), state.clone().with(state.setting_changes().clone(), None).hash());
    }

    #[test]
    fn a_command_adds_to_a_record_what_it_is_measured_to_add() {
        let key = Some(RequestKey { key: IdempotencyKey::new("key").unwrap(), fingerprint: [1; 16] });
        let keyed = KeyedCommand { key, command: Command::ChangeSettings(SettingsPatch::default()) };
        let sealed_with = |count| {
            let commands = vec![keyed.clone(); count];
            seal(&Record::Round(Batch { session: SessionNumber(1), at: LogicalTime(1), commands })).len()
        };
        assert_eq!(sealed_with(3) - sealed_with(0), 3 * command_bytes(&keyed));
    }

    #[test]
    fn states_of_earlier_versions_are_read() {
        let format = |version| Format { version, ..STATE_FORMAT };
        let state = begun();
        let one = codec::seal(format(1), &(state.hash_over_values().0, &state)).unwrap();
        assert_eq!(open_state(&one).unwrap().hash(), state.hash());

        let state = changed(SettingsPatch { heartbeat_timeout_ms: Some(4_000), ..SettingsPatch::default() });
        let (changes, timeout) = (state.setting_changes(), state.former_timeout());
        let without_timeout = state.clone().with(changes.clone(), None);
        let hash = without_timeout.hash_over_values().0;
        let two = codec::seal(format(2), &(hash, &state, changes)).unwrap();
        assert_eq!(open_state(&two).unwrap().hash(), without_timeout.hash());

        let hash = state.hash_over_values().0;
        assert_ne!(hash, state.hash().0, "the state remembers an answer");
        let three = codec::seal(format(3), &(hash, &state, changes, timeout)).unwrap();
        assert_eq!(open_state(&three).unwrap().hash(), state.hash());
    }
}
