//! Counting slots of a TaskManager for answers.
//!
//! What it promises: held plus free is the total. Where slots are cut from a total, what is free is counted in default
//! slots. What it must not do: decide placements; these figures are for people.

use crate::domain::limits::SLOTS_PER_TASK_MANAGER_MAX;
use crate::domain::{Offer, ResourceProfile, TaskManager};

/// Slots of one TaskManager.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SlotCounts {
    pub(super) total: u64,
    pub(super) free: u64,
}

/// The slots of `task_manager`; none of a lost one is free.
pub(super) fn count(task_manager: &TaskManager) -> SlotCounts {
    let held = u64::try_from(task_manager.slots.len()).unwrap_or(u64::MAX);
    let free = match &task_manager.offer {
        Offer::Static { slots, .. } => u64::from(*slots).saturating_sub(held),
        Offer::Dynamic { slot_profile, .. } => {
            let room = u64::from(SLOTS_PER_TASK_MANAGER_MAX).saturating_sub(held);
            fitting(&task_manager.free, slot_profile).min(room)
        }
    };
    SlotCounts { total: held + free, free: if task_manager.is_lost() { 0 } else { free } }
}

/// How many times `part` fits into `whole`.
fn fitting(whole: &ResourceProfile, part: &ResourceProfile) -> u64 {
    let plain = whole.plain().into_iter().zip(part.plain());
    let extended = part.extended().iter();
    let extended = extended.map(|(name, amount)| (whole.extended().get(name).copied().unwrap_or(0), *amount));
    let times = plain.chain(extended).filter_map(|(has, needs)| has.checked_div(needs));
    times.min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scarcest_amount_decides_how_often_a_slot_fits() {
        let profile = |cpu_millis, managed_bytes| {
            let mut profile = ResourceProfile::default();
            profile.cpu_millis = cpu_millis;
            profile.managed_bytes = managed_bytes;
            profile
        };
        assert_eq!(fitting(&profile(4000, 10), &profile(1000, 5)), 2);
        assert_eq!(fitting(&profile(999, 10), &profile(1000, 0)), 0);
        assert_eq!(fitting(&profile(999, 10), &profile(0, 0)), u64::MAX);
    }
}
