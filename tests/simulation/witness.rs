//! What only an observer of all nodes sees: who leads in which term, and that no node goes back on what it promised.
//!
//! It looks at every node after every millisecond, through the node's own status, and holds it against what its disk has
//! acknowledged. The messages name its invariants C1 to C3, and those of `losses.rs` C4, as `chaos/README.md` does.

use std::collections::BTreeMap;

use slotkeeper::consensus::{Role, Status};

use crate::disk::Promises;

pub struct Witness {
    /// Who led in each term.
    leaders: BTreeMap<u64, u64>,
    /// Where each node is; an id is never given to two.
    places: BTreeMap<u64, usize>,
    /// The last look at each place in its present life.
    seen: BTreeMap<usize, Figures>,
    /// What each disk had acknowledged when the present life began.
    floors: BTreeMap<usize, Promises>,
}

/// What never falls while a node runs, but for `committed`: a new leader first has to learn what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Figures {
    term: u64,
    committed: u64,
    applied: u64,
    snapshot: u64,
    purged: u64,
}

impl Figures {
    fn of(status: &Status) -> Self {
        Self {
            term: status.term,
            committed: status.committed_index,
            applied: status.applied_index,
            snapshot: status.snapshot_index.unwrap_or_default(),
            purged: status.purged_index.unwrap_or_default(),
        }
    }

    fn is_no_less_than(&self, before: &Self) -> bool {
        self.term >= before.term
            && self.applied >= before.applied
            && self.snapshot >= before.snapshot
            && self.purged >= before.purged
    }

    fn are_in_order(&self) -> bool {
        self.purged <= self.snapshot && self.snapshot <= self.applied && self.applied <= self.committed
    }
}

impl Witness {
    pub fn new() -> Self {
        Self {
            leaders: BTreeMap::new(),
            places: BTreeMap::new(),
            seen: BTreeMap::new(),
            floors: BTreeMap::new(),
        }
    }

    /// The life of the node at `place` is over. What it only had in memory may be less in the next one: applied and
    /// committed begin again with the snapshot. What its disk had acknowledged may not.
    pub fn crashed(&mut self, place: usize, promises: Promises) {
        self.seen.remove(&place);
        self.floors.insert(place, promises);
    }

    /// The node at `place` shows `status`, and its disk has acknowledged `promises`.
    pub fn look(&mut self, place: usize, status: &Status, promises: &Promises) {
        let home = *self.places.entry(status.node_id).or_insert(place);
        assert_eq!(home, place, "C1: two nodes have the id {}", status.node_id);
        if status.role == Role::Leader {
            let leader = *self.leaders.entry(status.term).or_insert(status.node_id);
            assert_eq!(leader, status.node_id, "C1: two leaders of term {}", status.term);
        }
        let figures = Figures::of(status);
        if let Some(before) = self.seen.insert(place, figures) {
            assert!(
                figures.is_no_less_than(&before),
                "C2: server {place} fell from {before:?} to {figures:?}"
            );
        }
        assert!(figures.are_in_order(), "C3: server {place} has {figures:?}");
        assert!(status.applied_index <= status.last_log_index, "C3: server {place} has {status:?}");
        let Some(floor) = self.floors.get_mut(&place) else { return };
        // What a later leader has cut off is not promised any more.
        floor.last = floor.last.min(promises.last);
        assert!(
            figures.term >= floor.term()
                && status.last_log_index >= floor.last
                && figures.applied >= floor.snapshot,
            "C2: server {place} is back with {figures:?} and a log until {}, its disk had acknowledged {floor:?}",
            status.last_log_index
        );
    }
}
