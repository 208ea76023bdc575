//! The hash of the state, which costs a pass over it: taken for many who ask at once, and remembered.
//!
//! What it promises: a hash that is given was taken after it was asked for; many who ask cost two passes at most; what is
//! remembered is of the state in force. What it must not do: know how a hash is taken. Tested in `mod.rs`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{Revision, StateHash};

/// The hash of a state.
#[derive(Debug, Default)]
pub(super) struct Hashed {
    /// Held while it is taken.
    under_way: Mutex<()>,
    last: Mutex<LastHash>,
}

/// The last hash that was taken of this state.
#[derive(Debug, Default)]
struct LastHash {
    /// Counts the passes, and the states that were put in place: what was begun before another one came is not of it.
    begun: u64,
    hash: Option<(Revision, StateHash)>,
}

impl Hashed {
    /// The hash that `pass` takes, or that another pass took that began after this call.
    pub(super) fn take(&self, pass: impl FnOnce() -> (Revision, StateHash)) -> (Revision, StateHash) {
        let begun_before = self.locked().begun;
        let _one = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = {
            let mut last = self.locked();
            if let Some(hash) = last.hash.filter(|_| last.begun > begun_before) {
                return hash;
            }
            last.begun += 1;
            last.begun
        };
        let hash = pass();
        let mut last = self.locked();
        if last.begun == begun {
            last.hash = Some(hash);
        }
        hash
    }

    /// The last one of the state in force.
    pub(super) fn last(&self) -> Option<(Revision, StateHash)> {
        self.locked().hash
    }

    /// Another state is in force.
    pub(super) fn forget(&self) {
        let mut last = self.locked();
        *last = LastHash { begun: last.begun + 1, hash: None };
    }

    fn locked(&self) -> MutexGuard<'_, LastHash> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
