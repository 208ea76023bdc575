//! Bugs that the harness can commit in the layers that are its own, to prove that it would find them.
//!
//! `SLOTKEEPER_PLANTED` names one; the program that ships has no such switch. Bugs in the program itself are patches in
//! `chaos/planted/`.

use std::cell::OnceCell;

thread_local! {
    static PLANTED: OnceCell<String> = const { OnceCell::new() };
}

/// Whether this bug is planted in this run.
pub fn is(name: &str) -> bool {
    PLANTED.with(|planted| {
        planted.get_or_init(|| std::env::var("SLOTKEEPER_PLANTED").unwrap_or_default()) == name
    })
}
