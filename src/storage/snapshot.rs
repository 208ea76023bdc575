//! Snapshots: one plain file each, whole or not there at all.
//!
//! A snapshot is written beside its name, synced, renamed, its directory synced, read back and checked; only then do
//! older ones go. The newest two are kept. Reading checks every byte: a damaged newest snapshot is set aside under
//! another name and the one before it is used, but only if the log still goes back to it; otherwise the node is in
//! quarantine. Meta and body are the caller's bytes. The layout of a file is in `snapshot_file.rs`. Tested below, in
//! `tests/storage/snapshots.rs` and with faults in `tests/storage/faults.rs`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use uuid::Uuid;

use super::directory::{create_durably, sync_directory};
use super::disk::Disk;
use super::snapshot_file::{self, Found, SnapshotHead, SnapshotWriter};
use super::{Damage, DataDir, StorageError};

/// How many snapshots stay: the newest, and one to fall back to.
const KEPT_SNAPSHOTS: usize = 2;

/// Writes the body of a snapshot. An error of the writer ends it and is passed on.
pub type WriteBody<'a> = dyn Fn(&mut dyn Write) -> io::Result<()> + 'a;

/// The last entry that a snapshot covers. Ordered by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// Index of the entry.
    pub index: u64,
    /// Term of the entry.
    pub term: u64,
}

/// A snapshot that was read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last entry that it covers.
    pub id: SnapshotId,
    /// The caller's description.
    pub meta: Bytes,
    /// The caller's state.
    pub body: Bytes,
    /// CRC32C of the body.
    pub body_checksum: u32,
}

/// A snapshot that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSnapshot {
    /// The last entry that it covers.
    pub id: SnapshotId,
    /// Its file.
    pub path: PathBuf,
    /// Length of the body.
    pub body_bytes: u64,
    /// CRC32C of the body.
    pub body_checksum: u32,
}

/// The snapshots of a data directory; clones share it.
#[derive(Clone)]
pub struct SnapshotStore {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    cluster_id: Uuid,
    /// Held while files appear or go.
    changing: Mutex<()>,
    /// Keeps the lock for as long as the store is used.
    _directory: DataDir,
}

/// A file of the store, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    id: SnapshotId,
    number: u64,
    path: PathBuf,
}

impl SnapshotStore {
    /// Opens the snapshots of a directory that has an identity, and removes unfinished files.
    ///
    /// # Errors
    /// [`StorageError::Refused`] without an identity, [`StorageError::Io`].
    pub fn open(directory: &DataDir) -> Result<SnapshotStore, StorageError> {
        let identity = directory
            .identity()
            .ok_or_else(|| StorageError::refused("snapshots need a directory with an identity"))?;
        let path = directory.snapshot_directory();
        let disk = directory.disk();
        create_durably(disk.as_ref(), &path)?;
        for file in files_of(&path)? {
            if file.extension().is_some_and(|extension| extension == "tmp") {
                disk.remove_file(&file).map_err(|error| StorageError::io("remove", &file, &error))?;
            }
        }
        let cluster_id = identity.cluster_id;
        let shared =
            Shared { path, disk, cluster_id, changing: Mutex::new(()), _directory: directory.clone() };
        Ok(SnapshotStore { shared: Arc::new(shared) })
    }

    /// Stores a snapshot whose body `write_body` writes, in pieces of its choice; it is durable and has been read back when
    /// this returns.
    ///
    /// # Errors
    /// [`StorageError::Io`], also for an error of `write_body`; [`StorageError::Quarantine`] if what was read back differs.
    pub fn save(
        &self,
        id: SnapshotId,
        meta: &[u8],
        write_body: &WriteBody<'_>,
    ) -> Result<SavedSnapshot, StorageError> {
        let mut body = Body { incoming: self.receive(id, meta)?, failure: None };
        let written = write_body(&mut body);
        match (body.failure, written) {
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(StorageError::io("write a snapshot to", &self.shared.path, &error)),
            (None, Ok(())) => body.incoming.publish(),
        }
    }

