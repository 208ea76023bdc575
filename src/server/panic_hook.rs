//! What a panic does to a server: one line in the log, then, with one exception, the end of the process.
//!
//! What it promises: a panic in any task or thread ends the process with the status of a broken invariant, so that no
//! server lives on with a dead part; only a panic in the handling of one HTTP request ends that request and nothing
//! else, so that one poisoned request can not take replica after replica. What it must not do: unwind, clean up or hand
//! over; another node takes over from a process that died, not from one that is in an unknown state.

use std::panic;

use super::exit;
use crate::http;

/// Installs the hook for this process, after the hook that is there, which prints where the panic was.
pub fn install() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
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
