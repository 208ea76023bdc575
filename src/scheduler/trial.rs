//! One request being placed slot by slot, on paper: the index as it is, and on top of it what this request took.
//!
//! What it promises: the state is only read, so nothing is left behind when the trial is dropped; each slot sees the
//! earlier ones (their room, the queue's charge, the spread); what a trial places passes the checks of `apply` against
//! the same state. A slot costs O(log n), because whoever was refused once is never looked at again: within one request
//! room, queue and spread only get tighter. What it must not do: choose; a strategy does, through `View`.
//! Tested in `tests/scheduler` against a reference that looks at every TaskManager for every slot.

use std::collections::BTreeMap;

use crate::domain::capacity::{Capacity, Group, Groups, Shape, Shared, Standing};
use crate::domain::{Labels, Queue, QueuePhase, RefusalReason, State, TaskManagerId, Usage, check};

use super::avoidance::Avoided;
use super::need::Need;
use super::strategy::Candidate;

/// Where one TaskManager stands in a walk: its situation and its name.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) id: TaskManagerId,
    pub(super) shape: Shared<Shape>,
    pub(super) labels: Shared<Labels>,
}

/// A request being placed.
#[derive(Debug)]
pub struct Trial<'a> {
    pub(super) capacity: &'a Capacity,
    pub(super) need: Need<'a>,
    /// Where nothing is to be placed, whatever the room.
    pub(super) avoided: Avoided<'a>,
    queue: &'a Queue,
    /// What the queue is charged with, this request's slots included.
    charged: Usage,
    /// Why the queue refuses the request as a whole.
    queue_refusal: Option<RefusalReason>,
    /// Only TaskManagers with so many of the preferred labels are candidates now.
    rank: usize,
    /// The least and the most loaded group of the index that may still have a candidate.
    window: Option<(Shared<Shape>, Shared<Shape>)>,
    /// Per group of the index, its first member that may still be a candidate.
    passed: BTreeMap<Shared<Shape>, (Shared<Labels>, TaskManagerId)>,
    /// Whom this request gave slots, and what they look like with them.
    pub(super) touched: BTreeMap<TaskManagerId, Shared<Shape>>,
    /// Those of them that take another.
    moved: Groups,
    placed: Vec<TaskManagerId>,
    last: Option<Place>,
}

impl<'a> Trial<'a> {
    /// A trial of `need`, charged to `queue`, that places nothing on `avoided`.
    pub(super) fn new(state: &'a State, need: Need<'a>, queue: &'a Queue, avoided: Avoided<'a>) -> Self {
        Self {
            capacity: state.indexes().capacity(),
            need,
            avoided,
            queue,
            charged: queue.used.clone(),
            queue_refusal: None,
            rank: 0,
            window: None,
            passed: BTreeMap::new(),
            touched: BTreeMap::new(),
            moved: Groups::default(),
            placed: Vec::new(),
            last: None,
        }
    }

    /// Who got the slots, one entry per slot, in order.
    pub(super) fn placed(&self) -> &[TaskManagerId] {
        &self.placed
    }

    /// Whether the queue admits `slots` slots if each is charged with no more than was asked for.
    pub(super) fn queue_admits_all(&mut self, slots: u32) -> bool {
        let profile = self.need.wanted.cloned().unwrap_or_default().checked_mul(u64::from(slots));
        let least = profile.and_then(|profile| self.charged.profile.checked_add(&profile));
        let charged =
            least.map(|profile| Usage { slots: self.charged.slots.saturating_add(slots.into()), profile });
        self.queue_refusal = match self.queue.phase {
            QueuePhase::Stopped => Some(RefusalReason::QueueStopped),
            QueuePhase::Running if charged.is_some_and(|charged| self.queue.maximum.admits(&charged)) => None,
            QueuePhase::Running => Some(RefusalReason::QueueMaximum),
        };
        self.queue_refusal.is_none()
    }