    /// Begins a snapshot whose body comes in pieces.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn receive(&self, id: SnapshotId, meta: &[u8]) -> Result<IncomingSnapshot, StorageError> {
        let _changing = self.changing();
        let mut number = self.listed()?.iter().map(|file| file.number + 1).max().unwrap_or(1);
        let path_of = |number| self.shared.path.join(format!("snap-{}-{}-{number}", id.term, id.index));
        while snapshot_file::unfinished_path(&path_of(number)).exists() {
            number += 1;
        }
        let head = SnapshotHead {
            cluster_id: self.shared.cluster_id,
            index: id.index,
            term: id.term,
            meta: meta.to_vec(),
        };
        let writer = SnapshotWriter::create(Arc::clone(&self.shared.disk), path_of(number), &head)?;
        Ok(IncomingSnapshot { store: self.clone(), id, writer })
    }

    /// The snapshots by their names, newest first; their content is not looked at.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn list(&self) -> Result<Vec<(SnapshotId, PathBuf)>, StorageError> {
        Ok(self.listed()?.into_iter().rev().map(|file| (file.id, file.path)).collect())
    }

    /// Reads and checks the newest snapshot. `log_purged_through` is the purge mark of the log: without it the log
    /// goes back to its start and no snapshot is needed, with it the snapshot must reach at least that far.
    ///
    /// # Errors
    /// [`StorageError::Quarantine`] if no whole snapshot reaches the log, or one belongs to another cluster.
    pub fn newest(&self, log_purged_through: Option<u64>) -> Result<Option<Snapshot>, StorageError> {
        let _changing = self.changing();
        let mut problems = Vec::new();
        for file in self.listed()?.into_iter().rev() {
            match self.load(&file) {
                Ok(snapshot) if log_purged_through.is_some_and(|purged| file.id.index < purged) => {
                    problems.push(format!("{} ends at {}", file.path.display(), snapshot.id.index));
                    break;
                }
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(StorageError::Quarantine(quarantine)) if quarantine.damage == Damage::SnapshotLost => {
                    tracing::error!(%quarantine, "a snapshot is damaged and is set aside");
                    problems.push(quarantine.detail);
                    self.set_aside(&file.path)?;
                }
                Err(error) => return Err(error),
            }
        }
        match log_purged_through {
            None => Ok(None),
            Some(purged) => {
                let detail = format!("the log is purged through {purged}; {}", problems.join("; "));
                Err(StorageError::quarantine(Damage::SnapshotLost, detail))
            }
        }
    }

    fn changing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Oldest first.
    fn listed(&self) -> Result<Vec<Listed>, StorageError> {
        let mut listed: Vec<Listed> =
            files_of(&self.shared.path)?.into_iter().filter_map(parse_name).collect();
        listed.sort();
        Ok(listed)
    }

    fn load(&self, file: &Listed) -> Result<Snapshot, StorageError> {
        let (Found { head, body_checksum, .. }, body) = snapshot_file::read(&file.path)?;
        if head.cluster_id != self.shared.cluster_id {
            let detail = format!("{} is of cluster {}", file.path.display(), head.cluster_id);
            return Err(StorageError::quarantine(Damage::OtherCluster, detail));
        }
        let id = SnapshotId { index: head.index, term: head.term };
        if id != file.id {
            let detail = format!("{} holds the snapshot of {id:?}", file.path.display());
            return Err(StorageError::quarantine(Damage::SnapshotLost, detail));
        }
        Ok(Snapshot { id, meta: head.meta.into(), body, body_checksum })
    }

    /// Another name keeps the evidence, and lets a later snapshot be the newest.
    fn set_aside(&self, path: &Path) -> Result<(), StorageError> {
        let aside = path.with_extension("damaged");
        self.shared.disk.rename(path, &aside).map_err(|error| StorageError::io("rename", path, &error))?;
        sync_directory(self.shared.disk.as_ref(), &self.shared.path)
    }

    fn remove_older(&self) -> Result<(), StorageError> {
        for file in self.listed()?.into_iter().rev().skip(KEPT_SNAPSHOTS) {
            self.shared
                .disk
                .remove_file(&file.path)
                .map_err(|error| StorageError::io("remove", &file.path, &error))?;
        }
        Ok(())
    }
}

