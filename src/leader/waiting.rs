//! Allocation requests that wait for capacity.
//!
//! What it promises: higher priority first, then the longer wait; two requests under one key are one, with several who
//! ask. What it must not do: plan, read a clock, or bound itself; the round loop brings
//! the time, the decisions and the bound.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::intent::{AllocationRequest, SubmitError};
use super::queue::Asker;
use crate::domain::{IdempotencyKey, RequestKey};

/// The place of a waiting request: higher priority first, then earlier arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    priority: std::cmp::Reverse<i32>,
    arrival: u64,
}

impl Place {
    pub(super) fn new(priority: i32, arrival: u64) -> Self {
        Self { priority: std::cmp::Reverse(priority), arrival }
    }

    /// The priority that orders first.
    pub(super) fn priority(self) -> i32 {
        self.priority.0
    }

    /// The number of the arrival.
    pub(super) fn arrival(self) -> u64 {
        self.arrival
    }
}

/// One waiting request.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) key: Option<RequestKey>,
    pub(super) request: AllocationRequest,
    pub(super) askers: Vec<Asker>,
    /// When it is decided with what there is.
    pub(super) deadline: Instant,
}

/// What came of attaching to a waiting request with the same key.
#[derive(Debug)]
pub(super) enum Attached {
    /// It waits with the other.
    Joined,
    /// The key waits with another request.
    KeyReused(Asker),
    /// Nothing waits under the key.
    NotWaiting(Asker),
}

/// All waiting requests.
#[derive(Debug, Default)]
pub(super) struct WaitingList {
    entries: BTreeMap<Place, Waiting>,
    by_deadline: BTreeSet<(Instant, Place)>,
    by_key: BTreeMap<IdempotencyKey, Place>,
}

impl WaitingList {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Lets `asker` wait with the request that already waits under `key`.
    pub(super) fn attach(&mut self, key: &RequestKey, asker: Asker) -> Attached {
        let Some(waiting) = self.by_key.get(&key.key).and_then(|place| self.entries.get_mut(place)) else {
            return Attached::NotWaiting(asker);
        };
        if waiting.key.as_ref() != Some(key) {
            return Attached::KeyReused(asker);
        }
        waiting.askers.retain(|waits| !waits.has_gone());
        waiting.askers.push(asker);
        Attached::Joined
    }

    /// Lets `waiting` wait at `place`.
    pub(super) fn insert(&mut self, place: Place, waiting: Waiting) {
        self.by_deadline.insert((waiting.deadline, place));
        if let Some(key) = &waiting.key {
            self.by_key.insert(key.key.clone(), place);
        }
        self.entries.insert(place, waiting);
    }

    /// Takes the request at `place` out of the list.
    pub(super) fn remove(&mut self, place: Place) -> Option<Waiting> {
        let waiting = self.entries.remove(&place)?;
        self.by_deadline.remove(&(waiting.deadline, place));
        if let Some(key) = &waiting.key {
            self.by_key.remove(&key.key);
        }
        Some(waiting)
    }

    /// The request at `place`.
    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Waiting> {
        self.entries.get_mut(&place)
    }

    /// The places of all, the first to be served first.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.entries.keys().copied()
    }

    /// When the next wait is over.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// The places of requests whose wait is over at `now`.
    pub(super) fn due(&self, now: Instant) -> impl Iterator<Item = Place> + '_ {
        self.by_deadline.iter().take_while(move |(deadline, _)| *deadline <= now).map(|(_, place)| *place)
    }

    /// Ends every wait with `error`.
    pub(super) fn refuse_all(&mut self, error: &SubmitError) {
        self.by_deadline.clear();
        self.by_key.clear();
        for waiting in std::mem::take(&mut self.entries).into_values() {
            for asker in waiting.askers {
                asker.answer(Err(error.clone()));
            }
        }
    }
}
