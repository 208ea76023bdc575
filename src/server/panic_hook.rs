//! What a panic does to a server: one line in the log, then, with one exception, the end of the process.
//!
//! What it promises: a panic in any task or thread ends the process with the status of a broken invariant, so that no
//! server lives on with a dead part; only a panic in the handling of one HTTP request ends that request and nothing
//! else, so that one poisoned request can not take replica after replica. What it must not do: unwind, clean up or hand
//! over; another node takes over from a process that died, not from one that is in an unknown state.
//!
//! A node whose disk has failed is ending already, and its Raft engine may panic on the way. The disk is the reason then,
//! and what a person has to look at, so it is named and gives the status. In the same way a process that has begun to end
//! for another reason, or because it was asked to, ends with the status of that.

use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::exit::{self, ServerError};
use crate::http;
use crate::storage::StorageError;

/// The disks of all nodes of this process.
static DISKS: Mutex<Vec<watch::Receiver<Option<StorageError>>>> = Mutex::new(Vec::new());

/// Whether the process has begun to end.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Lets what the process ends for be the reason of panics that follow: several tasks of the engine may find it stopped at once.
pub(super) fn process_ends() {
    IS_ENDING.store(true, Ordering::Relaxed);
}

/// Lets a failure of this disk be the reason of panics that follow it.
pub(super) fn watch_disk(failure: watch::Receiver<Option<StorageError>>) {
    let mut disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
    // Nodes that have ended have nothing more to say.
    disks.retain(|disk| disk.has_changed().is_ok() || disk.borrow().is_some());
    disks.push(failure);
}

fn disk_failure() -> Option<ServerError> {
    let disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
    disks.iter().find_map(|disk| disk.borrow().clone()).map(ServerError::from)
}

/// What a panic does.
#[derive(Debug)]
enum Reaction {
    /// The disk is the reason.
    EndForDisk(ServerError),
    /// Nothing: the process is ending, or only one request ends.
    GoOn(&'static str),
    /// A broken invariant.
    End,
}

fn reaction(disk_failure: Option<ServerError>, is_ending: bool, is_contained: bool) -> Reaction {
    match disk_failure {
        Some(error) => Reaction::EndForDisk(error),
        None if is_ending => Reaction::GoOn("a panic while the process ends"),
        None if is_contained => Reaction::GoOn("a panic in the handling of a request; please report it"),
        None => Reaction::End,
    }
}

/// Installs the hook for this process, after the hook that is there, which prints where the panic was.
pub fn install() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let reason = info.payload_as_str().unwrap_or("no message");
        match reaction(disk_failure(), IS_ENDING.load(Ordering::Relaxed), http::is_contained()) {
            Reaction::EndForDisk(error) => {
                tracing::error!(%error, status = error.exit_status(), "the server ends");
                std::process::exit(i32::from(error.exit_status()));
            }
            Reaction::GoOn(what) => {
                print(info);
                tracing::error!(%place, reason, "{what}");
            }
            Reaction::End => {
                print(info);
                tracing::error!(%place, reason, status = exit::BROKEN, "a panic: the process ends; please report it");
                std::process::exit(i32::from(exit::BROKEN));
            }
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_has_failed_is_the_reason_of_what_follows() {
        let (disk, failure) = watch::channel(None);
        watch_disk(failure);
        assert!(disk_failure().is_none(), "a disk that works is no reason");
        disk.send_replace(Some(StorageError::SyncTooSlow { limit_ms: 10_000 }));
        let reason = disk_failure().expect("the disk has failed");
        assert_eq!(reason.exit_status(), 74, "{reason}");
    }

    #[test]
    fn a_panic_ends_the_process_unless_it_ends_already_or_only_a_request_does() {
        assert!(matches!(reaction(None, false, false), Reaction::End));
        assert!(matches!(reaction(None, false, true), Reaction::GoOn(_)));
        assert!(matches!(reaction(None, true, false), Reaction::GoOn(_)));
        let disk = || Some(ServerError::Storage("full".to_owned()));
        assert!(matches!(reaction(disk(), true, true), Reaction::EndForDisk(_)));
    }
}
