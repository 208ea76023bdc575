//! The tip record: what was acknowledged last, kept beside the log engine.
//!
//! The engine cannot tell a torn tail from lost data, so after each sync of the engine, and before the
//! acknowledgement, a small record of what the engine must now hold is written and synced here. Two slots are
//! written in turn, in blocks of their own, so that a torn write harms only the older of the two. A slot is
//! 512 bytes: a sealed envelope over a length and the encoded [`Tip`], padded with zeros. What it means when log
//! and tip differ is decided in `recovery.rs`. Tested below and in `tests/storage/quarantine.rs`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::chain::ChainHash;
use super::disk::Disk;
use super::identity::Identity;
use super::{Damage, StorageError, format};
use crate::codec::{self, CodecError, ENVELOPE_BYTES};

const SLOT_BYTES: usize = 512;
const BODY_BYTES: usize = SLOT_BYTES - ENVELOPE_BYTES;
/// A physical block: two slots never share one.
const SLOT_DISTANCE_BYTES: u64 = 4096;
const FILE_BYTES: u64 = 2 * SLOT_DISTANCE_BYTES;

/// Whose tip it is; the same for the life of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TipOwner {
    cluster_id: Uuid,
    node_id: u64,
    incarnation: Uuid,
}

impl TipOwner {
    pub(super) fn of(identity: &Identity) -> TipOwner {
        TipOwner {
            cluster_id: identity.cluster_id,
            node_id: identity.node_id,
            incarnation: identity.incarnation,
        }
    }
}

/// A place in the log with the hash of everything up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) chain: ChainHash,
}

/// What the engine holds, at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct TipState {
    /// The sequence number of the last value that was written to the engine.
    pub(super) sequence: u64,
    /// The hash of the vote.
    pub(super) vote: Option<ChainHash>,
    /// The last entry, or the purge mark if nothing follows it.
    pub(super) last: Option<Position>,
    /// Up to where the log is purged.
    pub(super) purged: Option<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    /// Grows by one with each write; its parity is the slot.
    counter: u64,
    owner: TipOwner,
    /// The revision of the identity that was durable at that time.
    identity_revision: u64,
    state: TipState,
}

/// Where the tip file is and what it must agree with.
#[derive(Debug, Clone)]
pub(super) struct TipHome {
    pub(super) directory: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) owner: TipOwner,
    /// The revision of the durable identity; grows while the file is open.
    pub(super) identity_revision: Arc<AtomicU64>,
}

/// The open tip file.
#[derive(Debug)]
pub(super) struct TipFile {
    file: File,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    identity_revision: Arc<AtomicU64>,
    newest: Slot,
}

impl TipFile {
    pub(super) fn path_in(directory: &Path) -> PathBuf {
        directory.join("tip")
    }

    /// Creates the file with an empty state, durable when this returns. It gets its name when it is whole, so that a
    /// crash leaves none or one that is unused, and never one that looks damaged.
    pub(super) fn create(directory: &Path, disk: Arc<dyn Disk>, owner: TipOwner) -> Result<(), StorageError> {
        let path = TipFile::path_in(directory);
        let beside = path.with_extension("tmp");
        let failed = |operation| {
            let beside = beside.clone();
            move |error: io::Error| StorageError::io(operation, &beside, &error)
        };
        let file = File::create(&beside).map_err(failed("create"))?;
        file.set_len(FILE_BYTES).map_err(failed("extend"))?;
        let empty = Slot { counter: 1, owner, identity_revision: 0, state: TipState::default() };
        for counter in [0, 1] {
            let slot = encode_slot(&Slot { counter, ..empty });
            disk.write_at(&file, &beside, offset_of(counter), &slot).map_err(failed("write"))?;
        }
        disk.sync_data(&file, &beside).map_err(failed("sync"))?;
        disk.rename(&beside, &path).map_err(failed("rename"))?;
        super::directory::sync_directory(disk.as_ref(), directory)
    }

