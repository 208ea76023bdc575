//! The capacity index: which TaskManagers take new slots, ordered by how loaded they are, and what there is in total.
//!
//! What it promises: kept up to date in O(log n) per change, and equal to an index built anew from the same
//! TaskManagers; what a walk over it shows depends on the TaskManagers only, never on the order of the changes. What it
//! must not do: decide anything; `check` says what fits and the scheduler chooses. It is derived and never encoded.
//! Tested here and by invariant (the index equals a rebuild).
//!
//! TaskManagers that differ only in their names are one entry of a walk: groups of equal shape (offer and what is
//! taken of it), and within them groups of equal labels. So the cost of a decision depends on the number of different
//! situations, not on the number of TaskManagers.

mod groups;
mod shape;
mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::constraint::Labels;
use super::ids::TaskManagerId;
use super::resources::ResourceProfile;
use super::task_manager::{Condition, Offer, TaskManager};

pub use groups::{Group, Groups};
pub use shape::{Load, Shape};
use shared::Interned;
pub use shared::Shared;

/// A condition without its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Takes new slots.
    Active,
    /// Cordoned by an operator.
    Cordoned,
    /// Draining.
    Draining,
    /// Drained.
    Drained,
    /// Lost.
    Lost,
}

impl From<&Condition> for Standing {
    fn from(condition: &Condition) -> Self {
        match condition {
            Condition::Active => Self::Active,
            Condition::Cordoned => Self::Cordoned,
            Condition::Draining { .. } => Self::Draining,
            Condition::Drained => Self::Drained,
            Condition::Lost { .. } => Self::Lost,
        }
    }
}

/// Sums over TaskManagers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many TaskManagers.
    pub task_managers: u32,
    /// Slots that are taken or free. A dynamic offer counts what is free in default slots.
    pub slots_total: u64,
    /// Slots that requests without a profile could get, were all of these TaskManagers to take new slots.
    pub slots_free: u64,
}

/// Where one TaskManager stands in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Its condition.
    pub standing: Standing,
    /// What it offers and how much of it is taken.
    pub shape: Shared<Shape>,
    /// What it is like.
    pub labels: Shared<Labels>,
}

/// The index.
#[derive(Debug, Clone, Default)]
pub struct Capacity {
    seats: BTreeMap<TaskManagerId, Arc<Seat>>,
    open: Groups,
    full: Groups,
    offers: Interned<Offer>,
    labels: Interned<Labels>,
    totals: BTreeMap<Standing, Totals>,
    /// Not part of equality, as a rebuilt index has not seen the changes.
    history: History,
}

/// What the index remembers of its own changes, for whoever remembers an answer that it gave.
#[derive(Debug, Clone, Default)]
struct History {
    changes: u64,
    growth: u64,
}

impl PartialEq for Capacity {
    fn eq(&self, other: &Self) -> bool {
        self.seats == other.seats
            && self.open == other.open
            && self.full == other.full
            && self.offers == other.offers
            && self.labels == other.labels
            && self.totals == other.totals
    }
}

impl Eq for Capacity {}

impl Capacity {
    /// Takes in a TaskManager, known or new, as it is now.
    pub fn insert(&mut self, id: &TaskManagerId, task_manager: &TaskManager) {
        let earlier = self.take_out(id);
        let offer = self.offers.take(&task_manager.offer);
        let labels = self.labels.take(&task_manager.labels);
        let shape = Shape::of(task_manager, offer);
        let standing = Standing::from(&task_manager.condition);
        let shape = Shared::new(shape);
        let shape = match standing {
            Standing::Active => self.groups_of(&shape).add(id, shape.clone(), &labels),
            _ => shape,
        };
        let totals = self.totals.entry(standing).or_default();
        totals.task_managers += 1;
        totals.slots_total += u64::from(shape.slots_total());
        totals.slots_free += u64::from(shape.slots_free());
        let seat = Arc::new(Seat { standing, shape, labels });
        self.history.note_insert(earlier.as_deref(), &seat);
        self.seats.insert(id.clone(), seat);
    }

    /// Takes in what changed about a TaskManager; the same as [`Capacity::insert`], and cheaper where only what is taken of it
    /// changed, as with every slot that is given or given back.
    pub fn update(&mut self, id: &TaskManagerId, task_manager: &TaskManager) {
        let standing = Standing::from(&task_manager.condition);
        let is_as_before = |seat: &&Arc<Seat>| {
            seat.standing == standing
                && **seat.shape.offer() == task_manager.offer
                && *seat.labels == task_manager.labels
        };
        match self.seats.get(id).filter(is_as_before).cloned() {
            Some(seat) => self.reseat(id, &seat, task_manager),
            None => self.insert(id, task_manager),
        }
    }

