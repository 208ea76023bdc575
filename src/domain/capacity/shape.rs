//! The shape of a TaskManager: what it offers and how much of it is taken, apart from who it is.
//!
//! What it promises: TaskManagers of equal shape have room for exactly the same slots, and shapes order by load first,
//! so that a walk over shapes is a walk from the least to the most loaded. What it must not do: know labels, ids or
//! conditions.

use super::super::check::Room;
use super::super::ids::Name;
use super::super::outcome::RefusalReason;
use super::super::resources::ResourceProfile;
use super::super::task_manager::{Offer, TaskManager};
use super::shared::Shared;

/// How much of a TaskManager is taken, in parts per million of its dominant dimension, rounded down: the share of the
/// slots of a static offer, the largest share over CPU, memory and extended resources of a dynamic one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Load(pub u32);

/// Parts of a whole.
const WHOLE: u32 = 1_000_000;

/// What decides which slots fit, and how loaded the TaskManager is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    load: Load,
    offer: Shared<Offer>,
    slots_used: u32,
    /// What is left of a dynamic offer; zero for a static one, where `slots_used` says it all.
    free: ResourceProfile,
}

impl Shape {
    /// The shape of `task_manager`, whose offer is `offer`.
    pub(super) fn of(task_manager: &TaskManager, offer: Shared<Offer>) -> Self {
        let slots_used = u32::try_from(task_manager.slots.len()).unwrap_or(u32::MAX);
        Self::new(offer, slots_used, task_manager.free.clone())
    }

    fn new(offer: Shared<Offer>, slots_used: u32, free: ResourceProfile) -> Self {
        let (load, free) = match &*offer {
            Offer::Static { slots, .. } => {
                (share(u64::from(slots_used), u64::from(*slots)), ResourceProfile::default())
            }
            Offer::Dynamic { total, .. } => (dominant_share(total, &free), free),
        };
        Self { load, offer, slots_used, free }
    }

    /// How loaded.
    pub fn load(&self) -> Load {
        self.load
    }

    /// What is offered.
    pub fn offer(&self) -> &Shared<Offer> {
        &self.offer
    }

    /// Slots that are taken.
    pub fn slots_used(&self) -> u32 {
        self.slots_used
    }

    /// What is free: of a static offer the profiles of the free slots.
    pub fn free(&self) -> ResourceProfile {
        match &*self.offer {
            Offer::Static { slot_profile, .. } => {
                slot_profile.checked_mul(u64::from(self.slots_free())).unwrap_or_default()
            }
            Offer::Dynamic { .. } => self.free.clone(),
        }
    }

    /// Slots that requests without a profile could still get.
    pub fn slots_free(&self) -> u32 {
        self.slots_possible(None)
    }

    /// Slots that are taken or free.
    pub fn slots_total(&self) -> u32 {
        self.slots_used.saturating_add(self.slots_free())
    }

    /// Whether there is a place for a slot of some profile.
    pub fn has_free_slot(&self) -> bool {
        self.room().has_free_slot()
    }

    /// The profile that a slot for `wanted` gets here now.
    ///
    /// # Errors
    /// As [`Room::takes`].
    pub fn takes<'a>(
        &'a self,
        wanted: Option<&'a ResourceProfile>,
    ) -> Result<&'a ResourceProfile, RefusalReason> {
        self.room().takes(wanted)
    }

    /// How many slots for `wanted` fit one after the other.
    pub fn slots_possible(&self, wanted: Option<&ResourceProfile>) -> u32 {
        let Ok(profile) = self.takes(wanted) else { return 0 };
        let places = self.offer.slots_max().saturating_sub(self.slots_used);
        match &*self.offer {
            Offer::Static { .. } => places,
            Offer::Dynamic { .. } => places.min(times(profile, &self.free)),
        }
    }

    /// The shape after one more slot of `profile`; `None` if it has no place for it.
    #[must_use]
    pub fn with_slot(&self, profile: &ResourceProfile) -> Option<Self> {
        let free = match &*self.offer {
            Offer::Static { .. } => ResourceProfile::default(),
            Offer::Dynamic { .. } => self.free.checked_sub(profile)?,
        };
        (self.slots_used < self.offer.slots_max())
            .then(|| Self::new(self.offer.clone(), self.slots_used + 1, free))
    }

    /// Whether `self` may have room for something that `earlier` had no room for.
    pub(super) fn grew_from(&self, earlier: &Self) -> bool {
        let is_shrunk = self.slots_used >= earlier.slots_used && self.free.fits_within(&earlier.free);
        self.offer != earlier.offer || !is_shrunk
    }

    fn room(&self) -> Room<'_> {
        Room { offer: &self.offer, slots_used: self.slots_used, free: &self.free }
    }
}

