//! The last things that were applied, so that a stream that fell behind can be resumed and chains can be compared.
//!
//! What it promises: bounded in entries and in events, oldest out first; the chain hash is kept longer than the
//! events. What it must not do: be part of the state; it is empty after a restart and after a snapshot. Tested below.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::{Applied, ChainHash, Revision};

/// Records whose outcomes and events are kept at most.
const RECORDS_MAX: usize = 4_096;
/// Outcomes and events that are kept at most, over all records. The last record is always kept.
const ITEMS_MAX: usize = 131_072;
/// Records whose chain hash is kept.
const CHAINS_MAX: usize = 65_536;

/// A ring of what was applied last.
#[derive(Debug, Default)]
pub(super) struct Recent {
    applied: VecDeque<Arc<Applied>>,
    items: usize,
    chains: VecDeque<(Revision, ChainHash)>,
}

impl Recent {
    /// Appends; forgets the oldest beyond the bounds.
    pub(super) fn push(&mut self, applied: Arc<Applied>) {
        self.chains.push_back((applied.revision, applied.chain));
        if self.chains.len() > CHAINS_MAX {
            self.chains.pop_front();
        }
        self.items += items_of(&applied);
        self.applied.push_back(applied);
        while self.applied.len() > RECORDS_MAX || (self.items > ITEMS_MAX && self.applied.len() > 1) {
            let oldest = self.applied.pop_front().expect("the loop runs only while there are records");
            self.items -= items_of(&oldest);
        }
    }

    /// Forgets everything: what follows does not continue what was.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What is still remembered, oldest first.
    pub(super) fn applied(&self) -> Vec<Arc<Applied>> {
        self.applied.iter().cloned().collect()
    }

    /// The chain hash after `revision`, if it is still remembered.
    pub(super) fn chain_at(&self, revision: Revision) -> Option<ChainHash> {
        let position = self.chains.binary_search_by_key(&revision, |(revision, _)| *revision).ok()?;
        Some(self.chains[position].1)
    }
}

fn items_of(applied: &Applied) -> usize {
    applied.outcomes.len() + applied.events.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(revision: u64) -> Arc<Applied> {
        let mut chain = ChainHash::default();
        chain.0[..8].copy_from_slice(&revision.to_le_bytes());
        Arc::new(Applied { revision: Revision(revision), chain, ..Applied::default() })
    }

    #[test]
    fn the_ring_forgets_the_oldest_records_first_and_keeps_their_chain_longer() {
        let mut recent = Recent::default();
        let last = RECORDS_MAX as u64 + 10;
        (1..=last).for_each(|revision| recent.push(applied(revision)));
        let kept = recent.applied();
        assert_eq!(kept.len(), RECORDS_MAX);
        assert_eq!(kept[0].revision, Revision(11));
        assert_eq!(recent.chain_at(Revision(1)), Some(applied(1).chain));
        assert_eq!(recent.chain_at(Revision(last)), Some(applied(last).chain));
        assert_eq!(recent.chain_at(Revision(last + 1)), None);
    }

    #[test]
    fn after_clearing_nothing_is_remembered() {
        let mut recent = Recent::default();
        recent.push(applied(1));
        recent.clear();
        assert!(recent.applied().is_empty());
        assert_eq!(recent.chain_at(Revision(1)), None);
    }
}