    /// Moves a TaskManager to where what is taken of it puts it; the rest of its seat stays.
    fn reseat(&mut self, id: &TaskManagerId, seat: &Seat, task_manager: &TaskManager) {
        let shape = Shared::new(Shape::of(task_manager, seat.shape.offer().clone()));
        let shape = if seat.standing == Standing::Active {
            self.groups_of(&seat.shape).remove(id, &seat.shape, &seat.labels);
            self.groups_of(&shape).add(id, shape.clone(), &seat.labels)
        } else {
            shape
        };
        let totals = self.totals.entry(seat.standing).or_default();
        totals.slots_total =
            totals.slots_total - u64::from(seat.shape.slots_total()) + u64::from(shape.slots_total());
        totals.slots_free =
            totals.slots_free - u64::from(seat.shape.slots_free()) + u64::from(shape.slots_free());
        let moved = Arc::new(Seat { standing: seat.standing, shape, labels: seat.labels.clone() });
        self.history.note_insert(Some(seat), &moved);
        self.seats.insert(id.clone(), moved);
    }

    fn groups_of(&mut self, shape: &Shape) -> &mut Groups {
        if shape.has_free_slot() { &mut self.open } else { &mut self.full }
    }

    /// Forgets a TaskManager, if it is known. Should it come back, that is growth, whatever it was before.
    pub fn remove(&mut self, id: &TaskManagerId) {
        self.take_out(id);
    }

    fn take_out(&mut self, id: &TaskManagerId) -> Option<Arc<Seat>> {
        let seat = self.seats.remove(id)?;
        if seat.standing == Standing::Active {
            self.groups_of(&seat.shape).remove(id, &seat.shape, &seat.labels);
        }
        self.offers.release(seat.shape.offer());
        self.labels.release(&seat.labels);
        if let Some(totals) = self.totals.get_mut(&seat.standing) {
            totals.task_managers -= 1;
            totals.slots_total -= u64::from(seat.shape.slots_total());
            totals.slots_free -= u64::from(seat.shape.slots_free());
            if totals.task_managers == 0 {
                self.totals.remove(&seat.standing);
            }
        }
        self.history.changes += 1;
        Some(seat)
    }

    /// Where a TaskManager stands.
    pub fn seat(&self, id: &TaskManagerId) -> Option<&Seat> {
        self.seats.get(id).map(Arc::as_ref)
    }

    /// TaskManagers that take new slots and have a free one.
    pub fn open(&self) -> &Groups {
        &self.open
    }

    /// TaskManagers that would take new slots but have none free.
    pub fn full(&self) -> &Groups {
        &self.full
    }

    /// How many slots for `wanted` there is room for at most, counted up to `enough`.
    pub fn slots_possible(&self, wanted: Option<&ResourceProfile>, enough: u32) -> u32 {
        let mut possible = 0_u32;
        for (shape, group) in self.open.iter() {
            possible = possible.saturating_add(shape.slots_possible(wanted).saturating_mul(group.len()));
            if possible >= enough {
                break;
            }
        }
        possible
    }

    /// All sets of labels that some TaskManager has, in order.
    pub fn label_sets(&self) -> impl Iterator<Item = &Shared<Labels>> {
        self.labels.iter()
    }

    /// All offers that some TaskManager makes, in order.
    pub fn offers(&self) -> impl Iterator<Item = &Shared<Offer>> {
        self.offers.iter()
    }

    /// How many TaskManagers there are, lost ones included.
    pub fn task_managers(&self) -> u32 {
        self.totals.values().map(|totals| totals.task_managers).sum()
    }

    /// Sums over the TaskManagers of one condition.
    pub fn totals(&self, standing: Standing) -> Totals {
        self.totals.get(&standing).copied().unwrap_or_default()
    }

    /// Grows with every change. Counts from when this copy of the index was built, so it means nothing elsewhere.
    pub fn changes(&self) -> u64 {
        self.history.changes
    }

    /// Grows with every change that may make room where there was none: while it stands still, what found no place
    /// before finds none now. As local as [`Capacity::changes`].
    pub fn growth(&self) -> u64 {
        self.history.growth
    }
}

