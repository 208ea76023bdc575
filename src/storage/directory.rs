//! The data directory of a node: its lock, its identity, its floor of free space.
//!
//! ```text
//! lock          held for the life of the process, never replaced
//! incarnation   until there is an identity
//! identity      who the directory belongs to
//! tip           what was acknowledged last
//! log/          the log engine's files
//! snapshots/    one plain file per snapshot
//! ```
//!
//! It promises that one process uses a directory, that directories it creates are durable, and that data without an
//! identity, or with another identity than the caller expects, is refused. A [`DataDir`] is a handle: clones share
//! the lock, which is let go when the last of them and of the stores opened from them is dropped. Tested below and
//! in `tests/storage/quarantine.rs`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::disk::{Disk, RealDisk};
use super::identity::{self, Identity, StoredIdentity};
use super::space::{Space, SpaceState};
use super::tip::{TipFile, TipOwner};
use super::{Damage, StorageError};

/// How a data directory is opened.
#[derive(Clone)]
pub struct DataDirOptions {
    /// Refuse a directory of another cluster.
    pub expected_cluster: Option<Uuid>,
    /// Refuse a directory of another node.
    pub expected_node: Option<u64>,
    /// Bytes that must stay free; if not given, the larger of 512 MiB and four times the data.
    pub free_space_floor_bytes: Option<u64>,
    /// Where the incarnation of a new directory comes from: a fresh random id at each call.
    pub mint_incarnation: Arc<dyn Fn() -> Uuid + Send + Sync>,
    /// The disk; another one than [`RealDisk`] is for tests.
    pub disk: Arc<dyn Disk>,
}

impl DataDirOptions {
    /// No expectations, the default floor and the real disk.
    pub fn new(mint_incarnation: impl Fn() -> Uuid + Send + Sync + 'static) -> DataDirOptions {
        DataDirOptions {
            expected_cluster: None,
            expected_node: None,
            free_space_floor_bytes: None,
            mint_incarnation: Arc::new(mint_incarnation),
            disk: Arc::new(RealDisk),
        }
    }
}

/// A locked data directory.
#[derive(Clone)]
pub struct DataDir {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    free_space_floor_bytes: Option<u64>,
    incarnation: Uuid,
    identity: Mutex<Option<Identity>>,
    /// The revision of the durable identity, 0 if there is none.
    identity_revision: Arc<AtomicU64>,
    lock: File,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Closing the file would do, were it not for a child process that has just been forked and holds a copy of it
        // until it becomes another program.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, path = %self.path.display(), "the lock of the data directory was not let go");
        }
    }
}

impl DataDir {
    /// Creates the directory if it is not there, locks it and checks whose it is.
    ///
    /// # Errors
    /// [`StorageError::Locked`], [`StorageError::NoSpace`], [`StorageError::Quarantine`] for data without an identity,
    /// a damaged identity or another identity than expected, [`StorageError::Io`].
    pub fn open(path: impl AsRef<Path>, options: DataDirOptions) -> Result<DataDir, StorageError> {
        let path = std::path::absolute(path.as_ref())
            .map_err(|error| StorageError::io("resolve", path.as_ref(), &error))?;
        create_durably(options.disk.as_ref(), &path)?;
        let lock = lock(&path)?;
        sync_directory(options.disk.as_ref(), &path)?;
        refuse_without_space(&options, &path)?;
        let stored = identity::read_identity(&path)?;
        let incarnation = match &stored {
            Some(stored) => {
                check_expectations(&stored.identity, &options)?;
                stored.identity.incarnation
            }
            None => incarnation_without_identity(&options, &path)?,
        };
        let shared = Shared {
            path,
            disk: options.disk,
            free_space_floor_bytes: options.free_space_floor_bytes,
            incarnation,
            identity_revision: Arc::new(AtomicU64::new(stored.as_ref().map_or(0, |stored| stored.revision))),
            identity: Mutex::new(stored.map(|stored| stored.identity)),
            lock,
        };
        Ok(DataDir { shared: Arc::new(shared) })
    }

    /// The absolute path of the directory.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The life of this directory: minted when it was first opened, the same ever after.
    pub fn incarnation(&self) -> Uuid {
        self.shared.incarnation
    }

