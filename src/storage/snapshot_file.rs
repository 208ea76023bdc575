//! The layout of a snapshot file.
//!
//! A sealed head (cluster, index, term, the caller's meta), the body as it is, the length of the body (8 bytes, little
//! endian) and the CRC32C of everything before it (4 bytes). The length comes last so that a body of unknown length
//! can be streamed. A file is written under an unfinished name and renamed when it is whole and synced. Tested below
//! and in `tests/storage/snapshots.rs`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::directory::sync_directory;
use super::disk::Disk;
use super::{Damage, StorageError, format};
use crate::codec::{self, CodecError, ENVELOPE_BYTES};

const TRAILER_BYTES: usize = 12;

/// Whose snapshot it is and what it covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotHead {
    pub(super) cluster_id: Uuid,
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) meta: Vec<u8>,
}

/// The name under which a file is written until it is whole.
pub(super) fn unfinished_path(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

/// A file being written.
pub(super) struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: File,
    checksum: u32,
    body_checksum: u32,
    body_bytes: u64,
    published: bool,
}

impl SnapshotWriter {
    pub(super) fn create(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        head: &SnapshotHead,
    ) -> Result<SnapshotWriter, StorageError> {
        let head = codec::seal(format::SNAPSHOT, head)
            .map_err(|error| StorageError::refused(format!("the head cannot be stored: {error}")))?;
        let unfinished = unfinished_path(&path);
        let file =
            File::create_new(&unfinished).map_err(|error| StorageError::io("create", &unfinished, &error))?;
        let mut writer = SnapshotWriter {
            disk,
            path,
            file,
            checksum: 0,
            body_checksum: 0,
            body_bytes: 0,
            published: false,
        };
        writer.write(&head)?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.file
            .write_all(bytes)
            .map_err(|error| StorageError::io("write", &unfinished_path(&self.path), &error))
    }

    pub(super) fn append(&mut self, piece: &[u8]) -> Result<(), StorageError> {
        self.body_checksum = crc32c::crc32c_append(self.body_checksum, piece);
        self.body_bytes += piece.len() as u64;
        self.write(piece)
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    pub(super) fn body_checksum(&self) -> u32 {
        self.body_checksum
    }

    /// Ends the file and gives it its name; durable when this returns.
    pub(super) fn publish(mut self) -> Result<PathBuf, StorageError> {
        self.write(&self.body_bytes.to_le_bytes())?;
        self.write(&self.checksum.to_le_bytes())?;
        let unfinished = unfinished_path(&self.path);
        self.disk
            .sync_data(&self.file, &unfinished)
            .map_err(|error| StorageError::io("sync", &unfinished, &error))?;
        self.disk
            .rename(&unfinished, &self.path)
            .map_err(|error| StorageError::io("rename", &self.path, &error))?;
        self.published = true;
        let directory = self.path.parent().expect("a snapshot lies in a directory");
        sync_directory(self.disk.as_ref(), directory)?;
        Ok(self.path.clone())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.published {
            // What stays behind is removed when the store is opened next.
            let _ = self.disk.remove_file(&unfinished_path(&self.path));
        }
    }
}

/// Reads a file and checks all of it; gives head, body and the checksum of the body.
pub(super) fn read(path: &Path) -> Result<(SnapshotHead, Bytes, u32), StorageError> {
    let content = fs::read(path).map_err(|error| StorageError::io("read", path, &error))?;
    parse(content.into()).map_err(|error| match error {
        CodecError::NewerVersion { .. } | CodecError::OlderVersion { .. } => {
            StorageError::OtherRelease { path: path.to_owned(), reason: error.to_string() }
        }
        error => {
            StorageError::quarantine(Damage::SnapshotLost, format!("{} is damaged: {error}", path.display()))
        }
    })
}

fn parse(content: Bytes) -> Result<(SnapshotHead, Bytes, u32), CodecError> {
    let found_bytes = content.len() as u64;
    let truncated = |expected_bytes: u64| CodecError::Truncated { found_bytes, expected_bytes };
    let smallest_bytes = ENVELOPE_BYTES + TRAILER_BYTES;
    if content.len() < smallest_bytes {
        return Err(truncated(smallest_bytes as u64));
    }
    let head_bytes = codec::sealed_bytes(&content)
        .filter(|length| *length <= content.len() - TRAILER_BYTES)
        .ok_or_else(|| truncated(smallest_bytes as u64))?;
    let head: SnapshotHead = codec::open(format::SNAPSHOT, &content[..head_bytes])?;
    let trailer_at = content.len() - TRAILER_BYTES;
    let (length, checksum) = content[trailer_at..].split_at(8);
    let body_bytes = u64::from_le_bytes(length.try_into().expect("the trailer begins with eight bytes"));
    let checksum = u32::from_le_bytes(checksum.try_into().expect("the trailer ends with four bytes"));
    if body_bytes != (trailer_at - head_bytes) as u64 {
        return Err(truncated(((head_bytes + TRAILER_BYTES) as u64).saturating_add(body_bytes)));
    }
    let expected = crc32c::crc32c(&content[..trailer_at + 8]);
    if checksum != expected {
        return Err(CodecError::WrongChecksum { found: checksum, expected });
    }
    let body = content.slice(head_bytes..trailer_at);
    let body_checksum = crc32c::crc32c(&body);
    Ok((head, body, body_checksum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RealDisk;
    use proptest::prelude::*;

    fn head() -> SnapshotHead {
        SnapshotHead { cluster_id: Uuid::from_u128(1), index: 10, term: 3, meta: b"meta".to_vec() }
    }

    fn written(body: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snap-3-10-1");
        let mut writer = SnapshotWriter::create(Arc::new(RealDisk), path.clone(), &head()).unwrap();
        writer.append(body).unwrap();
        assert_eq!(writer.publish().unwrap(), path);
        (directory, path)
    }

    #[test]
    fn the_layout_of_a_snapshot_does_not_change() {
        let (_directory, path) = written(b"body");
        let content = fs::read(path).unwrap();
        let fields = [&[16][..], &[0; 15], &[1, 10, 3, 4], b"meta"].concat();
        let sealed = codec::seal_bytes(format::SNAPSHOT, &fields);
        let mut golden = [&sealed[..], b"body", &4_u64.to_le_bytes()].concat();
        golden.extend_from_slice(&crc32c::crc32c(&golden).to_le_bytes());
        assert_eq!(content, golden);
    }

    #[test]
    fn a_dropped_writer_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snap-3-10-1");
        let mut writer = SnapshotWriter::create(Arc::new(RealDisk), path, &head()).unwrap();
        writer.append(b"body").unwrap();
        drop(writer);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_change_of_a_byte_and_no_cut_is_accepted(
            body in prop::collection::vec(any::<u8>(), 0..100),
            place in any::<prop::sample::Index>(),
            change in 1_u8..,
        ) {
            let (_directory, path) = written(&body);
            let content = fs::read(path).unwrap();
            prop_assert_eq!(&parse(content.clone().into()).unwrap().1[..], &body[..]);
            let place = place.index(content.len());
            prop_assert!(parse(Bytes::copy_from_slice(&content[..place])).is_err());
            let mut changed = content;
            changed[place] ^= change;
            prop_assert!(parse(changed.into()).is_err());
        }
    }
}
