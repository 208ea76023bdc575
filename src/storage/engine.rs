//! The log engine under guard: sled, opened where a panic cannot escape and synced where it does not sync itself.
//!
//! sled promises less than a log needs, so this module adds the difference: its `flush` does not sync, therefore
//! [`Engine::sync`] syncs a handle of its own on the same file; it panics on damage, therefore it is opened on a
//! thread of its own; it moves large pages into files under `blobs/` that it never syncs, therefore that directory is
//! checked to stay empty; a file that it leaves behind when it is killed while opening is removed first. Nothing
//! else may name sled. Values come and go as bytes; what they mean is not known here. Tested in `tests/storage/`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::directory::{create_durably, sync_directory};
use super::disk::Disk;
use super::record::Key;
use super::{Damage, StorageError};

/// Pages up to a quarter of this stay in the synced file; part of the stored format.
const SEGMENT_BYTES: usize = 8 << 20;

const OPEN_THREAD: &str = "log-open";
const ENGINE_THREADS: &str = "sled-io";

/// How the engine is opened.
#[derive(Debug, Clone)]
pub(super) struct EngineOptions {
    pub(super) directory: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// Memory for pages.
    pub(super) cache_bytes: u64,
    /// How long opening and reading everything may take.
    pub(super) open_limit: Duration,
}

/// An open engine. All writes come from one thread.
pub(super) struct Engine {
    database: sled::Db,
    file: File,
    file_path: PathBuf,
    blobs_path: PathBuf,
    disk: Arc<dyn Disk>,
}

/// All keys and values, in order of the keys.
pub(super) type Values = Vec<(Vec<u8>, Bytes)>;

impl Engine {
    /// Opens or creates the engine and reads everything that it holds.
    ///
    /// # Errors
    /// [`StorageError::Quarantine`] for whatever sled cannot or will not read, [`StorageError::Io`].
    pub(super) fn open(options: EngineOptions) -> Result<(Engine, Values), StorageError> {
        create_durably(options.disk.as_ref(), &options.directory)?;
        remove_unfinished_snapshots(&options)?;
        let file_path = options.directory.join("db");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&file_path)
            .map_err(|error| StorageError::io("open", &file_path, &error))?;
        // What a killed predecessor left in the page cache must be durable before sled writes down, durably, that it
        // has read it.
        options
            .disk
            .sync_data(&file, &file_path)
            .map_err(|error| StorageError::io("sync", &file_path, &error))?;
        let blobs_path = options.directory.join("blobs");
        // sled removes some of these files when it opens, and with them the sign that something is wrong.
        refuse_blobs(&blobs_path)?;
        let (database, values) = open_contained(&options)?;
        let engine = Engine { database, file, file_path, blobs_path, disk: options.disk };
        engine.sync()?;
        engine.sync_names(&options.directory)?;
        Ok((engine, values))
    }

    /// sled syncs neither its settings nor its directories when it creates them.
    fn sync_names(&self, directory: &Path) -> Result<(), StorageError> {
        let settings_path = directory.join("conf");
        File::open(&settings_path)
            .and_then(|settings| self.disk.sync_data(&settings, &settings_path))
            .map_err(|error| StorageError::io("sync", &settings_path, &error))?;
        sync_directory(self.disk.as_ref(), &self.blobs_path)?;
        sync_directory(self.disk.as_ref(), directory)
    }

    /// Stores one value; durable after the next [`Engine::sync`].
    pub(super) fn insert(&self, key: Key, value: &Bytes) -> Result<(), StorageError> {
        self.database.insert(key.to_bytes(), value.as_ref()).map(drop).map_err(failed)
    }

    /// Removes one value; durable after the next [`Engine::sync`].
    pub(super) fn remove(&self, key: Key) -> Result<(), StorageError> {
        self.database.remove(key.to_bytes()).map(drop).map_err(failed)
    }

    /// Stores and removes all of these or, after a crash, none.
    pub(super) fn apply(&self, changes: Vec<(Key, Option<Bytes>)>) -> Result<(), StorageError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key.to_bytes(), value.as_ref()),
                None => batch.remove(key.to_bytes()),
            }
        }
        self.database.apply_batch(batch).map_err(failed)
    }

    /// Reads one value.
    pub(super) fn get(&self, key: Key) -> Result<Option<Bytes>, StorageError> {
        let value = self.database.get(key.to_bytes()).map_err(failed)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Makes every earlier change durable. After an error nothing may be acknowledged and nothing tried again: the
    /// kernel may have dropped the pages that it could not write.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.database.flush().map_err(failed)?;
        self.disk
            .sync_data(&self.file, &self.file_path)
            .map_err(|error| StorageError::io("sync", &self.file_path, &error))?;
        refuse_blobs(&self.blobs_path)
    }

    /// Lets the engine write out what it holds back, so that it does not pile up for the next sync. Makes nothing
    /// durable.
    pub(super) fn settle(&self) -> Result<(), StorageError> {
        self.database.flush().map(drop).map_err(failed)
    }

    /// Closes the engine where a panic cannot escape. Nothing depends on what closing still writes.
    pub(super) fn close(self) {
        if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| drop(self))) {
            tracing::warn!(reason = panic_text(panic.as_ref()), "the log engine panicked while closing");
        }
    }

    /// Lets go of the engine without the writes and syncs that closing it would do.
    pub(super) fn abandon(self) {
        std::mem::forget(self.database);
    }
}