    /// Opens the file and reads its newest slot.
    pub(super) fn open(home: TipHome) -> Result<TipFile, StorageError> {
        let path = TipFile::path_in(&home.directory);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                StorageError::quarantine(Damage::TipMissing, path.display().to_string())
            } else {
                StorageError::io("open", &path, &error)
            }
        })?;
        let newest = read_newest(&file, &path)?;
        if newest.owner != home.owner {
            let detail =
                format!("{} names {:?}, the identity is {:?}", path.display(), newest.owner, home.owner);
            return Err(StorageError::quarantine(Damage::OtherCluster, detail));
        }
        let revision = home.identity_revision.load(Ordering::Acquire);
        if revision < newest.identity_revision {
            let detail = format!("it has revision {revision}, the tip has seen {}", newest.identity_revision);
            return Err(StorageError::quarantine(Damage::IdentityStale, detail));
        }
        Ok(TipFile { file, path, disk: home.disk, identity_revision: home.identity_revision, newest })
    }

    /// Whether the file is there and says that nothing was ever acknowledged.
    pub(super) fn is_unused(directory: &Path) -> Result<bool, StorageError> {
        let path = TipFile::path_in(directory);
        let file = File::open(&path).map_err(|error| StorageError::io("open", &path, &error))?;
        match read_newest(&file, &path) {
            Ok(newest) => Ok(newest.state == TipState::default()),
            Err(StorageError::Quarantine(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn counter(&self) -> u64 {
        self.newest.counter
    }

    pub(super) fn state(&self) -> &TipState {
        &self.newest.state
    }

    /// Writes the state into the older slot; durable when this returns.
    pub(super) fn write(&mut self, state: TipState) -> Result<(), StorageError> {
        let next = Slot {
            counter: self.newest.counter + 1,
            owner: self.newest.owner,
            identity_revision: self.identity_revision.load(Ordering::Acquire),
            state,
        };
        self.disk
            .write_at(&self.file, &self.path, offset_of(next.counter), &encode_slot(&next))
            .map_err(|error| StorageError::io("write", &self.path, &error))?;
        self.disk
            .sync_data(&self.file, &self.path)
            .map_err(|error| StorageError::io("sync", &self.path, &error))?;
        self.newest = next;
        Ok(())
    }
}

fn offset_of(counter: u64) -> u64 {
    counter % 2 * SLOT_DISTANCE_BYTES
}

fn encode_slot(slot: &Slot) -> Vec<u8> {
    let encoded = codec::encode(slot).expect("a slot has only plain fields");
    let length = u16::try_from(encoded.len()).expect("a slot is far shorter than 64 KiB");
    let mut body = length.to_le_bytes().to_vec();
    body.extend_from_slice(&encoded);
    assert!(body.len() <= BODY_BYTES, "the fields of a slot fit into 512 bytes");
    body.resize(BODY_BYTES, 0);
    codec::seal_bytes(format::TIP, &body).to_vec()
}

fn decode_slot(bytes: &[u8]) -> Result<Slot, CodecError> {
    let body = codec::open_bytes(format::TIP, bytes)?;
    let too_short =
        || CodecError::Truncated { found_bytes: bytes.len() as u64, expected_bytes: SLOT_BYTES as u64 };
    let (length, rest) = body.split_first_chunk::<2>().ok_or_else(too_short)?;
    let encoded = rest.get(..usize::from(u16::from_le_bytes(*length))).ok_or_else(too_short)?;
    codec::decode(encoded, BODY_BYTES)
}

/// Whether these bytes are the content of a slot, for `fuzz/`. One that is must read the same after it was written again.
#[cfg(fuzzing)]
pub fn is_tip(content: &[u8]) -> bool {
    let mut body = content.to_vec();
    body.resize(body.len().max(BODY_BYTES), 0);
    let Ok(slot) = decode_slot(&codec::seal_bytes(format::TIP, &body)) else { return false };
    assert_eq!(
        decode_slot(&encode_slot(&slot)),
        Ok(slot),
        "a slot reads otherwise after it was written again"
    );
    true
}

fn read_newest(file: &File, path: &Path) -> Result<Slot, StorageError> {
    let mut newest: Option<Slot> = None;
    let mut problems = Vec::new();
    for parity in [0, 1] {
        match read_slot(file, parity).map_err(|error| StorageError::io("read", path, &error))? {
            Ok(slot) => newest = newest.filter(|other| other.counter > slot.counter).or(Some(slot)),
            Err(error @ CodecError::NewerVersion { .. }) => {
                return Err(StorageError::OtherRelease { path: path.to_owned(), reason: error.to_string() });
            }
            Err(error) => problems.push(format!("slot {parity}: {error}")),
        }
    }
    newest.ok_or_else(|| {
        let detail = format!("{}: {}", path.display(), problems.join("; "));
        StorageError::quarantine(Damage::TipDamaged, detail)
    })
}

/// A slot whose counter belongs into the other place was misplaced and counts as damaged.
fn read_slot(file: &File, parity: u64) -> io::Result<Result<Slot, CodecError>> {
    let mut bytes = [0; SLOT_BYTES];
    match file.read_exact_at(&mut bytes, offset_of(parity)) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return Ok(Err(CodecError::Truncated { found_bytes: 0, expected_bytes: SLOT_BYTES as u64 }));
        }
        result => result?,
    }
    Ok(decode_slot(&bytes).and_then(|slot| {
        if slot.counter % 2 == parity {
            Ok(slot)
        } else {
            Err(CodecError::Malformed { reason: "the slot belongs into the other place".to_owned() })
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RealDisk;

    fn owner() -> TipOwner {
        TipOwner { cluster_id: Uuid::from_u128(1), node_id: 2, incarnation: Uuid::from_u128(3) }
    }

    fn state(sequence: u64) -> TipState {
        TipState { sequence, ..TipState::default() }
    }

    fn home(directory: &Path, identity_revision: u64) -> TipHome {
        TipHome {
            directory: directory.to_owned(),
            disk: Arc::new(RealDisk),
            owner: owner(),
            identity_revision: Arc::new(AtomicU64::new(identity_revision)),
        }
    }

    fn written(directory: &Path, states: u64) -> TipFile {
        TipFile::create(directory, Arc::new(RealDisk), owner()).unwrap();
        let mut tip = TipFile::open(home(directory, 1)).unwrap();
        for sequence in 1..=states {
            tip.write(state(sequence)).unwrap();
        }
        tip
    }

    fn reopened(directory: &Path) -> Result<u64, StorageError> {
        TipFile::open(home(directory, 1)).map(|tip| tip.state().sequence)
    }

    #[test]
    fn the_layout_of_a_slot_does_not_change() {
        let position = Position { index: 5, term: 6, chain: ChainHash([7; 16]) };
        let state =
            TipState { sequence: 4, vote: Some(ChainHash([8; 16])), last: Some(position), purged: None };
        let bytes = encode_slot(&Slot { counter: 9, owner: owner(), identity_revision: 10, state });
        assert_eq!(bytes.len(), SLOT_BYTES);
        let id = |last| [&[16][..], &[0; 15], &[last]].concat();
        let fields = [
            vec![9],
            id(1),
            vec![2],
            id(3),
            vec![10, 4, 1],
            vec![8; 16],
            vec![1, 5, 6],
            vec![7; 16],
            vec![0],
        ]
        .concat();
        assert_eq!(&bytes[ENVELOPE_BYTES..ENVELOPE_BYTES + 2], (fields.len() as u16).to_le_bytes());
        assert_eq!(&bytes[ENVELOPE_BYTES + 2..ENVELOPE_BYTES + 2 + fields.len()], fields);
    }

    #[test]
    fn the_newest_slot_is_read_and_one_bad_slot_is_survived() {
        for states in [0, 1, 2, 5, 6] {
            for parity in [0, 1] {
                let directory = tempfile::tempdir().unwrap();
                let tip = written(directory.path(), states);
                assert_eq!(reopened(directory.path()).unwrap(), states);
                tip.file.write_all_at(&[0xff], offset_of(parity) + 100).unwrap();
                let newest_is_bad = tip.counter() % 2 == parity;
                let expected = if newest_is_bad { states.saturating_sub(1) } else { states };
                assert_eq!(reopened(directory.path()).unwrap(), expected);
            }
        }
    }

    #[test]
    fn two_bad_slots_are_a_quarantine() {
        let directory = tempfile::tempdir().unwrap();
        let tip = written(directory.path(), 3);
        tip.file.set_len(100).unwrap();
        assert_eq!(reopened(directory.path()).unwrap_err().damage(), Some(&Damage::TipDamaged));
        std::fs::remove_file(TipFile::path_in(directory.path())).unwrap();
        assert_eq!(reopened(directory.path()).unwrap_err().damage(), Some(&Damage::TipMissing));
    }

    #[test]
    fn an_identity_older_than_the_tip_is_refused_and_a_newer_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let mut tip = written(directory.path(), 1);
        tip.identity_revision.store(2, Ordering::Release);
        tip.write(state(2)).unwrap();
        let damage = |revision| {
            TipFile::open(home(directory.path(), revision)).err().and_then(|error| error.damage().cloned())
        };
        assert_eq!(damage(1), Some(Damage::IdentityStale));
        assert_eq!(damage(2), None);
        assert_eq!(damage(3), None);
    }

    #[test]
    fn a_slot_in_the_wrong_place_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let tip = written(directory.path(), 3);
        let mut older = [0; SLOT_BYTES];
        tip.file.read_exact_at(&mut older, offset_of(tip.counter() + 1)).unwrap();
        tip.file.write_all_at(&older, offset_of(tip.counter())).unwrap();
        assert_eq!(reopened(directory.path()).unwrap(), 2);
    }
}
