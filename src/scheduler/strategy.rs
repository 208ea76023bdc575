//! What a placement strategy is: it sees who could take the next slot and names one.
//!
//! What it promises: a strategy sees only TaskManagers that can take the slot (room, queue, constraints and preferences
//! are already considered), in the order of their load; it is asked once per slot and sees the earlier slots of the
//! request. What a strategy must not do: depend on anything but the view, so that the same state gives the same
//! decision. How to write one: implement [`Strategy`] and register it in `Registry`; `strategies/` has three of a few
//! lines each, and `tests/scheduler/fixtures.rs` one from outside.

use std::cmp::Ordering;
use std::iter::Peekable;

use crate::domain::capacity::{Load, Shape, Shared};
use crate::domain::{Labels, Offer, ResourceProfile, TaskManagerId};

use super::trial::{Place, Trial};

/// Decides where the next slot goes.
pub trait Strategy: Send + Sync {
    /// Its name in requests and settings; a valid [`StrategyName`](crate::domain::StrategyName), unique in a registry.
    fn name(&self) -> &'static str;

    /// One of the candidates of the view; `None` leaves the slot and all further ones without a place.
    fn choose<'v>(&self, view: &View<'v>) -> Option<Candidate<'v>>;
}

/// In which direction a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The least loaded first.
    LeastLoaded,
    /// The most loaded first.
    MostLoaded,
}

/// A TaskManager that can take the slot.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'v> {
    id: &'v TaskManagerId,
    shape: &'v Shared<Shape>,
    labels: &'v Shared<Labels>,
}

impl<'v> Candidate<'v> {
    pub(super) fn new(id: &'v TaskManagerId, shape: &'v Shared<Shape>, labels: &'v Shared<Labels>) -> Self {
        Self { id, shape, labels }
    }

    pub(super) fn to_place(self) -> Place {
        Place { id: self.id.clone(), shape: self.shape.clone(), labels: self.labels.clone() }
    }

    pub(super) fn shape(&self) -> &'v Shared<Shape> {
        self.shape
    }

    /// Who.
    pub fn id(&self) -> &'v TaskManagerId {
        self.id
    }

    /// What it is like.
    pub fn labels(&self) -> &'v Labels {
        self.labels
    }

    /// What it offers.
    pub fn offer(&self) -> &'v Offer {
        self.shape.offer()
    }

    /// How loaded it is, the slots that this request already got included.
    pub fn load(&self) -> Load {
        self.shape.load()
    }

    /// What is free.
    pub fn free(&self) -> ResourceProfile {
        self.shape.free()
    }

    /// How many slots are taken.
    pub fn slots_used(&self) -> u32 {
        self.shape.slots_used()
    }
}

/// What a strategy sees.
#[derive(Debug, Clone, Copy)]
pub struct View<'v> {
    trial: &'v Trial<'v>,
    slots_left: u32,
}

impl<'v> View<'v> {
    pub(super) fn new(trial: &'v Trial<'v>, slots_left: u32) -> Self {
        Self { trial, slots_left }
    }

    /// How many slots of the request have no place yet; at least one.
    pub fn slots_left(&self) -> u32 {
        self.slots_left
    }

    /// What the slot must have; `None` is the default slot of the TaskManager.
    pub fn wanted(&self) -> Option<&'v ResourceProfile> {
        self.trial.need.wanted
    }

    /// The TaskManager that got the last slot of this request, if it takes another.
    pub fn last(&self) -> Option<Candidate<'v>> {
        self.trial.last()
    }

    /// One candidate of every group of TaskManagers that differ in nothing but their names and labels: the first by
    /// labels and name. Ordered by load, then offer and what is taken of it; the walk costs what is taken of it.
    pub fn candidates(&self, order: Order) -> impl Iterator<Item = Candidate<'v>> + use<'v> {
        let settled = Directed { candidates: self.trial.settled(), order }.peekable();
        let moved = Directed { candidates: self.trial.moved(), order }.peekable();
        Merged { settled, moved, order }
    }
}

/// A walk in one of the two directions.
struct Directed<I> {
    candidates: I,
    order: Order,
}

impl<I: DoubleEndedIterator> Iterator for Directed<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        match self.order {
            Order::LeastLoaded => self.candidates.next(),
            Order::MostLoaded => self.candidates.next_back(),
        }
    }
}

/// Two walks as one.
struct Merged<A: Iterator, B: Iterator> {
    settled: Peekable<A>,
    moved: Peekable<B>,
    order: Order,
}

impl<'v, A, B> Iterator for Merged<A, B>
where
    A: Iterator<Item = Candidate<'v>>,
    B: Iterator<Item = Candidate<'v>>,
{
    type Item = Candidate<'v>;

    fn next(&mut self) -> Option<Candidate<'v>> {
        let (Some(settled), Some(moved)) = (self.settled.peek(), self.moved.peek()) else {
            return self.settled.next().or_else(|| self.moved.next());
        };
        let by_shape = match self.order {
            Order::LeastLoaded => settled.shape.cmp(moved.shape),
            Order::MostLoaded => moved.shape.cmp(settled.shape),
        };
        match by_shape.then_with(|| (settled.labels, settled.id).cmp(&(moved.labels, moved.id))) {
            Ordering::Greater => self.moved.next(),
            Ordering::Less | Ordering::Equal => self.settled.next(),
        }
    }
}