/// The engine keeps large pages in files of their own, which it never syncs: there must be none.
fn refuse_blobs(directory: &Path) -> Result<(), StorageError> {
    let mut blobs = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        listing => listing.map_err(|error| StorageError::io("list", directory, &error))?,
    };
    match blobs.next() {
        None => Ok(()),
        Some(_) => {
            let detail = format!("{} is not empty", directory.display());
            Err(StorageError::quarantine(Damage::EngineBlobs, detail))
        }
    }
}

fn failed(error: sled::Error) -> StorageError {
    StorageError::Engine { reason: error.to_string() }
}

/// A process that is killed while sled opens leaves a half-written file that sled then takes for a whole one.
fn remove_unfinished_snapshots(options: &EngineOptions) -> Result<(), StorageError> {
    let listing = |error: io::Error| StorageError::io("list", &options.directory, &error);
    for file in fs::read_dir(&options.directory).map_err(listing)? {
        let path = file.map_err(listing)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            options.disk.remove_file(&path).map_err(|error| StorageError::io("remove", &path, &error))?;
        }
    }
    Ok(())
}

/// Opens sled and reads all values on a thread of its own, so that neither a panic nor a hang gets out.
fn open_contained(options: &EngineOptions) -> Result<(sled::Db, Values), StorageError> {
    silence_engine_panics();
    let (sender, receiver) = mpsc::channel();
    let config = sled::Config::new()
        .path(&options.directory)
        .flush_every_ms(None)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(options.cache_bytes);
    let attempt = options.clone();
    thread::Builder::new()
        .name(OPEN_THREAD.to_owned())
        .spawn(move || {
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| open_and_read(&config, &attempt)));
            // Nobody listens any more if opening took too long.
            let _ = sender.send(outcome);
        })
        .map_err(|error| StorageError::io("start a thread for", &options.directory, &error))?;
    let quarantine = |detail: String| StorageError::quarantine(Damage::EngineUnopenable, detail);
    match receiver.recv_timeout(options.open_limit) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(quarantine(format!("it panicked: {}", panic_text(panic.as_ref())))),
        Err(_) => Err(quarantine(format!("it did not open within {:?}", options.open_limit))),
    }
}

fn open_and_read(config: &sled::Config, options: &EngineOptions) -> Result<(sled::Db, Values), StorageError> {
    let database = open_patiently(config, options)?;
    let mut values = Vec::new();
    for pair in database.iter() {
        let (key, value) = pair.map_err(|error| unreadable(&error, options))?;
        values.push((key.to_vec(), Bytes::copy_from_slice(&value)));
    }
    Ok((database, values))
}

/// A sled that was just closed in this process lets go of its file a moment later; no other process can hold it,
/// because the directory is locked.
fn open_patiently(config: &sled::Config, options: &EngineOptions) -> Result<sled::Db, StorageError> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match config.open() {
            Ok(database) => return Ok(database),
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                if Instant::now() >= deadline {
                    return Err(StorageError::Locked { path: options.directory.join("db") });
                }
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(unreadable(&error, options)),
        }
    }
}

/// A disk that refuses is an error of the disk; everything else is damage.
fn unreadable(error: &sled::Error, options: &EngineOptions) -> StorageError {
    match error {
        sled::Error::Io(cause)
            if matches!(
                cause.kind(),
                ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
                    | ErrorKind::PermissionDenied
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::OutOfMemory
            ) =>
        {
            StorageError::io("open", &options.directory, cause)
        }
        error => StorageError::quarantine(Damage::EngineUnopenable, error.to_string()),
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// A panic of sled on damaged bytes becomes an error with its text; printed as a crash as well, it would mislead.
///
/// The hook looks at the thread, so panics elsewhere are reported as before. A hook that ends the process on panics
/// must be installed before the first store is opened, so that this one runs first.
fn silence_engine_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let current = thread::current();
            let name = current.name().unwrap_or_default();
            if name != OPEN_THREAD && !name.starts_with(ENGINE_THREADS) {
                report(panic);
            }
        }));
    });
}
