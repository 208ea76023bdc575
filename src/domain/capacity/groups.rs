//! TaskManagers in groups of equal shape, and within a shape of equal labels.
//!
//! What it promises: the order is by shape (hence by load), then labels, then id, and depends on nothing else; adding
//! and removing cost O(log n); no group is empty. What it must not do: know conditions; it holds whom it is given.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::super::constraint::Labels;
use super::super::ids::TaskManagerId;
use super::shape::Shape;
use super::shared::Shared;

/// Groups in the order of their shapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups(BTreeMap<Shared<Shape>, Group>);

/// TaskManagers of one shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    members: BTreeMap<Shared<Labels>, BTreeSet<TaskManagerId>>,
    len: u32,
}

impl Groups {
    /// Adds a TaskManager that is in no group; gives back the shape as the group shares it.
    pub fn add(
        &mut self,
        id: &TaskManagerId,
        shape: Shared<Shape>,
        labels: &Shared<Labels>,
    ) -> Shared<Shape> {
        let shape = self.0.get_key_value(&shape).map_or(shape, |(present, _)| present.clone());
        let group = self.0.entry(shape.clone()).or_default();
        if group.members.entry(labels.clone()).or_default().insert(id.clone()) {
            group.len += 1;
        }
        shape
    }

    /// Takes a TaskManager out of the group where it stands.
    pub fn remove(&mut self, id: &TaskManagerId, shape: &Shared<Shape>, labels: &Shared<Labels>) {
        let Some(group) = self.0.get_mut(shape) else { return };
        let Some(ids) = group.members.get_mut(labels) else { return };
        if ids.remove(id) {
            group.len -= 1;
        }
        if ids.is_empty() {
            group.members.remove(labels);
        }
        if group.members.is_empty() {
            self.0.remove(shape);
        }
    }

    /// Drops a whole group.
    pub fn remove_group(&mut self, shape: &Shared<Shape>) {
        self.0.remove(shape);
    }

    /// Whether there is no TaskManager.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The group of a shape.
    pub fn get(&self, shape: &Shared<Shape>) -> Option<&Group> {
        self.0.get(shape)
    }

    /// All groups, the least loaded first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Shared<Shape>, &Group)> {
        self.0.iter()
    }

    /// The groups from one shape to another, both included, the least loaded first. None if the first is above the
    /// last.
    pub fn between(
        &self,
        first: &Shared<Shape>,
        last: &Shared<Shape>,
    ) -> impl DoubleEndedIterator<Item = (&Shared<Shape>, &Group)> {
        // `range` panics if its ends are the wrong way round; an end at `first` then makes the answer at most one
        // group, which the filter drops.
        let is_ordered = first <= last;
        let last = if is_ordered { last } else { first };
        self.0.range::<Shared<Shape>, _>(first..=last).filter(move |_| is_ordered)
    }
}

impl Group {
    /// How many TaskManagers.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none; never true of a group that [`Groups`] holds.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Members by labels, in order.
    pub fn by_labels(&self) -> impl Iterator<Item = (&Shared<Labels>, &BTreeSet<TaskManagerId>)> {
        self.members.iter()
    }

    /// Whether a TaskManager with these labels is a member.
    pub fn holds(&self, labels: &Shared<Labels>, id: &TaskManagerId) -> bool {
        self.members.get(labels).is_some_and(|ids| ids.contains(id))
    }

    /// Members by labels, from the given one on.
    pub fn members_from<'a>(
        &'a self,
        from: Option<&'a (Shared<Labels>, TaskManagerId)>,
    ) -> impl Iterator<Item = (&'a Shared<Labels>, impl Iterator<Item = &'a TaskManagerId>)> {
        let start = from.map_or(Bound::Unbounded, |(labels, _)| Bound::Included(labels));
        self.members.range::<Shared<Labels>, _>((start, Bound::Unbounded)).map(move |(labels, ids)| {
            let first = from.filter(|(first, _)| first == labels).map(|(_, id)| id);
            let start = first.map_or(Bound::Unbounded, Bound::Included);
            (labels, ids.range::<TaskManagerId, _>((start, Bound::Unbounded)))
        })
    }
}
