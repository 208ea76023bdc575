//! What TaskManagers say they hold, against what the state says they should.
//!
//! What it promises: work is called not held only when a TaskManager left it out of two heartbeats in a row, the second
//! of which arrived after the first was answered; when it had been confirmed before either arrived; and when the
//! heartbeat is of a generation that has it. So a grant or a confirmation that is on its way is never held against
//! anybody. A heartbeat that does not say what is held says nothing, for or against. What it must not do: change the
//! state; a verdict is a command that names the registration. Tested below and in `tests/leader/held.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::keeper::Heartbeat;
use crate::domain::{AllocationId, AllocationPhase, Epoch, State, TaskManagerId};

/// What the TaskManager has confirmed, should hold, knew of when it sent the heartbeat, and does not name in it.
pub(super) fn left_out(state: &State, heartbeat: &Heartbeat) -> BTreeSet<AllocationId> {
    let Some(held) = &heartbeat.held else { return BTreeSet::new() };
    let task_manager = state.task_managers().get(&heartbeat.id);
    let task_manager = task_manager.filter(|found| found.epoch == heartbeat.epoch);
    let should_hold = task_manager.into_iter().flat_map(|found| found.slots.values());
    let is_known = |id: &AllocationId| {
        state.allocations().get(id).is_some_and(|allocation| {
            allocation.phase == AllocationPhase::Active && allocation.granted_in.0 <= heartbeat.generation.0
        })
    };
    should_hold.filter(|id| !held.contains(*id) && is_known(id)).copied().collect()
}

/// Whether the TaskManager names what it should not hold.
pub(super) fn holds_too_much(state: &State, heartbeat: &Heartbeat) -> bool {
    let is_wanted = |id: &AllocationId| {
        state.allocations().get(id).is_some_and(|allocation| allocation.task_manager == heartbeat.id)
    };
    heartbeat.held.iter().flatten().any(|id| !is_wanted(id))
}

/// What was left out of one heartbeat.
#[derive(Debug)]
struct Suspicion {
    epoch: Epoch,
    answered: Instant,
    left_out: BTreeSet<AllocationId>,
}

/// Who left something out of the last heartbeat that said what is held.
#[derive(Debug, Default)]
pub(super) struct Suspicions(BTreeMap<TaskManagerId, Suspicion>);

impl Suspicions {
    /// Takes in a heartbeat that arrived at `arrived` and is answered at `now`. Gives what was left out for the second
    /// time.
    pub(super) fn note(
        &mut self,
        heartbeat: &Heartbeat,
        left_out: BTreeSet<AllocationId>,
        arrived: Instant,
        now: Instant,
    ) -> Vec<AllocationId> {
        if heartbeat.held.is_none() {
            return Vec::new();
        }
        let earlier = self.0.get(&heartbeat.id).filter(|earlier| earlier.epoch == heartbeat.epoch);
        if earlier.is_some_and(|earlier| arrived < earlier.answered) {
            // A repetition of the earlier one, or one that it overtook.
            return Vec::new();
        }
        let is_second = |id: &AllocationId| earlier.is_some_and(|earlier| earlier.left_out.contains(id));
        let (judged, left_out): (BTreeSet<_>, BTreeSet<_>) = left_out.into_iter().partition(is_second);
        if left_out.is_empty() {
            self.0.remove(&heartbeat.id);
        } else {
            let suspicion = Suspicion { epoch: heartbeat.epoch, answered: now, left_out };
            self.0.insert(heartbeat.id.clone(), suspicion);
        }
        judged.into_iter().collect()
    }

    /// Forgets what a TaskManager left out.
    pub(super) fn forget(&mut self, id: &TaskManagerId) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Generation;

    fn ids(numbers: &[u128]) -> BTreeSet<AllocationId> {
        numbers.iter().map(|number| AllocationId(uuid::Uuid::from_u128(*number))).collect()
    }

    fn heartbeat(epoch: u64, held: Option<BTreeSet<AllocationId>>) -> Heartbeat {
        let id = TaskManagerId::new("tm").unwrap();
        Heartbeat { id, epoch: Epoch(epoch), generation: Generation(9), held }
    }

    struct Times(Instant);

    impl Times {
        fn at(&self, ms: u64) -> Instant {
            self.0 + Duration::from_millis(ms)
        }
    }

    #[test]
    fn what_two_heartbeats_in_a_row_leave_out_is_judged_once() {
        let (mut suspicions, times) = (Suspicions::default(), Times(Instant::now()));
        let beat = heartbeat(1, Some(ids(&[])));
        let mut note =
            |left_out: &[u128], ms| suspicions.note(&beat, ids(left_out), times.at(ms), times.at(ms + 1));
        assert_eq!(note(&[1, 2], 0), []);
        assert_eq!(note(&[2, 3], 10), ids(&[2]).into_iter().collect::<Vec<_>>());
        assert_eq!(note(&[3], 20), ids(&[3]).into_iter().collect::<Vec<_>>());
        assert_eq!(note(&[], 30), []);
        assert!(suspicions.0.is_empty());
    }

    #[test]
    fn one_heartbeat_that_names_it_clears_the_suspicion() {
        let (mut suspicions, times) = (Suspicions::default(), Times(Instant::now()));
        let beat = heartbeat(1, Some(ids(&[])));
        for (ms, left_out) in [(0, ids(&[1])), (10, ids(&[])), (20, ids(&[1]))] {
            assert_eq!(suspicions.note(&beat, left_out, times.at(ms), times.at(ms + 1)), []);
        }
    }

    #[test]
    fn a_heartbeat_that_arrived_before_the_first_was_answered_does_not_count() {
        let (mut suspicions, times) = (Suspicions::default(), Times(Instant::now()));
        let beat = heartbeat(1, Some(ids(&[])));
        assert_eq!(suspicions.note(&beat, ids(&[1]), times.at(0), times.at(10)), []);
        assert_eq!(suspicions.note(&beat, ids(&[1]), times.at(9), times.at(11)), []);
        assert_eq!(suspicions.note(&beat, ids(&[1]), times.at(10), times.at(12)).len(), 1);
    }

    #[test]
    fn a_heartbeat_that_says_nothing_counts_neither_for_nor_against() {
        let (mut suspicions, times) = (Suspicions::default(), Times(Instant::now()));
        let (says, silent) = (heartbeat(1, Some(ids(&[]))), heartbeat(1, None));
        assert_eq!(suspicions.note(&says, ids(&[1]), times.at(0), times.at(1)), []);
        assert_eq!(suspicions.note(&silent, ids(&[]), times.at(2), times.at(3)), []);
        assert_eq!(suspicions.note(&says, ids(&[1]), times.at(4), times.at(5)).len(), 1);
    }

    #[test]
    fn what_another_registration_left_out_does_not_count() {
        let (mut suspicions, times) = (Suspicions::default(), Times(Instant::now()));
        let (first, second) = (heartbeat(1, Some(ids(&[]))), heartbeat(2, Some(ids(&[]))));
        assert_eq!(suspicions.note(&first, ids(&[1]), times.at(0), times.at(1)), []);
        assert_eq!(suspicions.note(&second, ids(&[1]), times.at(2), times.at(3)), []);
        suspicions.forget(&second.id);
        assert_eq!(suspicions.note(&second, ids(&[1]), times.at(4), times.at(5)), []);
    }
}
