//! Who a data directory belongs to, and the one life it has.
//!
//! An incarnation is minted when a directory is first used and never changes: a copy or a wiped and refilled
//! directory can be told from the original. The identity follows when the node has joined a cluster; it contains
//! the incarnation and replaces its file. Both files are sealed and replaced as a whole. Each saved identity has the
//! next revision, which the tip record repeats, so that an old file in the place of a newer one is noticed. This
//! module only reads and writes them; what a mismatch means is decided in `directory.rs` and `log.rs`. Tested below
//! and in `tests/storage/`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::disk::Disk;
use super::{Damage, StorageError, atomic_file, format};
use crate::codec::{self, CodecError};

/// Who a data directory belongs to. Only `details` may change once it is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster; a restored cluster has a new one.
    pub cluster_id: Uuid,
    /// The node's id in consensus; never used again for another directory.
    pub node_id: u64,
    /// The life of the directory, see [`super::DataDir::incarnation`].
    pub incarnation: Uuid,
    /// Bytes of the caller, opaque to storage.
    pub details: Vec<u8>,
}

/// An identity as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredIdentity {
    pub(super) identity: Identity,
    /// Counts the saved identities of the directory, from 1.
    pub(super) revision: u64,
}

fn identity_path(directory: &Path) -> PathBuf {
    directory.join("identity")
}

fn incarnation_path(directory: &Path) -> PathBuf {
    directory.join("incarnation")
}

pub(super) fn read_identity(directory: &Path) -> Result<Option<StoredIdentity>, StorageError> {
    let path = identity_path(directory);
    let Some(content) = atomic_file::read(&path)? else { return Ok(None) };
    codec::open(format::IDENTITY, &content).map(Some).map_err(|error| unreadable(&path, error))
}

/// Durable when this returns. The incarnation file has served its purpose and goes.
pub(super) fn write_identity(
    disk: &dyn Disk,
    directory: &Path,
    identity: &StoredIdentity,
) -> Result<(), StorageError> {
    let sealed = codec::seal(format::IDENTITY, identity)
        .map_err(|error| StorageError::refused(format!("the identity cannot be stored: {error}")))?;
    atomic_file::replace(disk, &identity_path(directory), &sealed)?;
    let path = incarnation_path(directory);
    match disk.remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StorageError::io("remove", &path, &error))
        }
        _ => Ok(()),
    }
}

pub(super) fn read_incarnation(directory: &Path) -> Result<Option<Uuid>, StorageError> {
    let path = incarnation_path(directory);
    let Some(content) = atomic_file::read(&path)? else { return Ok(None) };
    codec::open(format::INCARNATION, &content).map(Some).map_err(|error| unreadable(&path, error))
}

pub(super) fn write_incarnation(
    disk: &dyn Disk,
    directory: &Path,
    incarnation: Uuid,
) -> Result<(), StorageError> {
    let sealed = codec::seal(format::INCARNATION, &incarnation).expect("an id always has an encoded form");
    atomic_file::replace(disk, &incarnation_path(directory), &sealed)
}

fn unreadable(path: &Path, error: CodecError) -> StorageError {
    match error {
        CodecError::NewerVersion { .. } | CodecError::OlderVersion { .. } => {
            StorageError::OtherRelease { path: path.to_owned(), reason: error.to_string() }
        }
        error => StorageError::quarantine(Damage::IdentityDamaged, format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_of_the_identity_does_not_change() {
        let identity = Identity {
            cluster_id: Uuid::from_u128(1),
            node_id: 300,
            incarnation: Uuid::from_u128(2),
            details: vec![9],
        };
        let stored = StoredIdentity { identity, revision: 4 };
        let id = |last| [&[16][..], &[0; 15], &[last]].concat();
        let golden = [id(1), vec![251, 44, 1], id(2), vec![1, 9, 4]].concat();
        assert_eq!(codec::encode(&stored).unwrap(), golden);
    }
}
