//! How much of the file system is left, and the floor under which the node stops taking writes.
//!
//! The log engine cannot be opened again on a full disk, so the node must stop while there is still room. The floor
//! is the larger of 512 MiB and four times the data, unless the operator sets another. This module measures; the
//! directory refuses to open below the floor, and the leader refuses proposals. Tested below.

use std::fs;
use std::path::Path;

use super::StorageError;
use super::disk::Disk;

const SMALLEST_FLOOR_BYTES: u64 = 512 << 20;

/// What the free space allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceState {
    /// More than twice the floor is free.
    Ok,
    /// Less than twice the floor is free: tell the operator.
    Low,
    /// Less than the floor is free: take no new writes.
    Full,
}

/// The figures behind a [`SpaceState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes free for this process.
    pub free_bytes: u64,
    /// Bytes that must stay free.
    pub floor_bytes: u64,
    /// Bytes that the data directory takes.
    pub data_bytes: u64,
}

impl Space {
    pub(super) fn measure(
        disk: &dyn Disk,
        directory: &Path,
        floor_bytes: Option<u64>,
    ) -> Result<Space, StorageError> {
        let free_bytes = disk
            .free_bytes(directory)
            .map_err(|error| StorageError::io("measure free space", directory, &error))?;
        let data_bytes = data_bytes(directory);
        let floor_bytes =
            floor_bytes.unwrap_or_else(|| SMALLEST_FLOOR_BYTES.max(data_bytes.saturating_mul(4)));
        Ok(Space { free_bytes, floor_bytes, data_bytes })
    }

    /// The verdict on these figures.
    pub fn state(&self) -> SpaceState {
        if self.free_bytes < self.floor_bytes {
            SpaceState::Full
        } else if self.free_bytes < self.floor_bytes.saturating_mul(2) {
            SpaceState::Low
        } else {
            SpaceState::Ok
        }
    }
}

/// Sizes of all files below a directory. Files come and go while this runs, so what cannot be read counts as empty.
fn data_bytes(directory: &Path) -> u64 {
    let Ok(files) = fs::read_dir(directory) else { return 0 };
    files
        .flatten()
        .map(|file| match file.metadata() {
            Ok(metadata) if metadata.is_dir() => data_bytes(&file.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_follows_the_floor() {
        let space = |free_bytes| Space { free_bytes, floor_bytes: 100, data_bytes: 0 }.state();
        assert_eq!(space(99), SpaceState::Full);
        assert_eq!(space(100), SpaceState::Low);
        assert_eq!(space(199), SpaceState::Low);
        assert_eq!(space(200), SpaceState::Ok);
    }

    #[test]
    fn the_floor_grows_with_the_data() {
        let directory = tempfile::tempdir().unwrap();
        let nested = directory.path().join("nested");
        fs::create_dir(&nested).unwrap();
        fs::File::create(nested.join("file")).unwrap().set_len(200 << 20).unwrap();
        let space = Space::measure(&crate::storage::RealDisk, directory.path(), None).unwrap();
        assert_eq!((space.data_bytes, space.floor_bytes), (200 << 20, 800 << 20));
        let space = Space::measure(&crate::storage::RealDisk, directory.path(), Some(1)).unwrap();
        assert_eq!(space.floor_bytes, 1);
    }
}
