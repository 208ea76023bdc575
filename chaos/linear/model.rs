//! The model: what one part of the state must answer, operation by operation.
//!
//! A part is a queue with a maximum, a pool of slots of its own and a few jobs. Parts share nothing, so each is checked on
//! its own. What the model promises: given a state and an operation with its answer it says whether the answer is the
//! one that the state demands, and which state follows. Refusals are answers like all others: a request is refused exactly
//! when there is not enough, a best-effort request gets exactly what there is.
//!
//! Allocations of a request whose answer was lost have no names at first: they are counted, and named by the first read
//! that shows them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use uuid::Uuid;

use super::operation::{Action, Held, Operation, Outcome, Place, Setting};

/// What the model knows beside the state.
#[derive(Debug, Clone)]
pub struct Part {
    jobs: u8,
    slots: u32,
    maximum: u32,
    /// Ids that a known answer granted. Any other id belongs to a request whose answer was lost.
    granted: HashSet<Uuid>,
    /// By job: how many other ids are ever shown.
    strangers: Vec<usize>,
}

/// The state of one part.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartState {
    maximum: u32,
    living: BTreeMap<Uuid, (u8, Place)>,
    taken: BTreeSet<Place>,
    /// By job: slots that it holds and whose names nobody was told.
    nameless: Vec<u32>,
    /// By job: slots that had no names and got one.
    named: Vec<u32>,
    masters: Vec<u32>,
}

impl PartState {
    fn used(&self) -> u32 {
        let named = u32::try_from(self.living.len()).expect("a part has few slots");
        named + self.nameless.iter().sum::<u32>()
    }

    fn held_by(&self, job: u8) -> u32 {
        let named = self.living.values().filter(|(holder, _)| *holder == job).count();
        u32::try_from(named).expect("a part has few slots") + self.nameless[usize::from(job)]
    }

    fn grant(&mut self, job: u8, held: &Held) -> Option<()> {
        let is_new = self.living.insert(held.id, (job, held.place)).is_none();
        (is_new && self.taken.insert(held.place)).then_some(())
    }

    fn release(&mut self, job: u8, id: Uuid) -> Option<()> {
        match self.living.get(&id) {
            Some((holder, _)) if *holder != job => return None,
            Some((_, place)) => {
                self.taken.remove(place);
            }
            None => {}
        }
        self.living.remove(&id);
        Some(())
    }
}

impl Part {
    /// The part that `operations`, all of the same part, are about.
    pub fn new(setting: &Setting, operations: &[Operation]) -> Self {
        let granted: HashSet<Uuid> = operations
            .iter()
            .filter_map(|operation| match &operation.outcome {
                Outcome::Granted { slots } => Some(slots),
                _ => None,
            })
            .flatten()
            .map(|held| held.id)
            .collect();
        let mut strangers = vec![HashSet::new(); usize::from(setting.jobs)];
        for operation in operations {
            if let (Action::ReadJob { job }, Outcome::Shown { slots }) =
                (&operation.action, &operation.outcome)
            {
                let unknown = slots.iter().map(|held| held.id).filter(|id| !granted.contains(id));
                strangers[usize::from(*job)].extend(unknown);
            }
        }
        let strangers = strangers.iter().map(HashSet::len).collect();
        Self { jobs: setting.jobs, slots: setting.slots, maximum: setting.maximum, granted, strangers }
    }

    /// Whether the names that are ever shown are enough for what `job` holds without names. A state in which they are not
    /// leads nowhere as long as a read of the job is still to come.
    pub fn has_names_for(&self, state: &PartState, job: u8) -> bool {
        let job = usize::from(job);
        usize::try_from(state.nameless[job] + state.named[job])
            .is_ok_and(|count| count <= self.strangers[job])
    }

