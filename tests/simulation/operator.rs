//! The operator: replaces nodes, adds some, takes some away and moves leadership while everything else goes wrong.
//!
//! It uses the product's own changes of the membership, asks over the same bad network as every client, and tries each step
//! until it is known to be done. A node that was removed never comes back; who comes in its stead has a disk of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use slotkeeper::consensus::MembershipError;

use crate::calls::{Answer, CallId, Calls, MemberChange, Request, place_of};
use crate::draw::Draw;
use crate::trace;

/// After so long without an answer it asks somebody else.
const PATIENCE_MS: u64 = 2_500;
/// It does not bring in more nodes than this.
const JOINS_MAX: usize = 4;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A new node has to be started.
    Begin,
    Add(usize),
    Promote(usize),
    Remove(usize),
    HandOver,
}

pub struct Operator {
    draw: Draw,
    /// What is left of the plan that is under way.
    steps: VecDeque<Step>,
    call: Option<(CallId, u64)>,
    next_at_ms: u64,
    /// Whom it asks.
    asks: usize,
    /// The id of every node that is a member, as far as it was told.
    ids: BTreeMap<usize, u64>,
    leaving: BTreeSet<usize>,
    next_place: usize,
    joins_left: usize,
    pub is_active: bool,
    pub done: u64,
}

impl Operator {
    /// The first members have the ids from 1 on.
    pub fn new(founders: usize, mut draw: Draw) -> Self {
        Self {
            steps: VecDeque::new(),
            call: None,
            next_at_ms: draw.within(500..=6_000),
            asks: 0,
            ids: (0..founders).zip(1..).collect(),
            leaving: BTreeSet::new(),
            next_place: founders,
            joins_left: JOINS_MAX,
            is_active: true,
            done: 0,
            draw,
        }
    }

    /// Whether the node at this place was asked to leave for ever.
    pub fn removes(&self, place: usize) -> bool {
        self.leaving.contains(&place)
    }

    /// Who should have a vote, if nothing is under way.
    pub fn voters(&self) -> Option<Vec<u64>> {
        self.steps.is_empty().then(|| self.ids.values().copied().collect())
    }

    /// Does what is due; gives the place at which a new node is to be started.
    pub fn step(&mut self, now_ms: u64, calls: &mut Calls) -> Option<usize> {
        if let Some((call, sent_ms)) = self.call {
            match calls.take(call) {
                Some(Answer::Members(result)) => self.answered(now_ms, result, calls),
                Some(_) => unreachable!("a change of the members is answered as one"),
                None if now_ms > sent_ms + PATIENCE_MS => self.ask_another(now_ms, calls),
                None => {}
            }
        }
        if now_ms < self.next_at_ms || self.call.is_some() {
            return None;
        }
        if self.steps.is_empty() && self.is_active {
            self.plan();
        }
        match *self.steps.front()? {
            Step::Begin => {
                let place = self.next_place;
                self.next_place += 1;
                self.steps[0] = Step::Add(place);
                self.steps.insert(1, Step::Promote(place));
                Some(place)
            }
            Step::Add(place) => self.ask(now_ms, MemberChange::Add(place), calls),
            Step::Promote(place) => self.ask(now_ms, MemberChange::Promote(self.ids[&place]), calls),
            Step::Remove(place) => {
                self.leaving.insert(place);
                self.ask(now_ms, MemberChange::Remove(self.ids[&place]), calls)
            }
            Step::HandOver => self.ask(now_ms, MemberChange::HandOver, calls),
        }
    }

    fn plan(&mut self) {
        let members: Vec<usize> = self.ids.keys().copied().collect();
        let old = *self.draw.one_of(&members);
        let plan: &[Step] = match self.draw.within(0..=99) {
            0..=54 if self.joins_left > 0 => &[Step::Begin, Step::Remove(old)],
            55..=69 if self.joins_left > 0 => &[Step::Begin],
            70..=84 if members.len() > 3 => &[Step::Remove(old)],
            _ => &[Step::HandOver],
        };
        self.joins_left -= plan.iter().filter(|step| matches!(step, Step::Begin)).count();
        self.steps.extend(plan);
    }

    fn ask(&mut self, now_ms: u64, change: MemberChange, calls: &mut Calls) -> Option<usize> {
        self.call = Some((calls.send(now_ms, self.asks, Request::Members(change)), now_ms));
        None
    }

    fn ask_another(&mut self, now_ms: u64, calls: &Calls) {
        self.call = None;
        self.asks = *self.draw.one_of(&calls.addresses);
        self.next_at_ms = now_ms + self.draw.within(20..=300);
    }

    fn answered(&mut self, now_ms: u64, result: Result<u64, MembershipError>, calls: &mut Calls) {
        self.call = None;
        let step = self.steps[0];
        match (step, result) {
            (Step::Add(place), Ok(node_id)) => {
                self.ids.insert(place, node_id);
                calls.addresses.push(place);
                self.finish(now_ms);
            }
            // The answer to an earlier try was lost.
            (Step::Remove(place), Ok(_) | Err(MembershipError::UnknownMember(_))) => {
                self.ids.remove(&place);
                calls.addresses.retain(|address| *address != place);
                self.finish(now_ms);
            }
            (Step::HandOver | Step::Promote(_), Ok(_)) => self.finish(now_ms),
            (Step::HandOver, Err(MembershipError::Conflict(_))) => self.finish(now_ms),
            (_, Err(MembershipError::NotLeader { leader: Some(leader) })) => {
                self.asks = place_of(&leader.api_addr);
                self.next_at_ms = now_ms + self.draw.within(5..=100);
            }
            (_, Err(MembershipError::Conflict(_))) => self.next_at_ms = now_ms + self.draw.within(50..=500),
            (_, _) => self.ask_another(now_ms, calls),
        }
    }

    fn finish(&mut self, now_ms: u64) {
        let step = self.steps.pop_front();
        trace::note(&format!("the operator has done {step:?}; the members are {:?}", self.ids));
        self.done += 1;
        let pause = if self.steps.is_empty() { 1_500..=7_000 } else { 10..=500 };
        self.next_at_ms = now_ms + self.draw.within(pause);
    }
}
