//! An endless, repeatable sequence of requests, and the state that a store has after any number of them.
//!
//! A writer in one process and a checker in another make the same sequence from the same seed, so what is left after
//! a crash can be compared exactly: it must be the state after some number of requests, at least as many as were
//! acknowledged and at most as many as were submitted.

use std::collections::VecDeque;

use bytes::Bytes;
use slotkeeper::storage::{Done, LogEntry, LogStore};

use crate::store::{entry, opaque, payload};

/// One request. An append is of one entry, because the writer may make a part of a larger one durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Append { index: u64, term: u64, bytes: usize },
    Vote(u64),
    Truncate(u64),
    Purge { index: u64, term: u64 },
}

impl Request {
    pub fn submit(&self, store: &LogStore, done: Done) {
        match *self {
            Request::Append { index, term, bytes } => store.append(vec![entry(index, term, bytes)], done),
            Request::Vote(term) => store.save_vote(vote(term), done),
            Request::Truncate(kept) => store.truncate_after(Some(kept), done),
            Request::Purge { index, term } => store.purge_through(index, term, opaque(index), done),
        }
    }
}

fn vote(term: u64) -> Bytes {
    Bytes::from(format!("vote for {term}"))
}

/// Numbers that look random and are the same everywhere.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// The sequence, and the state after the requests made so far.
#[derive(Debug, Clone)]
pub struct Script {
    dice: Dice,
    term: u64,
    has_vote: bool,
    purged: Option<(u64, u64)>,
    /// Index, term and length of the live entries.
    live: VecDeque<(u64, u64, usize)>,
}

impl Script {
    pub fn new(seed: u64) -> Script {
        Script { dice: Dice::new(seed), term: 1, has_vote: false, purged: None, live: VecDeque::new() }
    }

    fn end(&self) -> Option<u64> {
        self.live.back().map(|(index, _, _)| *index).or(self.purged.map(|(index, _)| index))
    }

    /// Makes the next request and takes it into the state.
    pub fn next_request(&mut self) -> Request {
        if !self.has_vote {
            return self.vote();
        }
        match self.dice.below(100) {
            0..4 => self.vote(),
            4..7 if self.live.len() > 10 => {
                let kept = self.live[self.live.len() - 1 - self.dice.below(8) as usize].0;
                self.live.retain(|(index, _, _)| *index <= kept);
                Request::Truncate(kept)
            }
            7..9 if self.live.len() > 200 => {
                let keep = 50 + self.dice.below(100) as usize;
                let (index, term, _) = self.live[self.live.len() - keep];
                self.live.retain(|(live, _, _)| *live > index);
                self.purged = Some((index, term));
                Request::Purge { index, term }
            }
            _ => {
                let bytes = match self.dice.below(100) {
                    0..3 => 20_000 + self.dice.below(80_000) as usize,
                    3..30 => 4_000 + self.dice.below(4_000) as usize,
                    _ => 300,
                };
                let (index, term) = (self.end().map_or(0, |end| end + 1), self.term);
                self.live.push_back((index, term, bytes));
                Request::Append { index, term, bytes }
            }
        }
    }

    fn vote(&mut self) -> Request {
        self.has_vote = true;
        self.term += 1;
        Request::Vote(self.term)
    }

    /// Whether the store has exactly this state.
    pub fn matches(&self, store: &LogStore) -> bool {
        let bounds = store.bounds();
        let purged = self.purged.map(|(index, term)| (index, term, opaque(index)));
        let end = self.live.back().map(|(index, term, _)| (*index, *term)).or(self.purged);
        if bounds.purged != purged
            || bounds.last != end
            || store.vote() != self.has_vote.then(|| vote(self.term))
        {
            return false;
        }
        let found = store.entries(0, u64::MAX, None).expect("a whole store answers");
        found.iter().map(Found::of).eq(self.live.iter().map(Found::expected))
    }
}

#[derive(PartialEq)]
struct Found(u64, u64, Bytes);

impl Found {
    fn of(entry: &LogEntry) -> Found {
        Found(entry.index, entry.term, entry.payload.clone())
    }

    fn expected(&(index, term, bytes): &(u64, u64, usize)) -> Found {
        Found(index, term, payload(index, term, bytes))
    }
}

/// Finds how many requests the state of a store is made of, if it is the state after any number in this range.
pub fn requests_in(store: &LogStore, seed: u64, acknowledged: u64, submitted: u64) -> Option<u64> {
    let mut script = Script::new(seed);
    for _ in 0..acknowledged {
        script.next_request();
    }
    for count in acknowledged..=submitted {
        if script.matches(store) {
            return Some(count);
        }
        script.next_request();
    }
    None
}
