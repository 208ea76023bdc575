//! The checks that a grant must pass: the same functions for the planner that decides and for `apply` that re-checks.
//!
//! What it promises: pure functions of what they are given, so a decision that passed here against some state passes
//! in `apply` against an equal state; they name one reason, always the same for the same input. What it must not do:
//! change anything, rank anything, or know labels and constraints, which bind the planner only. Tested here and
//! against the planner in `tests/scheduler`.

use super::outcome::{RefusalReason, StaleDecision};
use super::queue::{Queue, QueuePhase};
use super::resources::{ResourceProfile, Usage};
use super::task_manager::{Condition, Offer, TaskManager};

/// What decides whether a TaskManager has a place for one more slot.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// What it offers.
    pub offer: &'a Offer,
    /// Slots that are taken.
    pub slots_used: u32,
    /// What is free; only a dynamic offer looks at it.
    pub free: &'a ResourceProfile,
}

impl<'a> Room<'a> {
    /// The room on a TaskManager, whatever its condition.
    pub fn of(task_manager: &'a TaskManager) -> Self {
        let slots_used = u32::try_from(task_manager.slots.len()).unwrap_or(u32::MAX);
        Self { offer: &task_manager.offer, slots_used, free: &task_manager.free }
    }

    /// Whether there is a place for a slot of some profile. A dynamic TaskManager has none when all it offers is given
    /// away, also for a slot that would cost nothing.
    pub fn has_free_slot(&self) -> bool {
        let is_spent = match self.offer {
            Offer::Static { .. } => false,
            Offer::Dynamic { total, .. } => self.free.is_zero() && !total.is_zero(),
        };
        self.slots_used < self.offer.slots_max() && !is_spent
    }

    /// The profile that a slot for `wanted` gets here now.
    ///
    /// # Errors
    /// `TooSmall`, `NoFreeSlot` or `NotEnoughFree`, the first that holds in this order.
    pub fn takes(&self, wanted: Option<&'a ResourceProfile>) -> Result<&'a ResourceProfile, RefusalReason> {
        let profile = effective_profile(self.offer, wanted)?;
        if !self.has_free_slot() {
            return Err(RefusalReason::NoFreeSlot);
        }
        match self.offer {
            Offer::Dynamic { .. } if !profile.fits_within(self.free) => Err(RefusalReason::NotEnoughFree),
            _ => Ok(profile),
        }
    }
}

/// The profile that a slot for `wanted` gets on an empty TaskManager with this offer: a whole slot of a static one, and
/// what is asked for, or else the default slot, of a dynamic one.
///
/// # Errors
/// `TooSmall` if even the empty TaskManager could not give it.
pub fn effective_profile<'a>(
    offer: &'a Offer,
    wanted: Option<&'a ResourceProfile>,
) -> Result<&'a ResourceProfile, RefusalReason> {
    let (profile, needed, ceiling) = match offer {
        Offer::Static { slot_profile, .. } => (slot_profile, wanted.unwrap_or(slot_profile), slot_profile),
        Offer::Dynamic { total, slot_profile } => {
            let profile = wanted.unwrap_or(slot_profile);
            (profile, profile, total)
        }
    };
    if needed.fits_within(ceiling) { Ok(profile) } else { Err(RefusalReason::TooSmall) }
}

/// The profile that a slot for `wanted` gets in this room, if a TaskManager of this condition takes new slots.
///
/// # Errors
/// `Lost`, `NotAccepting`, or what [`Room::takes`] refuses with.
pub fn accepts<'a>(
    condition: Condition,
    room: Room<'a>,
    wanted: Option<&'a ResourceProfile>,
) -> Result<&'a ResourceProfile, RefusalReason> {
    match condition {
        Condition::Active => room.takes(wanted),
        Condition::Lost { .. } => Err(RefusalReason::Lost),
        Condition::Cordoned | Condition::Draining { .. } | Condition::Drained => {
            Err(RefusalReason::NotAccepting)
        }
    }
}

/// What a queue is charged with after one more slot of `profile` on top of `used`.
///
/// # Errors
/// `QueueStopped`, or `QueueMaximum` if the ceiling would be exceeded.
pub fn queue_admits(queue: &Queue, used: &Usage, profile: &ResourceProfile) -> Result<Usage, RefusalReason> {
    if queue.phase == QueuePhase::Stopped {
        return Err(RefusalReason::QueueStopped);
    }
    let charged = used.checked_with(profile).ok_or(RefusalReason::QueueMaximum)?;
    if queue.maximum.admits(&charged) { Ok(charged) } else { Err(RefusalReason::QueueMaximum) }
}

