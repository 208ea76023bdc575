//! The layout of a snapshot file.
//!
//! A sealed head (cluster, index, term, the caller's meta), the body as it is, the length of the body (8 bytes, little
//! endian) and the CRC32C of everything before it (4 bytes). The length comes last so that a body of unknown length
//! can be streamed. A file is written under an unfinished name and renamed when it is whole and synced. Tested below
//! and in `tests/storage/snapshots.rs`.

use std::fs::File;
use std::io::{self, Read, Write};
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
/// What is read at a time.
const PIECE_BYTES: usize = 256 << 10;
/// What is handed to the disk at a time: the syncs of the log wait behind it.
const UNSYNCED_BYTES_MAX: usize = 4 << 20;

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
    unsynced_bytes: usize,
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
            unsynced_bytes: 0,
            published: false,
        };
        writer.write(&head)?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.file
            .write_all(bytes)
            .map_err(|error| StorageError::io("write", &unfinished_path(&self.path), &error))?;
        self.unsynced_bytes += bytes.len();
        if self.unsynced_bytes >= UNSYNCED_BYTES_MAX { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.unsynced_bytes = 0;
        let unfinished = unfinished_path(&self.path);
        self.disk
            .sync_data(&self.file, &unfinished)
            .map_err(|error| StorageError::io("sync", &unfinished, &error))
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
        self.sync()?;
        let unfinished = unfinished_path(&self.path);
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

/// What a file was found to hold, all of it checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) head: SnapshotHead,
    pub(super) body_bytes: u64,
    pub(super) body_checksum: u32,
}

/// Reads a file and checks all of it.
pub(super) fn read(path: &Path) -> Result<(Found, Bytes), StorageError> {
    let mut body = Vec::new();
    let found = scan_file(path, |file_bytes, piece| {
        if body.capacity() == 0 {
            body.reserve_exact(file_bytes);
        }
        body.extend_from_slice(piece);
    })?;
    Ok((found, body.into()))
}

/// Checks all of a file without holding it.
pub(super) fn verify(path: &Path) -> Result<Found, StorageError> {
    scan_file(path, |_, _| {})
}

fn scan_file(path: &Path, mut take: impl FnMut(usize, &[u8])) -> Result<Found, StorageError> {
    let reading = |error: io::Error| StorageError::io("read", path, &error);
    let file = File::open(path).map_err(reading)?;
    let file_bytes = file.metadata().map_err(reading)?.len();
    let room = usize::try_from(file_bytes).unwrap_or(usize::MAX);
    let scanned = scan(file, file_bytes, |piece| take(room, piece)).map_err(reading)?;
    scanned.map_err(|error| match error {
        CodecError::NewerVersion { .. } | CodecError::OlderVersion { .. } => {
            StorageError::OtherRelease { path: path.to_owned(), reason: error.to_string() }
        }
        error => {
            StorageError::quarantine(Damage::SnapshotLost, format!("{} is damaged: {error}", path.display()))
        }
    })
}

/// Goes through the `found_bytes` of a file in pieces and gives those of the body to `take`, before they are checked.
fn scan(
    mut content: impl Read,
    found_bytes: u64,
    mut take: impl FnMut(&[u8]),
) -> io::Result<Result<Found, CodecError>> {
    let truncated = |expected_bytes: u64| CodecError::Truncated { found_bytes, expected_bytes };
    let smallest_bytes = (ENVELOPE_BYTES + TRAILER_BYTES) as u64;
    let Some(most_bytes) = found_bytes.checked_sub(TRAILER_BYTES as u64) else {
        return Ok(Err(truncated(smallest_bytes)));
    };
    let mut sealed_head = vec![0; ENVELOPE_BYTES];
    if most_bytes < ENVELOPE_BYTES as u64 {
        return Ok(Err(truncated(smallest_bytes)));
    }
    content.read_exact(&mut sealed_head)?;
    let announced = codec::sealed_bytes(&sealed_head).filter(|length| *length as u64 <= most_bytes);
    let Some(head_bytes) = announced else { return Ok(Err(truncated(smallest_bytes))) };
    sealed_head.resize(head_bytes, 0);
    content.read_exact(&mut sealed_head[ENVELOPE_BYTES..])?;
    let head = match codec::open::<SnapshotHead>(format::SNAPSHOT, &sealed_head) {
        Ok(head) => head,
        Err(error) => return Ok(Err(error)),
    };
    let body_bytes = most_bytes - head_bytes as u64;
    let (mut checksum, mut body_checksum) = (crc32c::crc32c(&sealed_head), 0);
    read_pieces(&mut content, body_bytes, |piece| {
        checksum = crc32c::crc32c_append(checksum, piece);
        body_checksum = crc32c::crc32c_append(body_checksum, piece);
        take(piece);
    })?;
    let mut trailer = [0; TRAILER_BYTES];
    content.read_exact(&mut trailer)?;
    let checked = check_trailer(trailer, body_bytes, checksum, found_bytes);
    Ok(checked.map(|()| Found { head, body_bytes, body_checksum }))
}

fn read_pieces(content: &mut impl Read, bytes: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        content.read_exact(&mut piece[..length])?;
        take(&piece[..length]);
        left -= length as u64;
    }
    Ok(())
}

/// Holds the end of a file against what was read before it.
fn check_trailer(
    trailer: [u8; TRAILER_BYTES],
    body_bytes: u64,
    before: u32,
    found_bytes: u64,
) -> Result<(), CodecError> {
    let (length, checksum) = trailer.split_at(8);
    let written_bytes = u64::from_le_bytes(length.try_into().expect("the trailer begins with eight bytes"));
    let found = u32::from_le_bytes(checksum.try_into().expect("the trailer ends with four bytes"));
    if written_bytes != body_bytes {
        let expected_bytes = (found_bytes - body_bytes).saturating_add(written_bytes);
        return Err(CodecError::Truncated { found_bytes, expected_bytes });
    }
    let expected = crc32c::crc32c_append(before, length);
    if found != expected {
        return Err(CodecError::WrongChecksum { found, expected });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

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

    fn scanned(content: &[u8]) -> Result<(Found, Vec<u8>), CodecError> {
        let mut body = Vec::new();
        let found = scan(content, content.len() as u64, |piece| body.extend_from_slice(piece)).unwrap();
        found.map(|found| (found, body))
    }

    #[test]
    fn a_body_of_many_pieces_is_read_and_verified() {
        let body: Vec<u8> = (0..=255).cycle().take(3 * PIECE_BYTES + 7).collect();
        let (_directory, path) = written(&body);
        let (found, read_body) = read(&path).unwrap();
        assert_eq!((found.body_bytes, found.body_checksum), (body.len() as u64, crc32c::crc32c(&body)));
        assert_eq!(found.head, head());
        assert_eq!(read_body, body);
        assert_eq!(verify(&path).unwrap(), found);
        let mut content = fs::read(&path).unwrap();
        content[2 * PIECE_BYTES] ^= 1;
        fs::write(&path, content).unwrap();
        assert!(matches!(verify(&path), Err(StorageError::Quarantine(_))));
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
            prop_assert_eq!(&scanned(&content).unwrap().1[..], &body[..]);
            let place = place.index(content.len());
            prop_assert!(scanned(&content[..place]).is_err());
            let mut changed = content;
            changed[place] ^= change;
            prop_assert!(scanned(&changed).is_err());
        }
    }
}
