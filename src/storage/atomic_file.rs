//! Small sealed files that are replaced as a whole or not at all.
//!
//! A reader finds the old content or the new one, never a mixture, also after a power cut: the new content is
//! written beside the old, synced, renamed over it, and the directory is synced. Must not be used for anything
//! written often. Tested through `identity.rs` and `tests/storage/faults.rs`.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::StorageError;
use super::disk::Disk;

/// Replaces the file at `path` by one that holds `content`, durable when this returns.
pub(super) fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let directory = path.parent().expect("a file of the data directory has a parent");
    let beside = path.with_extension("tmp");
    let mut file = File::create(&beside).map_err(|error| StorageError::io("create", &beside, &error))?;
    file.write_all(content).map_err(|error| StorageError::io("write", &beside, &error))?;
    disk.sync_data(&file, &beside).map_err(|error| StorageError::io("sync", &beside, &error))?;
    disk.rename(&beside, path).map_err(|error| StorageError::io("rename", path, &error))?;
    disk.sync_directory(directory).map_err(|error| StorageError::io("sync", directory, &error))
}

/// The content of a file, or nothing if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("read", path, &error)),
    }
}