    /// How many slots there is room for at most, counted up to `enough`. More than there is if spreading or the queue
    /// forbid some.
    pub(super) fn slots_possible(&self, enough: u32) -> u32 {
        if let Some(only) = self.need.only() {
            return if self.avoided.contains(only) { 0 } else { self.slots_possible_on(only) };
        }
        let avoided = self.avoided.iter().map(|id| self.slots_possible_on(id)).fold(0, u32::saturating_add);
        self.slots_possible_anywhere(enough.saturating_add(avoided)).saturating_sub(avoided)
    }

    fn slots_possible_on(&self, id: &TaskManagerId) -> u32 {
        let seat = self.capacity.seat(id).filter(|seat| seat.standing == Standing::Active);
        let seat =
            seat.filter(|seat| self.need.holds(id, &seat.labels) && self.need.spread_allows(&seat.labels));
        seat.map_or(0, |seat| seat.shape.slots_possible(self.need.wanted))
    }

    fn slots_possible_anywhere(&self, enough: u32) -> u32 {
        if !self.need.asks_for_labels() {
            return self.capacity.slots_possible(self.need.wanted, enough);
        }
        let mut possible = 0_u32;
        for (shape, group) in self.capacity.open().iter() {
            let each = shape.slots_possible(self.need.wanted);
            if each == 0 {
                continue;
            }
            for (_, ids) in group.by_labels().filter(|(labels, _)| self.need.admits_labels(labels)) {
                let members = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                possible = possible.saturating_add(each.saturating_mul(members));
                if possible >= enough {
                    return possible;
                }
            }
        }
        possible
    }

    /// Makes candidates of those TaskManagers that have exactly so many of the preferred labels.
    pub(super) fn set_rank(&mut self, rank: usize) {
        self.rank = rank;
        self.passed.clear();
        self.moved = Groups::default();
        let first = self.capacity.open().iter().next();
        let last = self.capacity.open().iter().next_back();
        self.window = first.zip(last).map(|((first, _), (last, _))| (first.clone(), last.clone()));
        self.tighten();
    }

    /// Gives the TaskManager slots until it takes no more or `slots` are given; says how many were.
    pub(super) fn fill(&mut self, id: &TaskManagerId, slots: u32) -> u32 {
        let Some(seat) = self.capacity.seat(id) else { return 0 };
        let is_open =
            self.capacity.open().get(&seat.shape).is_some_and(|group| group.holds(&seat.labels, id));
        if !is_open || self.avoided.contains(id) || !self.need.holds(id, &seat.labels) {
            return 0;
        }
        let mut given = 0;
        let mut place = Place { id: id.clone(), shape: seat.shape.clone(), labels: seat.labels.clone() };
        while given < slots {
            if let Some(shape) = self.touched.get(id) {
                place.shape = shape.clone();
            }
            if self.refusal(&place.shape, &place.labels).is_some() {
                break;
            }
            self.give(place.clone());
            given += 1;
        }
        given
    }

    /// Gives one slot to a candidate. The candidate comes from a walk over this trial as it is.
    pub(super) fn place(&mut self, place: Place) {
        if !self.touched.contains_key(&place.id) {
            self.passed.insert(place.shape.clone(), (place.labels.clone(), place.id.clone()));
        }
        self.give(place);
        self.tighten();
    }

    fn give(&mut self, place: Place) {
        let Place { id, shape, labels } = place;
        let profile = shape.takes(self.need.wanted).expect("a candidate takes the slot");
        self.charged =
            check::queue_admits(self.queue, &self.charged, profile).expect("the queue admits a candidate");
        let next = Shared::new(shape.with_slot(profile).expect("a candidate has a place for the slot"));
        if self.touched.contains_key(&id) {
            self.moved.remove(&id, &shape, &labels);
        }
        self.need.count(&labels);
        self.placed.push(id.clone());
        let takes_more = self.is_candidate_group(&next) && self.is_candidate(&labels);
        let shape = if takes_more { self.moved.add(&id, next, &labels) } else { next };
        self.touched.insert(id.clone(), shape.clone());
        self.last = takes_more.then_some(Place { id, shape, labels });
    }