/// How `apply` names a refusal that the planner had not seen.
pub fn stale_decision(reason: RefusalReason) -> StaleDecision {
    match reason {
        RefusalReason::NoFreeSlot => StaleDecision::Slot,
        RefusalReason::NotEnoughFree | RefusalReason::TooSmall => StaleDecision::Resources,
        RefusalReason::QueueMaximum => StaleDecision::QueueMaximum,
        RefusalReason::QueueStopped => StaleDecision::QueueStopped,
        RefusalReason::NotAccepting
        | RefusalReason::Lost
        | RefusalReason::Constraint
        | RefusalReason::Spread
        | RefusalReason::NotEnoughInAll
        | RefusalReason::StartFailures => StaleDecision::TaskManager,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::resources::ResourceLimit;

    fn cpu(cpu_millis: u64) -> ResourceProfile {
        let mut profile = ResourceProfile::default();
        profile.cpu_millis = cpu_millis;
        profile
    }

    fn room<'a>(offer: &'a Offer, slots_used: u32, free: &'a ResourceProfile) -> Room<'a> {
        Room { offer, slots_used, free }
    }

    #[test]
    fn a_static_offer_gives_a_whole_slot_to_whatever_fits_into_one() {
        let offer = Offer::Static { slots: 2, slot_profile: cpu(1000) };
        let (none, small, large) = (cpu(0), cpu(300), cpu(1001));
        assert_eq!(room(&offer, 1, &none).takes(None), Ok(&cpu(1000)));
        assert_eq!(room(&offer, 1, &none).takes(Some(&small)), Ok(&cpu(1000)));
        assert_eq!(room(&offer, 2, &none).takes(Some(&small)), Err(RefusalReason::NoFreeSlot));
        assert_eq!(room(&offer, 2, &none).takes(Some(&large)), Err(RefusalReason::TooSmall));
    }

    #[test]
    fn a_dynamic_offer_cuts_what_is_asked_for_until_it_is_spent() {
        let offer = Offer::Dynamic { total: cpu(4000), slot_profile: cpu(1000) };
        let (wanted, too_much) = (cpu(2500), cpu(4001));
        assert_eq!(room(&offer, 0, &cpu(4000)).takes(Some(&wanted)), Ok(&wanted));
        assert_eq!(room(&offer, 3, &cpu(2000)).takes(None), Ok(&cpu(1000)));
        assert_eq!(room(&offer, 3, &cpu(2000)).takes(Some(&wanted)), Err(RefusalReason::NotEnoughFree));
        assert_eq!(room(&offer, 3, &cpu(0)).takes(Some(&cpu(0))), Err(RefusalReason::NoFreeSlot));
        assert_eq!(room(&offer, 1024, &cpu(2000)).takes(None), Err(RefusalReason::NoFreeSlot));
        assert_eq!(room(&offer, 0, &cpu(4000)).takes(Some(&too_much)), Err(RefusalReason::TooSmall));
    }

    #[test]
    fn a_queue_admits_up_to_its_ceiling_and_nothing_while_stopped() {
        let maximum = ResourceLimit { slots: Some(2), ..Default::default() };
        let mut queue = Queue { maximum, ..Default::default() };
        let one = queue_admits(&queue, &Usage::default(), &cpu(100)).unwrap();
        let two = queue_admits(&queue, &one, &cpu(100)).unwrap();
        assert_eq!(two, Usage { slots: 2, profile: cpu(200) });
        assert_eq!(queue_admits(&queue, &two, &cpu(0)), Err(RefusalReason::QueueMaximum));
        queue.phase = QueuePhase::Stopped;
        assert_eq!(queue_admits(&queue, &Usage::default(), &cpu(0)), Err(RefusalReason::QueueStopped));
    }

    #[test]
    fn usage_beyond_64_bits_counts_as_above_the_maximum() {
        let used = Usage { slots: 1, profile: cpu(u64::MAX) };
        assert_eq!(queue_admits(&Queue::default(), &used, &cpu(1)), Err(RefusalReason::QueueMaximum));
    }
}
