//! What a panic does to a server: one line in the log, then, with one exception, the end of the process.
//!
//! What it promises: a panic in any task or thread ends the process with the status of a broken invariant, so that no
//! server lives on with a dead part; only a panic in the handling of one HTTP request ends that request and nothing
//! else, so that one poisoned request can not take replica after replica. What it must not do: unwind, clean up or hand
//! over; another node takes over from a process that died, not from one that is in an unknown state.
//!
//! A node whose disk has failed is ending already, and its Raft engine may panic on the way. The disk is the reason then,
//! and what a person has to look at, so it is named and gives the status.

use std::panic;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::exit::{self, ServerError};
use crate::http;
use crate::storage::StorageError;

/// The disks of all nodes of this process.
static DISKS: Mutex<Vec<watch::Receiver<Option<StorageError>>>> = Mutex::new(Vec::new());

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

/// Installs the hook for this process, after the hook that is there, which prints where the panic was.
pub fn install() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if let Some(error) = disk_failure() {
            tracing::error!(%error, status = error.exit_status(), "the server ends");
            std::process::exit(i32::from(error.exit_status()));
        }
        print(info);
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let reason = info.payload_as_str().unwrap_or("no message");
        if http::is_contained() {
            tracing::error!(%place, reason, "a panic in the handling of a request; please report it");
            return;
        }
        tracing::error!(%place, reason, status = exit::BROKEN, "a panic: the process ends; please report it");
        std::process::exit(i32::from(exit::BROKEN));
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
}