/// A snapshot on its way in; dropped unfinished, it leaves nothing behind.
pub struct IncomingSnapshot {
    store: SnapshotStore,
    id: SnapshotId,
    writer: SnapshotWriter,
}

impl IncomingSnapshot {
    /// Adds the next piece of the body.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn append(&mut self, piece: &[u8]) -> Result<(), StorageError> {
        self.writer.append(piece)
    }

    /// Bytes of the body so far.
    pub fn body_bytes(&self) -> u64 {
        self.writer.body_bytes()
    }

    /// Makes the snapshot durable if its body has the length and the CRC32C that the sender announced.
    ///
    /// # Errors
    /// [`StorageError::Refused`] if not, and nothing is kept; otherwise as [`SnapshotStore::save`].
    pub fn finish(self, body_bytes: u64, body_checksum: u32) -> Result<SavedSnapshot, StorageError> {
        let received = (self.writer.body_bytes(), self.writer.body_checksum());
        if received != (body_bytes, body_checksum) {
            let reason = format!(
                "the snapshot arrived with (length, checksum) {received:?} instead of {:?}",
                (body_bytes, body_checksum)
            );
            return Err(StorageError::Refused { reason });
        }
        self.publish()
    }

    fn publish(self) -> Result<SavedSnapshot, StorageError> {
        let IncomingSnapshot { store, id, writer } = self;
        let _changing = store.changing();
        let (body_bytes, body_checksum) = (writer.body_bytes(), writer.body_checksum());
        let path = writer.publish()?;
        let found = snapshot_file::verify(&path)?;
        let is_same = (found.head.index, found.head.term, found.body_bytes, found.body_checksum)
            == (id.index, id.term, body_bytes, body_checksum);
        if !is_same {
            let detail = format!("{} does not hold what was written", path.display());
            return Err(StorageError::quarantine(Damage::SnapshotLost, detail));
        }
        store.remove_older()?;
        Ok(SavedSnapshot { id, path, body_bytes, body_checksum })
    }
}

/// The body of a snapshot as somebody writes it; keeps what the disk said.
struct Body {
    incoming: IncomingSnapshot,
    failure: Option<StorageError>,
}

impl Write for Body {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.incoming.append(piece).map_err(|failure| {
            let told = io::Error::other(failure.to_string());
            self.failure = Some(failure);
            told
        })?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let listing = |error: std::io::Error| StorageError::io("list", directory, &error);
    let files = fs::read_dir(directory).map_err(listing)?;
    files.map(|file| file.map(|file| file.path()).map_err(listing)).collect()
}

/// `snap-<term>-<index>-<number>` and nothing else.
fn parse_name(path: PathBuf) -> Option<Listed> {
    let mut parts = path.file_name()?.to_str()?.strip_prefix("snap-")?.split('-').map(str::parse::<u64>);
    let (term, index, number) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    match parts.next() {
        None => Some(Listed { id: SnapshotId { index, term }, number, path }),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_listed() {
        let listed = parse_name("/x/snap-3-10-2".into()).unwrap();
        assert_eq!((listed.id, listed.number), (SnapshotId { index: 10, term: 3 }, 2));
        for name in
            ["snap-3-10-2.tmp", "snap-3-10-2.damaged", "snap-3-10", "snap-3-10-2-1", "snap-a-1-2", "other"]
        {
            assert_eq!(parse_name(name.into()), None, "{name}");
        }
    }

    #[test]
    fn snapshots_are_ordered_by_index_first() {
        let earlier = SnapshotId { index: 9, term: 7 };
        assert!(earlier < SnapshotId { index: 10, term: 3 });
    }
}