    /// Why a TaskManager of this shape and these labels gets no slot; the constraints are taken to hold.
    pub(super) fn refusal(&self, shape: &Shape, labels: &Labels) -> Option<RefusalReason> {
        let profile = match shape.takes(self.need.wanted) {
            Ok(profile) => profile,
            Err(reason) => return Some(reason),
        };
        if !self.need.spread_allows(labels) {
            return Some(RefusalReason::Spread);
        }
        self.queue_refusal.or_else(|| check::queue_admits(self.queue, &self.charged, profile).err())
    }

    /// Whether TaskManagers of this shape have room, and the queue admits what a slot costs there.
    fn is_candidate_group(&self, shape: &Shape) -> bool {
        shape
            .takes(self.need.wanted)
            .is_ok_and(|profile| check::queue_admits(self.queue, &self.charged, profile).is_ok())
    }

    fn is_candidate(&self, labels: &Labels) -> bool {
        self.need.admits_labels(labels) && self.need.rank(labels) == self.rank
    }

    /// The candidate groups of the index, with the first candidate of each.
    pub(super) fn settled(&self) -> impl DoubleEndedIterator<Item = Candidate<'_>> {
        let groups = self.window.iter().flat_map(|(first, last)| self.capacity.open().between(first, last));
        groups.filter_map(|(shape, group)| self.first_settled(shape, group))
    }

    /// The groups of those that already got slots and take more, with the first candidate of each.
    pub(super) fn moved(&self) -> impl DoubleEndedIterator<Item = Candidate<'_>> {
        self.moved.iter().filter_map(|(shape, group)| self.first_moved(shape, group))
    }

    /// The TaskManager that got the last slot, if it takes another.
    pub(super) fn last(&self) -> Option<Candidate<'_>> {
        let place = self.last.as_ref()?;
        let takes_more = self.is_candidate_group(&place.shape) && self.is_candidate(&place.labels);
        takes_more.then(|| Candidate::new(&place.id, &place.shape, &place.labels))
    }

    fn first_settled<'t>(&'t self, shape: &'t Shared<Shape>, group: &'t Group) -> Option<Candidate<'t>> {
        if !self.is_candidate_group(shape) {
            return None;
        }
        let from = self.passed.get(shape);
        group.members_from(from).filter(|(labels, _)| self.is_candidate(labels)).find_map(|(labels, ids)| {
            let mut ids = ids.into_iter();
            let id = ids.find(|id| !self.touched.contains_key(*id) && !self.avoided.contains(id))?;
            Some(Candidate::new(id, shape, labels))
        })
    }

    fn first_moved<'t>(&'t self, shape: &'t Shared<Shape>, group: &'t Group) -> Option<Candidate<'t>> {
        if !self.is_candidate_group(shape) {
            return None;
        }
        let (labels, ids) = group.by_labels().find(|(labels, _)| self.is_candidate(labels))?;
        Some(Candidate::new(ids.first()?, shape, labels))
    }

    /// Leaves out, at both ends of the walk, what has no candidate any more; it can not get one again.
    fn tighten(&mut self) {
        let window = self.window.take();
        let open = self.capacity.open();
        let ends = window.and_then(|(first, last)| {
            let first =
                open.between(&first, &last).find_map(|(shape, group)| self.first_settled(shape, group))?;
            let mut rest = open.between(first.shape(), &last).rev();
            let last = rest.find_map(|(shape, group)| self.first_settled(shape, group))?;
            Some((first.to_place(), last.to_place()))
        });
        if let Some((first, last)) = ends {
            self.window = Some((first.shape.clone(), last.shape.clone()));
            for place in [first, last] {
                self.passed.insert(place.shape, (place.labels, place.id));
            }
        }
        let has_candidate = |(shape, group): (&Shared<Shape>, &Group)| match self.first_moved(shape, group) {
            Some(_) => None,
            None => Some(shape.clone()),
        };
        let mut dead: Vec<Shared<Shape>> = self.moved.iter().map_while(has_candidate).collect();
        dead.extend(self.moved.iter().rev().map_while(has_candidate));
        for shape in &dead {
            self.moved.remove_group(shape);
        }
    }
}
