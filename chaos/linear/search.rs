//! The search of Wing, Gong and Lowe: is there an order of all operations that explains every answer?
//!
//! What it promises: *yes* comes with an order that was walked; *no* only after every order was ruled out; a limit that was
//! reached is neither. Operations with an unknown outcome may take effect at any time after they began, or never; of those that
//! ask for the same, the one that began first goes first, which rules out no order that matters. Each pair of (operations placed so far, state) is looked at once; the set of placed operations is kept as the bits behind
//! its first gap, so memory grows with the overlap of operations and not with the square of the history.

use std::collections::HashSet;
use std::time::Instant;

use super::model::{Part, PartState};
use super::operation::{Action, Operation};

/// When to give up.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Pairs of placed operations and state that are remembered.
    pub configurations: usize,
    /// When the time is over.
    pub deadline: Instant,
}

/// What the search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// An order exists.
    Linearizable,
    /// None exists. The text says how far the best attempt came.
    Violation(String),
    /// A limit was reached.
    Undecided,
}

const NONE: usize = usize::MAX;

/// The events of the operations with a known outcome in order of time, as a list from which placed operations are taken out.
struct Timeline {
    /// Event `2 * operation` is its beginning, `2 * operation + 1` its end; the last one stands before the first event.
    next: Vec<usize>,
    previous: Vec<usize>,
    head: usize,
}

impl Timeline {
    fn new(known: &[&Operation]) -> Self {
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(known.len() * 2);
        for (index, operation) in known.iter().enumerate() {
            // At equal times beginnings come first: such operations count as overlapping.
            events.push((operation.began_ns, false, index * 2));
            events.push((end_of(operation), true, index * 2 + 1));
        }
        events.sort_unstable();
        let head = known.len() * 2;
        let mut timeline = Self { next: vec![NONE; head + 1], previous: vec![NONE; head + 1], head };
        let mut last = head;
        for (_, _, event) in events {
            timeline.next[last] = event;
            timeline.previous[event] = last;
            last = event;
        }
        timeline
    }

    fn first(&self) -> usize {
        self.next[self.head]
    }

    fn unlink(&mut self, event: usize) {
        let (before, after) = (self.previous[event], self.next[event]);
        self.next[before] = after;
        if after != NONE {
            self.previous[after] = before;
        }
    }

    fn relink(&mut self, event: usize) {
        let (before, after) = (self.previous[event], self.next[event]);
        self.next[before] = event;
        if after != NONE {
            self.previous[after] = event;
        }
    }

    fn take_out(&mut self, operation: usize) {
        self.unlink(operation * 2);
        self.unlink(operation * 2 + 1);
    }

    fn put_back(&mut self, operation: usize) {
        self.relink(operation * 2 + 1);
        self.relink(operation * 2);
    }
}

fn end_of(operation: &Operation) -> u64 {
    operation.ended_ns.unwrap_or(u64::MAX)
}

/// Which operations are placed.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Placed {
    first_word: usize,
    words: Box<[u64]>,
    open: Box<[u64]>,
}

/// What is looked at next.
#[derive(Clone, Copy)]
enum Cursor {
    /// This event of the timeline.
    Event(usize),
    /// The last of so many operations without an end; the event is the first end of the timeline.
    Open(usize, usize),
}

/// A placed operation and what it takes to take it back.
struct Step {
    cursor: Cursor,
    before: PartState,
    highest: usize,
}

struct Search<'a> {
    part: &'a Part,
    known: Vec<&'a Operation>,
    open: Vec<&'a Operation>,
    /// For each of `open`: the one before it that asks for the same.
    twins: Vec<Option<usize>>,
    /// By job: reads that are not placed.
    reads_left: Vec<usize>,
    timeline: Timeline,
    state: PartState,
    placed: Vec<u64>,
    open_placed: Vec<u64>,
    /// The placed operation that began last.
    highest: usize,
    steps: Vec<Step>,
    seen: HashSet<(Placed, PartState)>,
    furthest: usize,
    obstacle: Option<(usize, PartState)>,
}

/// Looks for an order of `operations`, which are all of `part`.
pub fn search(part: &Part, operations: &[Operation], limit: Limit) -> Finding {
    let (mut known, mut open): (Vec<&Operation>, Vec<&Operation>) =
        operations.iter().partition(|operation| operation.is_known());
    known.sort_by_key(|operation| operation.began_ns);
    open.sort_by_key(|operation| operation.began_ns);
    let mut reads_left = vec![0; usize::from(u8::MAX) + 1];
    for job in known.iter().filter_map(|operation| job_read(operation)) {
        reads_left[usize::from(job)] += 1;
    }
    Search {
        part,
        twins: twins(&open),
        reads_left,
        timeline: Timeline::new(&known),
        state: part.initial(),
        placed: vec![0; known.len() / 64 + 1],
        open_placed: vec![0; open.len() / 64 + 1],
        highest: 0,
        steps: Vec::new(),
        seen: HashSet::new(),
        furthest: 0,
        obstacle: None,
        known,
        open,
    }
    .run(limit)
}

fn twins(open: &[&Operation]) -> Vec<Option<usize>> {
    let twin = |index: usize| (0..index).rev().find(|other| open[*other].action == open[index].action);
    (0..open.len()).map(twin).collect()
}

fn job_read(operation: &Operation) -> Option<u8> {
    if let Action::ReadJob { job } = operation.action { Some(job) } else { None }
}