    /// Who the directory belongs to, once that is known.
    pub fn identity(&self) -> Option<Identity> {
        self.shared.identity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stores who the directory belongs to; durable when this returns.
    ///
    /// The first identity also creates the empty tip record, so that a directory with an identity and without a tip
    /// is known to be damaged. Later calls may only change `details`.
    ///
    /// # Errors
    /// [`StorageError::Refused`] for another incarnation, cluster or node than before, [`StorageError::Io`].
    pub fn save_identity(&self, identity: &Identity) -> Result<(), StorageError> {
        let mut known = self.shared.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if identity.incarnation != self.shared.incarnation {
            return Err(StorageError::refused("the identity is of another incarnation of the directory"));
        }
        match known.as_ref() {
            None => TipFile::create(self.path(), self.disk(), TipOwner::of(identity))?,
            Some(known) if known.cluster_id != identity.cluster_id || known.node_id != identity.node_id => {
                return Err(StorageError::refused("a directory never changes its cluster or its node"));
            }
            Some(_) => {}
        }
        let revision = self.shared.identity_revision.load(Ordering::Acquire) + 1;
        let stored = StoredIdentity { identity: identity.clone(), revision };
        identity::write_identity(self.shared.disk.as_ref(), self.path(), &stored)?;
        self.shared.identity_revision.store(revision, Ordering::Release);
        *known = Some(identity.clone());
        Ok(())
    }

    /// Gives a finished directory the name `path` beside its own, durably, and lets go of it.
    ///
    /// # Errors
    /// [`StorageError::Refused`] if something has that name, [`StorageError::Io`].
    pub fn rename_to(self, path: &Path) -> Result<(), StorageError> {
        let path = std::path::absolute(path).map_err(|error| StorageError::io("resolve", path, &error))?;
        if path.exists() {
            return Err(StorageError::refused(format!("{} exists", path.display())));
        }
        let disk = self.disk();
        disk.rename(self.path(), &path).map_err(|error| StorageError::io("rename", self.path(), &error))?;
        path.parent().map_or(Ok(()), |parent| sync_directory(disk.as_ref(), parent))
    }

    /// Whether the path still leads to the directory that was opened: its lock must be the file that is held.
    ///
    /// # Errors
    /// [`StorageError::Io`] if it was removed, replaced or hidden, or the file system does not answer.
    pub fn check_place(&self) -> Result<(), StorageError> {
        let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let lost =
            |error: &io::Error| StorageError::io("finding the data directory again", self.path(), error);
        let there = fs::metadata(lock_path(self.path())).map(place).map_err(|error| lost(&error))?;
        let held = self.shared.lock.metadata().map(place).map_err(|error| lost(&error))?;
        if there != held {
            return Err(lost(&io::Error::new(io::ErrorKind::NotFound, "another directory is in its place")));
        }
        Ok(())
    }

    /// The figures of free space, measured now.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the file system does not answer.
    pub fn space(&self) -> Result<Space, StorageError> {
        Space::measure(self.shared.disk.as_ref(), self.path(), self.shared.free_space_floor_bytes)
    }

    /// What the free space allows, measured now.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the file system does not answer.
    pub fn space_state(&self) -> Result<SpaceState, StorageError> {
        Ok(self.space()?.state())
    }

    /// The revision of the durable identity, for the tip record to repeat.
    pub(super) fn identity_revision(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.shared.identity_revision)
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.shared.disk)
    }

    pub(super) fn log_directory(&self) -> PathBuf {
        self.path().join("log")
    }

    pub(super) fn snapshot_directory(&self) -> PathBuf {
        self.path().join("snapshots")
    }
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.join("lock")
}

fn lock(directory: &Path) -> Result<File, StorageError> {
    let path = lock_path(directory);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| StorageError::io("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::Locked { path }),
        Err(TryLockError::Error(error)) => Err(StorageError::io("lock", &path, &error)),
    }
}

fn refuse_without_space(options: &DataDirOptions, path: &Path) -> Result<(), StorageError> {
    let space = Space::measure(options.disk.as_ref(), path, options.free_space_floor_bytes)?;
    match space.state() {
        SpaceState::Full => Err(StorageError::NoSpace {
            path: path.to_owned(),
            free_bytes: space.free_bytes,
            floor_bytes: space.floor_bytes,
        }),
        SpaceState::Ok | SpaceState::Low => Ok(()),
    }
}

fn check_expectations(identity: &Identity, options: &DataDirOptions) -> Result<(), StorageError> {
    if let Some(expected) = options.expected_cluster
        && identity.cluster_id != expected
    {
        let detail = format!("cluster {} was expected, {} was found", expected, identity.cluster_id);
        return Err(StorageError::quarantine(Damage::OtherCluster, detail));
    }
    if let Some(expected) = options.expected_node
        && identity.node_id != expected
    {
        let detail = format!("node {} was expected, {} was found", expected, identity.node_id);
        return Err(StorageError::quarantine(Damage::OtherCluster, detail));
    }
    Ok(())
}

fn incarnation_without_identity(options: &DataDirOptions, path: &Path) -> Result<Uuid, StorageError> {
    if let Some(found) = first_data_file(path)? {
        return Err(StorageError::quarantine(Damage::IdentityMissing, format!("{} exists", found.display())));
    }
    if let Some(incarnation) = identity::read_incarnation(path)? {
        return Ok(incarnation);
    }
    let incarnation = (options.mint_incarnation)();
    identity::write_incarnation(options.disk.as_ref(), path, incarnation)?;
    Ok(incarnation)
}

/// A file that only a node with an identity writes. The tip of a node that has acknowledged nothing does not count:
/// it is written just before the identity, and a crash may fall between the two.
fn first_data_file(directory: &Path) -> Result<Option<PathBuf>, StorageError> {
    let engine_file = directory.join("log").join("db");
    if engine_file.exists() {
        return Ok(Some(engine_file));
    }
    if let Ok(mut files) = fs::read_dir(directory.join("snapshots"))
        && let Some(Ok(file)) = files.next()
    {
        return Ok(Some(file.path()));
    }
    let tip = TipFile::path_in(directory);
    if tip.exists() && !TipFile::is_unused(directory)? {
        return Ok(Some(tip));
    }
    Ok(None)
}

/// Creates a directory and those above it, and makes each new name durable in its parent.
pub(super) fn create_durably(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent();
    if let Some(parent) = parent {
        create_durably(disk, parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if !path.is_dir() => return Err(StorageError::io("create", path, &error)),
        _ => {}
    }
    parent.map_or(Ok(()), |parent| sync_directory(disk, parent))
}

pub(super) fn sync_directory(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    disk.sync_directory(path).map_err(|error| StorageError::io("sync", path, &error))
}