    /// The state before the first operation.
    pub fn initial(&self) -> PartState {
        PartState {
            maximum: self.maximum,
            living: BTreeMap::new(),
            taken: BTreeSet::new(),
            nameless: vec![0; usize::from(self.jobs)],
            named: vec![0; usize::from(self.jobs)],
            masters: vec![0; usize::from(self.jobs)],
        }
    }

    /// The state after `operation`, or `None` if `state` demands another answer.
    pub fn step(&self, state: &PartState, operation: &Operation) -> Option<PartState> {
        let mut next = state.clone();
        let outcome = &operation.outcome;
        match &operation.action {
            Action::Allocate { job, slots, all } => {
                let grantable = self.grantable(state, *slots, *all);
                allocate(&mut next, *job, (grantable, *all), outcome)?;
            }
            Action::Release { job, ids } => {
                matches!(outcome, Outcome::Done | Outcome::Unknown).then_some(())?;
                ids.iter().try_for_each(|id| next.release(*job, *id))?;
            }
            Action::ReadJob { job } => self.read_job(&mut next, *job, outcome)?,
            Action::PutMaximum { maximum } => put_maximum(&mut next, *maximum, outcome)?,
            Action::ReadQueue => {
                let seen = Outcome::Queue { maximum: state.maximum, used: state.used() };
                (*outcome == seen).then_some(())?;
            }
            Action::PutMaster { job, master } => {
                let seen = Outcome::Job { slots: state.held_by(*job) };
                (*outcome == seen || *outcome == Outcome::Unknown).then_some(())?;
                next.masters[usize::from(*job)] = *master;
            }
            Action::Renew { job, master } => {
                let is_master = state.masters[usize::from(*job)] == *master;
                let seen = if is_master { Outcome::Done } else { Outcome::Refused };
                (*outcome == seen).then_some(())?;
            }
        }
        Some(next)
    }

    /// How many slots a request must get in `state`.
    fn grantable(&self, state: &PartState, wanted: u32, all: bool) -> u32 {
        let free = self.slots.min(state.maximum).saturating_sub(state.used());
        if all && wanted > free { 0 } else { wanted.min(free) }
    }

    fn read_job(&self, next: &mut PartState, job: u8, outcome: &Outcome) -> Option<()> {
        let Outcome::Shown { slots } = outcome else { return None };
        (slots.len() == usize::try_from(next.held_by(job)).ok()?).then_some(())?;
        for held in slots {
            match next.living.get(&held.id) {
                Some(known) => (*known == (job, held.place)).then_some(())?,
                // Nobody was told of it: it must be one of those whose answer was lost.
                None if self.granted.contains(&held.id) => return None,
                None => {
                    let nameless = &mut next.nameless[usize::from(job)];
                    *nameless = nameless.checked_sub(1)?;
                    next.named[usize::from(job)] += 1;
                    next.grant(job, held)?;
                }
            }
        }
        Some(())
    }
}

fn allocate(next: &mut PartState, job: u8, (grantable, all): (u32, bool), outcome: &Outcome) -> Option<()> {
    match outcome {
        Outcome::Granted { slots } => {
            (slots.len() == usize::try_from(grantable).ok()?).then_some(())?;
            (!all || grantable > 0).then_some(())?;
            slots.iter().try_for_each(|held| next.grant(job, held))
        }
        Outcome::Refused => (all && grantable == 0).then_some(()),
        Outcome::Unknown => {
            next.nameless[usize::from(job)] += grantable;
            Some(())
        }
        _ => None,
    }
}

fn put_maximum(next: &mut PartState, maximum: u32, outcome: &Outcome) -> Option<()> {
    let used = next.used();
    let is_possible = maximum >= used;
    match outcome {
        Outcome::Queue { maximum: put, used: seen } => {
            (is_possible && *put == maximum && *seen == used).then_some(())?;
        }
        Outcome::Refused => return (!is_possible).then_some(()),
        Outcome::Unknown => is_possible.then_some(())?,
        _ => return None,
    }
    next.maximum = maximum;
    Some(())
}