impl Search<'_> {
    fn run(mut self, limit: Limit) -> Finding {
        let mut cursor = Cursor::Event(self.timeline.first());
        let mut looked = 0u64;
        loop {
            looked += 1;
            let is_late = looked.is_multiple_of(1024) && Instant::now() > limit.deadline;
            if is_late || self.seen.len() > limit.configurations {
                return Finding::Undecided;
            }
            cursor = match cursor {
                Cursor::Event(NONE) => return Finding::Linearizable,
                Cursor::Event(event) if event % 2 == 0 => {
                    let is_placed = self.place_known(event / 2);
                    Cursor::Event(if is_placed { self.timeline.first() } else { self.timeline.next[event] })
                }
                // Nothing that began after this end can come before it.
                Cursor::Event(end) => Cursor::Open(self.open_before(end), end),
                Cursor::Open(count, end) => match self.try_open(count, end).or_else(|| self.take_back(end)) {
                    Some(next) => next,
                    None => return Finding::Violation(self.account()),
                },
            };
        }
    }

    fn place_known(&mut self, index: usize) -> bool {
        let Some(next) = self.part.step(&self.state, self.known[index]) else { return false };
        set(&mut self.placed, index, true);
        self.timeline.take_out(index);
        let highest = self.highest;
        self.highest = highest.max(index);
        if self.is_new(&next) {
            let before = std::mem::replace(&mut self.state, next);
            self.steps.push(Step { cursor: Cursor::Event(index * 2), before, highest });
            if let Some(job) = job_read(self.known[index]) {
                self.reads_left[usize::from(job)] -= 1;
            }
            return true;
        }
        self.highest = highest;
        self.timeline.put_back(index);
        set(&mut self.placed, index, false);
        false
    }

    /// How many operations without an end began before this end.
    fn open_before(&self, end: usize) -> usize {
        let end_ns = end_of(self.known[end / 2]);
        self.open.partition_point(|operation| operation.began_ns <= end_ns)
    }

    /// Places an operation without an end, or says which to try next; `None` when there are no more. The latest comes first,
    /// because most operations take effect soon or never.
    fn try_open(&mut self, count: usize, end: usize) -> Option<Cursor> {
        let index = count.checked_sub(1)?;
        let is_next = self.twins[index].is_none_or(|twin| is_set(&self.open_placed, twin));
        if is_next
            && !is_set(&self.open_placed, index)
            && let Some(next) = self.after_open(self.open[index])
        {
            set(&mut self.open_placed, index, true);
            if self.is_new(&next) {
                let before = std::mem::replace(&mut self.state, next);
                self.steps.push(Step { cursor: Cursor::Open(count, end), before, highest: self.highest });
                return Some(Cursor::Event(self.timeline.first()));
            }
            set(&mut self.open_placed, index, false);
        }
        Some(Cursor::Open(index, end))
    }

    /// The state after an operation without an end, if placing it now can lead anywhere: one that changes nothing need not
    /// be placed, and what it is granted must be shown if a read is still to come.
    fn after_open(&self, operation: &Operation) -> Option<PartState> {
        let next = self.part.step(&self.state, operation).filter(|next| *next != self.state)?;
        let is_lost_for_good = match operation.action {
            Action::Allocate { job, .. } => {
                self.reads_left[usize::from(job)] > 0 && !self.part.has_names_for(&next, job)
            }
            _ => false,
        };
        (!is_lost_for_good).then_some(next)
    }

    /// Takes the last placed operation back; what to try in its place, or `None` if nothing is placed.
    fn take_back(&mut self, end: usize) -> Option<Cursor> {
        self.note_obstacle(end / 2);
        let step = self.steps.pop()?;
        self.state = step.before;
        self.highest = step.highest;
        Some(match step.cursor {
            Cursor::Event(event) => {
                set(&mut self.placed, event / 2, false);
                self.timeline.put_back(event / 2);
                if let Some(job) = job_read(self.known[event / 2]) {
                    self.reads_left[usize::from(job)] += 1;
                }
                Cursor::Event(self.timeline.next[event])
            }
            Cursor::Open(count, end) => {
                set(&mut self.open_placed, count - 1, false);
                Cursor::Open(count - 1, end)
            }
        })
    }

    /// Whether these placed operations with this state were not looked at before.
    fn is_new(&mut self, state: &PartState) -> bool {
        let first = self.timeline.first();
        let first_gap = if first == NONE { self.known.len() } else { first / 2 };
        let first_word = first_gap / 64;
        let words = self.placed.get(first_word..=self.highest / 64).unwrap_or_default();
        let placed = Placed { first_word, words: words.into(), open: self.open_placed.as_slice().into() };
        self.seen.insert((placed, state.clone()))
    }

    fn note_obstacle(&mut self, operation: usize) {
        if self.obstacle.is_none() || self.steps.len() > self.furthest {
            self.furthest = self.steps.len();
            self.obstacle = Some((operation, self.state.clone()));
        }
    }

    fn account(&self) -> String {
        let (operation, state) = self.obstacle.as_ref().expect("a violation was met at some operation");
        format!(
            "after {} of {} operations nothing explains {:?}; the state was {state:?}",
            self.furthest,
            self.known.len(),
            self.known[*operation]
        )
    }
}

fn set(bits: &mut [u64], index: usize, value: bool) {
    let mask = 1 << (index % 64);
    if value { bits[index / 64] |= mask } else { bits[index / 64] &= !mask }
}

fn is_set(bits: &[u64], index: usize) -> bool {
    bits[index / 64] & (1 << (index % 64)) != 0
}
