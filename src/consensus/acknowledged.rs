//! What the others have acknowledged to this node as their leader.
//!
//! What it promises: a follower that no longer has an entry that it acknowledged to this very leader is told from one that
//! is merely behind; the engine takes the one for the other, and never sends to such a follower again. What it must not do:
//! outlive the process; another leader learns from a follower's log alone how far it is. Tested below and in
//! `tests/consensus/older_directory.rs`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::messages::AppendReply;
use super::types::LogId;

/// The last entry that a follower has acknowledged to the leader of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Acknowledgement {
    pub(super) term: u64,
    pub(super) log_id: LogId,
}

/// The last acknowledgement of each follower.
#[derive(Debug, Default)]
pub(super) struct Acknowledged(Mutex<BTreeMap<u64, Acknowledgement>>);

impl Acknowledged {
    /// What `follower` has acknowledged in the last term in which it acknowledged anything.
    pub(super) fn by(&self, follower: u64) -> Option<Acknowledgement> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&follower).copied()
    }

    /// Takes notice of what `follower` has on its disk. An entry of an earlier term than the last, or before the last, changes
    /// nothing.
    pub(super) fn note(&self, follower: u64, acknowledgement: Acknowledgement) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = known.entry(follower).or_insert(acknowledgement);
        let place = |acknowledgement: &Acknowledgement| (acknowledgement.term, acknowledgement.log_id.index);
        if place(&acknowledgement) > place(last) {
            *last = acknowledgement;
        }
    }

    /// Takes notice of an answer to the leader of `term`, and says whether it can be: nobody is without an entry up to which
    /// it has acknowledged the log to the same leader.
    pub(super) fn agrees_with(&self, follower: u64, term: u64, answer: &AppendReply) -> bool {
        match answer {
            AppendReply::Matched(Some(log_id)) => {
                self.note(follower, Acknowledgement { term, log_id: *log_id })
            }
            AppendReply::Conflict(missing) => {
                let last = self.by(follower).filter(|last| last.term == term);
                return last.is_none_or(|last| missing.index > last.log_id.index);
            }
            AppendReply::Matched(None) | AppendReply::HigherVote(_) => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::types::log_id;

    const FOLLOWER: u64 = 2;

    #[test]
    fn who_lacks_what_it_acknowledged_in_the_term_is_noticed() {
        let acknowledged = Acknowledged::default();
        let conflict = |term, index| {
            acknowledged.agrees_with(FOLLOWER, term, &AppendReply::Conflict(log_id(term, index)))
        };
        assert!(conflict(5, 9), "it has acknowledged nothing");
        assert!(acknowledged.agrees_with(FOLLOWER, 5, &AppendReply::Matched(Some(log_id(4, 9)))));
        assert!(conflict(5, 10), "it is behind");
        assert!(!conflict(5, 9));
        assert!(!conflict(5, 3));
        assert!(conflict(6, 9), "another term, in which another leader may have cut its log");
        assert!(acknowledged.agrees_with(FOLLOWER + 1, 5, &AppendReply::Conflict(log_id(4, 9))));
    }

    #[test]
    fn the_last_entry_of_the_last_term_is_remembered() {
        let acknowledged = Acknowledged::default();
        assert_eq!(acknowledged.by(FOLLOWER), None);
        for (term, index) in [(5, 9), (5, 7), (4, 12)] {
            acknowledged.note(FOLLOWER, Acknowledgement { term, log_id: log_id(term, index) });
        }
        assert_eq!(acknowledged.by(FOLLOWER), Some(Acknowledgement { term: 5, log_id: log_id(5, 9) }));
        acknowledged.note(FOLLOWER, Acknowledgement { term: 6, log_id: log_id(5, 8) });
        assert_eq!(acknowledged.by(FOLLOWER).map(|last| last.log_id.index), Some(8));
    }
}