/// The largest share that is taken over all dimensions that `total` has.
fn dominant_share(total: &ResourceProfile, free: &ResourceProfile) -> Load {
    let plain = total.plain().into_iter().zip(free.plain());
    let extended = total.extended().iter().map(|(name, total)| (*total, amount(free, name)));
    plain
        .chain(extended)
        .map(|(total, free)| share(total.saturating_sub(free), total))
        .max()
        .unwrap_or_default()
}

/// `used` of `total` in parts per million; nothing of nothing is nothing.
fn share(used: u64, total: u64) -> Load {
    let parts = (u128::from(used) * u128::from(WHOLE)).checked_div(u128::from(total)).unwrap_or(0);
    Load(u32::try_from(parts).unwrap_or(WHOLE).min(WHOLE))
}

/// How many times `profile` fits into `free`; without end if it costs nothing.
fn times(profile: &ResourceProfile, free: &ResourceProfile) -> u32 {
    let plain = profile.plain().into_iter().zip(free.plain());
    let extended = profile.extended().iter().map(|(name, wanted)| (*wanted, amount(free, name)));
    let fits = plain.chain(extended).filter_map(|(wanted, free)| free.checked_div(wanted)).min();
    fits.map_or(u32::MAX, |fits| u32::try_from(fits).unwrap_or(u32::MAX))
}

fn amount(profile: &ResourceProfile, name: &Name) -> u64 {
    profile.extended().get(name).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(cpu_millis: u64, gpus: u64) -> ResourceProfile {
        let mut profile = ResourceProfile::default();
        profile.cpu_millis = cpu_millis;
        profile.with_extended(Name::new("gpu").unwrap(), gpus)
    }

    fn dynamic(total: ResourceProfile, free: ResourceProfile) -> Shape {
        Shape::new(Shared::new(Offer::Dynamic { total, slot_profile: profile(1000, 0) }), 0, free)
    }

    #[test]
    fn the_load_is_the_share_of_the_dimension_that_is_used_most() {
        assert_eq!(dynamic(profile(4000, 2), profile(3000, 2)).load(), Load(250_000));
        assert_eq!(dynamic(profile(4000, 2), profile(3000, 1)).load(), Load(500_000));
        let offer = Shared::new(Offer::Static { slots: 3, slot_profile: profile(0, 0) });
        assert_eq!(Shape::new(offer, 1, profile(0, 0)).load(), Load(333_333));
    }

    #[test]
    fn nothing_offered_is_not_loaded() {
        assert_eq!(dynamic(profile(0, 0), profile(0, 0)).load(), Load(0));
        assert_eq!(dynamic(profile(0, 0), profile(0, 0)).slots_free(), 0);
    }

    #[test]
    fn the_slots_that_are_possible_are_those_that_can_be_cut_one_after_the_other() {
        let mut shape = dynamic(profile(4000, 3), profile(4000, 3));
        let wanted = profile(1100, 1);
        let possible = shape.slots_possible(Some(&wanted));
        for _ in 0..possible {
            assert_eq!(shape.takes(Some(&wanted)), Ok(&wanted));
            shape = shape.with_slot(&wanted).unwrap();
        }
        assert_eq!((possible, shape.slots_used()), (3, 3));
        assert_eq!(shape.takes(Some(&wanted)), Err(RefusalReason::NotEnoughFree));
        assert_eq!(shape.slots_possible(Some(&wanted)), 0);
    }

    #[test]
    fn giving_back_is_growth_and_taking_is_not() {
        let full = dynamic(profile(4000, 0), profile(4000, 0));
        let less = full.with_slot(&profile(500, 0)).unwrap();
        assert!(!less.grew_from(&full));
        assert!(full.grew_from(&less));
        assert!(!full.grew_from(&full));
    }
}
