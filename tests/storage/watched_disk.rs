//! A real disk that records what is asked of it, and on request fails, holds an operation back, or shows it first.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use slotkeeper::storage::{Disk, RealDisk};

/// One recorded event; callbacks are recorded by the tests themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Write(String),
    Sync(String),
    SyncDirectory(String),
    Rename(String),
    Remove(String),
    Note(String),
}

type Look = Box<dyn FnMut(&Event) + Send>;

#[derive(Default)]
struct State {
    events: Vec<Event>,
    /// Operations equal to this fail, the first `0` of them do not.
    failing: Option<(Event, usize)>,
    held: Option<Event>,
    look: Option<Look>,
    free_bytes: Option<u64>,
}

/// The disk; clones share what they record.
#[derive(Clone, Default)]
pub struct WatchedDisk {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

impl std::fmt::Debug for WatchedDisk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("WatchedDisk")
    }
}

/// The last part of a path, which is how events name files.
fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The sync of the engine's file.
pub fn engine_sync() -> Event {
    Event::Sync("db".to_owned())
}

/// The write of a tip slot.
pub fn tip_write() -> Event {
    Event::Write("tip".to_owned())
}

/// The sync of the tip file.
pub fn tip_sync() -> Event {
    Event::Sync("tip".to_owned())
}

impl WatchedDisk {
    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Records something that is not an operation of the disk.
    pub fn note(&self, text: impl Into<String>) {
        self.state.lock().unwrap().events.push(Event::Note(text.into()));
    }

    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.lock().unwrap().events)
    }

    /// Lets `good` more operations like this one pass and fails all that follow.
    pub fn fail(&self, event: Event, good: usize) {
        self.state.lock().unwrap().failing = Some((event, good));
    }

    /// Holds back operations like this one until [`WatchedDisk::release`].
    pub fn hold(&self, event: Event) {
        self.state.lock().unwrap().held = Some(event);
    }

    pub fn release(&self) {
        self.state.lock().unwrap().held = None;
        self.changed.notify_all();
    }

    /// Waits until an operation like this one has begun since the events were taken last.
    pub fn wait_for(&self, event: &Event) {
        let deadline = std::time::Duration::from_secs(20);
        let state = self.state.lock().unwrap();
        let (_state, timeout) =
            self.changed.wait_timeout_while(state, deadline, |state| !state.events.contains(event)).unwrap();
        assert!(!timeout.timed_out(), "{event:?} did not begin");
    }

    /// Claims that this much is free.
    pub fn set_free_bytes(&self, free_bytes: u64) {
        self.state.lock().unwrap().free_bytes = Some(free_bytes);
    }

    /// Calls `look` before each operation.
    pub fn look_before_each(&self, look: impl FnMut(&Event) + Send + 'static) {
        self.state.lock().unwrap().look = Some(Box::new(look));
    }

    fn begin(&self, event: Event) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if let Some(look) = state.look.as_mut() {
            look(&event);
        }
        state.events.push(event.clone());
        self.changed.notify_all();
        let mut state = self.changed.wait_while(state, |state| state.held.as_ref() == Some(&event)).unwrap();
        match &mut state.failing {
            Some((failing, good)) if *failing == event => match good.checked_sub(1) {
                Some(fewer) => *good = fewer,
                None => return Err(io::Error::from_raw_os_error(5)),
            },
            _ => {}
        }
        Ok(())
    }
}

impl Disk for WatchedDisk {
    fn write_at(&self, file: &File, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.begin(Event::Write(name(path)))?;
        RealDisk.write_at(file, path, offset, bytes)
    }

    fn sync_data(&self, file: &File, path: &Path) -> io::Result<()> {
        self.begin(Event::Sync(name(path)))?;
        RealDisk.sync_data(file, path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.begin(Event::SyncDirectory(name(path)))?;
        RealDisk.sync_directory(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(Event::Rename(name(to)))?;
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.begin(Event::Remove(name(path)))?;
        RealDisk.remove_file(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let claimed = self.state.lock().unwrap().free_bytes;
        claimed.map_or_else(|| RealDisk.free_bytes(path), Ok)
    }
}

/// All paths below a directory, for tests that look at what is left.
pub fn file_names(directory: &Path) -> Vec<String> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| name(path)).collect()
}