impl History {
    fn note_insert(&mut self, earlier: Option<&Seat>, seat: &Seat) {
        self.changes += 1;
        let has_grown = earlier.is_none_or(|earlier| {
            earlier.standing != seat.standing
                || earlier.labels != seat.labels
                || seat.shape.grew_from(&earlier.shape)
        });
        if seat.standing == Standing::Active && has_grown {
            self.growth += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::ids::{
        AllocationId, Epoch, Generation, LogicalTime, Name, Revision, TaskManagerSession,
    };

    fn cpu(cpu_millis: u64) -> ResourceProfile {
        let mut profile = ResourceProfile::default();
        profile.cpu_millis = cpu_millis;
        profile
    }

    fn id(number: u8) -> TaskManagerId {
        TaskManagerId::new(&format!("tm-{number}")).unwrap()
    }

    /// A TaskManager in one of many situations, few enough that groups are shared.
    fn task_manager(kind: u8, slots: u32, zone: u8, condition: u8) -> TaskManager {
        let offer = match kind {
            0 => Offer::Static { slots: 4, slot_profile: cpu(0) },
            1 => Offer::Static { slots: 4, slot_profile: cpu(500) },
            _ => Offer::Dynamic { total: cpu(2000), slot_profile: cpu(500) },
        };
        let taken = if kind == 2 { cpu(500) } else { offer.slot_profile().clone() };
        let free = offer.total().unwrap().checked_sub(&taken.checked_mul(u64::from(slots)).unwrap()).unwrap();
        TaskManager {
            session: TaskManagerSession::new("session").unwrap(),
            epoch: Epoch(1),
            address: Arc::from("localhost:1"),
            offer,
            labels: BTreeMap::from([(Name::new("zone").unwrap(), zone.to_string())]),
            condition: match condition {
                0 => Condition::Cordoned,
                1 => Condition::Lost { since: LogicalTime(1) },
                _ => Condition::Active,
            },
            returns_as: None,
            generation: Generation(1),
            slots: (0..slots).map(|index| (index, AllocationId(uuid::Uuid::nil()))).collect(),
            free,
            registered_at: LogicalTime(1),
            registered_in: Revision(1),
        }
    }

    fn rebuilt(task_managers: &BTreeMap<TaskManagerId, TaskManager>) -> Capacity {
        let mut capacity = Capacity::default();
        for (id, task_manager) in task_managers.iter().rev() {
            capacity.insert(id, task_manager);
        }
        capacity
    }

    type Step = (u8, Option<(u8, u32, u8, u8)>);

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        prop::collection::vec(
            (0_u8..20, prop::option::weighted(0.8, (0_u8..3, 0_u32..=4, 0_u8..2, 0_u8..5))),
            1..80,
        )
    }

    proptest! {
        #[test]
        fn the_index_equals_a_rebuild_after_any_changes(steps in steps()) {
            let (mut capacity, mut task_managers) = (Capacity::default(), BTreeMap::new());
            for (number, step) in steps {
                let earlier = capacity.clone();
                match step {
                    None => {
                        capacity.remove(&id(number));
                        task_managers.remove(&id(number));
                    }
                    Some((kind, slots, zone, condition)) => {
                        let task_manager = task_manager(kind, slots, zone, condition);
                        capacity.update(&id(number), &task_manager);
                        task_managers.insert(id(number), task_manager);
                    }
                }
                prop_assert_eq!(&capacity, &rebuilt(&task_managers));
                if capacity.growth() == earlier.growth() {
                    prop_assert!(slots_free(&capacity) <= slots_free(&earlier));
                }
            }
            prop_assert_eq!(u64::from(capacity.task_managers()), u64::try_from(task_managers.len()).unwrap());
        }
    }

    fn slots_free(capacity: &Capacity) -> u64 {
        capacity.totals(Standing::Active).slots_free
    }

    #[test]
    fn the_walk_goes_from_the_least_to_the_most_loaded_and_leaves_out_who_has_no_free_slot() {
        let mut capacity = Capacity::default();
        for (number, slots) in [(1, 4), (2, 3), (3, 0), (4, 1), (5, 0)] {
            capacity.insert(&id(number), &task_manager(1, slots, 0, 9));
        }
        let loads: Vec<u32> = capacity.open().iter().map(|(shape, _)| shape.load().0).collect();
        assert_eq!(loads, [0, 250_000, 750_000]);
        let members: Vec<u32> = capacity.open().iter().map(|(_, group)| group.len()).collect();
        assert_eq!(members, [2, 1, 1]);
        assert_eq!(
            capacity.totals(Standing::Active),
            Totals { task_managers: 5, slots_total: 20, slots_free: 12 }
        );
    }

    #[test]
    fn who_went_and_comes_back_is_growth() {
        let mut capacity = Capacity::default();
        let task_manager = task_manager(1, 0, 0, 9);
        capacity.insert(&id(1), &task_manager);
        capacity.remove(&id(1));
        let growth = capacity.growth();
        capacity.insert(&id(1), &task_manager);
        assert!(capacity.growth() > growth);
    }

    #[test]
    fn taking_slots_is_a_change_but_no_growth() {
        let mut capacity = Capacity::default();
        capacity.insert(&id(1), &task_manager(2, 0, 0, 9));
        let (changes, growth) = (capacity.changes(), capacity.growth());
        capacity.update(&id(1), &task_manager(2, 1, 0, 9));
        assert!(capacity.changes() > changes);
        assert_eq!(capacity.growth(), growth);
        capacity.update(&id(1), &task_manager(2, 0, 0, 9));
        assert!(capacity.growth() > growth);
    }
}
