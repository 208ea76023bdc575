//! Legal histories: clients whose operations overlap, each taking effect at one moment between its beginning and its end.
//!
//! What it promises: the order of the moments explains every answer; some operations never get their answer, and of those
//! some take effect and some do not. It keeps a state of its own, so that a mistake of the model shows.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::linear::operation::{Action, Held, Operation, Outcome, Place, Setting};

/// Slots of the part, and of each of its TaskManagers.
const SLOTS: u16 = 8;
const SLOTS_EACH: u16 = 4;
const MAXIMUM: u32 = 6;
const JOBS: u8 = 2;

/// What is read when all clients have ended.
const CLOSING: [Action; 3] = [Action::ReadJob { job: 0 }, Action::ReadJob { job: 1 }, Action::ReadQueue];

/// The setting of generated histories.
pub fn setting() -> Setting {
    Setting { parts: 1, jobs: JOBS, slots: u32::from(SLOTS), maximum: MAXIMUM }
}

/// A service that is right.
struct Service {
    maximum: u32,
    held: BTreeMap<u16, (u8, Held)>,
    masters: [u32; JOBS as usize],
    tokens: u64,
    ids: u128,
    revision: u64,
}

impl Service {
    fn used(&self) -> u32 {
        u32::try_from(self.held.len()).unwrap()
    }

    fn of_job(&self, job: u8) -> Vec<Held> {
        self.held.values().filter(|(holder, _)| *holder == job).map(|(_, held)| *held).collect()
    }

    fn do_it(&mut self, action: &Action) -> Outcome {
        self.revision += 1;
        match action {
            Action::Allocate { job, slots, all } => self.allocate(*job, *slots, *all),
            Action::Release { ids, .. } => {
                self.held.retain(|_, (_, held)| !ids.contains(&held.id));
                Outcome::Done
            }
            Action::ReadJob { job } => Outcome::Shown { slots: self.of_job(*job) },
            Action::PutMaximum { maximum } if *maximum < self.used() => Outcome::Refused,
            Action::PutMaximum { maximum } => {
                self.maximum = *maximum;
                Outcome::Queue { maximum: self.maximum, used: self.used() }
            }
            Action::ReadQueue => Outcome::Queue { maximum: self.maximum, used: self.used() },
            Action::PutMaster { job, master } => {
                self.masters[usize::from(*job)] = *master;
                Outcome::Job { slots: u32::try_from(self.of_job(*job).len()).unwrap() }
            }
            Action::Renew { job, master } if self.masters[usize::from(*job)] == *master => Outcome::Done,
            Action::Renew { .. } => Outcome::Refused,
        }
    }

    fn allocate(&mut self, job: u8, slots: u32, all: bool) -> Outcome {
        let free = u32::from(SLOTS).min(self.maximum).saturating_sub(self.used());
        if all && slots > free {
            return Outcome::Refused;
        }
        let mut granted = Vec::new();
        for number in 0..SLOTS {
            if granted.len() < usize::try_from(slots.min(free)).unwrap() && !self.held.contains_key(&number) {
                self.tokens += 1;
                self.ids += 1;
                let place = Place { task_manager: number / SLOTS_EACH, slot_index: number % SLOTS_EACH };
                let held = Held { id: Uuid::from_u128(self.ids), place, fencing_token: self.tokens };
                self.held.insert(number, (job, held));
                granted.push(held);
            }
        }
        Outcome::Granted { slots: granted }
    }
}

/// A legal history of `length` operations by `clients` clients; every `lost`th loses its answer (0: none does).
pub fn legal(seed: u64, clients: u16, length: usize, lost: u32) -> Vec<Operation> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut service = Service {
        maximum: MAXIMUM,
        held: BTreeMap::new(),
        masters: [0; JOBS as usize],
        tokens: 0,
        ids: u128::from(seed) << 64,
        revision: 0,
    };
    // (moment of effect, beginning, end, client), drawn first, so that effects can be made in their order.
    let mut plan = Vec::new();
    for client in 0..clients {
        let mut now = random.random_range(0..100u64);
        for _ in 0..length / usize::from(clients) {
            let began = now + random.random_range(1..200);
            let effect = began + random.random_range(1..100);
            let ended = effect + random.random_range(1..100);
            plan.push((effect, began, ended, client));
            now = ended;
        }
    }
    let over = plan.iter().map(|(_, _, ended, _)| *ended).max().unwrap_or(0);
    plan.extend((clients..).zip(0..3).map(|(client, turn)| {
        let began = over + 1 + turn * 3;
        (began + 1, began, began + 2, client)
    }));
    plan.sort_unstable();
    let mut known: Vec<(u64, u8, Uuid)> = Vec::new();
    let mut history: Vec<Operation> = Vec::new();
    for (_, began, ended, client) in plan {
        let closing = CLOSING.get(usize::from(client.wrapping_sub(clients)));
        let action = closing.cloned().unwrap_or_else(|| draw(&mut random, &known, began));
        let is_lost = closing.is_none() && lost > 0 && random.random_ratio(1, lost);
        let takes_effect = !is_lost || random.random();
        let answer = if takes_effect { service.do_it(&action) } else { Outcome::Unknown };
        let outcome = if is_lost { Outcome::Unknown } else { answer };
        if let (Outcome::Granted { slots } | Outcome::Shown { slots }, Some(job)) =
            (&outcome, job_of(&action))
        {
            known.extend(slots.iter().map(|held| (ended, job, held.id)));
        }
        let (ended_ns, revision) = if is_lost { (None, None) } else { (Some(ended), Some(service.revision)) };
        let operation = Operation {
            part: 0,
            client,
            began_ns: began,
            ended_ns,
            tries: 1,
            revision,
            in_fault: false,
            action,
            outcome,
        };
        history.push(operation);
    }
    history.retain(|operation| operation.is_known() || is_write(&operation.action));
    history
}

fn is_write(action: &Action) -> bool {
    !matches!(action, Action::ReadJob { .. } | Action::ReadQueue | Action::Renew { .. })
}

fn job_of(action: &Action) -> Option<u8> {
    match action {
        Action::Allocate { job, .. } | Action::ReadJob { job } => Some(*job),
        _ => None,
    }
}

/// A client releases only what an answer that arrived before has shown it.
fn draw(random: &mut StdRng, known: &[(u64, u8, Uuid)], began: u64) -> Action {
    let job = random.random_range(0..JOBS);
    let mut ids: Vec<Uuid> =
        known.iter().filter(|(at, holder, _)| *at < began && *holder == job).map(|(_, _, id)| *id).collect();
    match random.random_range(0..100) {
        0..40 => Action::Allocate { job, slots: random.random_range(1..=3), all: random.random_ratio(2, 3) },
        40..65 if !ids.is_empty() => {
            // The latest ones are the ones that most likely live.
            let first = ids.len().saturating_sub(4);
            ids.drain(..random.random_range(first..ids.len()));
            Action::Release { job, ids }
        }
        40..75 => Action::ReadJob { job },
        75..80 => Action::ReadQueue,
        80..90 => Action::PutMaximum { maximum: random.random_range(2..=8) },
        90..93 => Action::PutMaster { job, master: random.random_range(0..3) },
        _ => Action::Renew { job, master: random.random_range(0..3) },
    }
}
