//! The planner as one would write it without an index: for every slot it looks at every TaskManager. Slow and plain.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use slotkeeper::domain::*;
use slotkeeper::scheduler::AllocationRequest;

use crate::world::World;

#[derive(Debug, Clone)]
struct Worker {
    id: TaskManagerId,
    condition: Condition,
    offer: Offer,
    used: u32,
    free: ResourceProfile,
    labels: Labels,
    got: u32,
    is_avoided: bool,
}

pub struct Reference<'a> {
    workers: Vec<Worker>,
    request: &'a AllocationRequest,
    queue: Queue,
    /// Labels of the TaskManagers where the job holds slots, one entry per slot.
    held: Vec<Labels>,
    queue_refusal: Option<RefusalReason>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    pub placements: Vec<TaskManagerId>,
    pub missing: u32,
    pub reasons: BTreeMap<RefusalReason, u32>,
}

impl<'a> Reference<'a> {
    pub fn new(world: &World, request: &'a AllocationRequest) -> Self {
        let state = &world.state;
        let is_avoided = |id: &TaskManagerId| {
            [None, Some(request.job.clone())].into_iter().any(|of| world.avoided.contains(&(id.clone(), of)))
        };
        let worker = |(id, record): (&TaskManagerId, &std::sync::Arc<TaskManager>)| Worker {
            id: id.clone(),
            condition: record.condition,
            offer: record.offer.clone(),
            used: u32::try_from(record.slots.len()).unwrap(),
            free: record.free.clone(),
            labels: record.labels.clone(),
            got: 0,
            is_avoided: is_avoided(id),
        };
        let job = state.jobs().get(&request.job).unwrap();
        let of = |id: &AllocationId| {
            let allocation = state.allocations().get(id).unwrap();
            state.task_managers().get(&allocation.task_manager).unwrap().labels.clone()
        };
        Self {
            workers: state.task_managers().iter().map(worker).collect(),
            request,
            queue: state.queues()[&job.queue].clone(),
            held: job.allocations.iter().map(of).collect(),
            queue_refusal: None,
        }
    }

    pub fn decide(mut self, strategy: &str) -> Decision {
        let is_gang = self.request.mode == AllocationMode::AllOrNothing;
        let mut placements = Vec::new();
        if is_gang {
            self.queue_refusal = self.refusal_of_least_charge();
        }
        let is_hopeless = is_gang && (self.queue_refusal.is_some() || self.room() < self.request.slots);
        let mut last = None;
        while !is_hopeless && placements.len() < self.request.slots as usize {
            let Some(choice) = self.choose(strategy, last) else { break };
            self.place(choice);
            placements.push(self.workers[choice].id.clone());
            last = Some(choice);
        }
        let missing = self.request.slots - placements.len() as u32;
        let is_given_up = is_gang && missing > 0;
        let mut reasons = BTreeMap::new();
        for worker in self.workers.iter().filter(|_| missing > 0) {
            *reasons.entry(self.reason(worker, is_given_up)).or_insert(0) += 1;
        }
        if is_given_up {
            return Decision { placements: Vec::new(), missing: self.request.slots, reasons };
        }
        Decision { placements, missing, reasons }
    }

    fn choose(&self, strategy: &str, last: Option<usize>) -> Option<usize> {
        let fits = |index: &usize| self.refusal(&self.workers[*index]).is_none();
        let candidates: Vec<usize> = (0..self.workers.len()).filter(fits).collect();
        let prefer = &self.request.rules.prefer;
        let by_name = prefer
            .task_managers
            .iter()
            .find_map(|id| candidates.iter().find(|index| self.workers[**index].id == *id));
        if let Some(preferred) = by_name {
            return Some(*preferred);
        }
        let rank = |index: &usize| {
            let labels = &self.workers[*index].labels;
            prefer.labels.iter().filter(|(label, value)| labels.get(*label) == Some(*value)).count()
        };
        let best = candidates.iter().map(rank).max()?;
        let candidates = candidates.iter().copied().filter(|index| rank(index) == best);
        let key = |index: &usize| {
            let worker = &self.workers[*index];
            let is_dynamic = matches!(worker.offer, Offer::Dynamic { .. });
            let free = if is_dynamic { worker.free.clone() } else { ResourceProfile::default() };
            (load(worker), worker.offer.clone(), worker.used, free)
        };
        let who = |index: &usize| (self.workers[*index].labels.clone(), self.workers[*index].id.clone());
        match strategy {
            "most_utilization" => candidates.min_by_key(|index| (Reverse(key(index)), who(index))),
            "any_fit" if last.is_some_and(|last| candidates.clone().any(|index| index == last)) => last,
            _ => candidates.min_by_key(|index| (key(index), who(index))),
        }
    }

    fn place(&mut self, index: usize) {
        let profile = self.profile(&self.workers[index]).unwrap();
        self.queue.used.slots += 1;
        self.queue.used.profile = self.queue.used.profile.checked_add(&profile).unwrap();
        let worker = &mut self.workers[index];
        worker.free = worker.free.checked_sub(&profile).unwrap();
        worker.used += 1;
        worker.got += 1;
        self.held.push(worker.labels.clone());
    }

    /// What a slot costs on an empty worker.
    fn profile(&self, worker: &Worker) -> Option<ResourceProfile> {
        let wanted = self.request.profile.as_ref();
        match &worker.offer {
            Offer::Static { slot_profile, .. } => {
                wanted.is_none_or(|wanted| wanted.fits_within(slot_profile)).then(|| slot_profile.clone())
            }
            Offer::Dynamic { total, slot_profile } => {
                let profile = wanted.unwrap_or(slot_profile);
                profile.fits_within(total).then(|| profile.clone())
            }
        }
    }

    fn refusal(&self, worker: &Worker) -> Option<RefusalReason> {
        match worker.condition {
            Condition::Active => {}
            Condition::Lost { .. } => return Some(RefusalReason::Lost),
            _ => return Some(RefusalReason::NotAccepting),
        }
        let constraints = &self.request.rules.constraints;
        if !constraints.iter().all(|constraint| constraint.admits(&worker.id, &worker.labels)) {
            return Some(RefusalReason::Constraint);
        }
        let Some(profile) = self.profile(worker) else { return Some(RefusalReason::TooSmall) };
        match &worker.offer {
            Offer::Static { slots, .. } if worker.used >= *slots => return Some(RefusalReason::NoFreeSlot),
            Offer::Dynamic { .. } if worker.free.is_zero() => return Some(RefusalReason::NoFreeSlot),
            Offer::Dynamic { .. } if !profile.fits_within(&worker.free) => {
                return Some(RefusalReason::NotEnoughFree);
            }
            _ => {}
        }
        if !constraints.iter().all(|constraint| self.spreads(constraint, worker)) {
            return Some(RefusalReason::Spread);
        }
        if worker.is_avoided {
            return Some(RefusalReason::StartFailures);
        }
        if self.queue_refusal.is_some() {
            return self.queue_refusal;
        }
        let used = self.queue.used.checked_with(&profile).unwrap();
        match self.queue.phase {
            QueuePhase::Stopped => Some(RefusalReason::QueueStopped),
            QueuePhase::Running => (!self.queue.maximum.admits(&used)).then_some(RefusalReason::QueueMaximum),
        }
    }

    fn spreads(&self, constraint: &Constraint, worker: &Worker) -> bool {
        let Constraint::SpreadBy { label, per_value_max } = constraint else { return true };
        let value = worker.labels.get(label);
        self.held.iter().filter(|labels| labels.get(label) == value).count() < *per_value_max as usize
    }

    fn reason(&self, worker: &Worker, is_given_up: bool) -> RefusalReason {
        match self.refusal(worker) {
            None => RefusalReason::NotEnoughInAll,
            Some(RefusalReason::NoFreeSlot | RefusalReason::NotEnoughFree | RefusalReason::Spread)
                if is_given_up && worker.got > 0 =>
            {
                RefusalReason::NotEnoughInAll
            }
            Some(reason) => reason,
        }
    }

    /// The queue's answer if every slot were charged with just what is asked for.
    fn refusal_of_least_charge(&self) -> Option<RefusalReason> {
        let mut used = self.queue.used.clone();
        for _ in 0..self.request.slots {
            used = used.checked_with(&self.request.profile.clone().unwrap_or_default()).unwrap();
        }
        match self.queue.phase {
            QueuePhase::Stopped => Some(RefusalReason::QueueStopped),
            QueuePhase::Running => (!self.queue.maximum.admits(&used)).then_some(RefusalReason::QueueMaximum),
        }
    }

    /// Slots that fit one after the other on those who would take one now, whatever the queue says.
    fn room(&self) -> u32 {
        let mut room = 0;
        for worker in &self.workers {
            let mut worker = worker.clone();
            let is_short = |worker: &Worker| {
                let refusal = self.refusal(worker);
                refusal.is_some_and(|reason| {
                    !matches!(reason, RefusalReason::QueueMaximum | RefusalReason::QueueStopped)
                })
            };
            while !is_short(&worker) && room < self.request.slots {
                worker.free = worker.free.checked_sub(&self.profile(&worker).unwrap()).unwrap();
                worker.used += 1;
                room += 1;
            }
        }
        room
    }
}

fn load(worker: &Worker) -> u128 {
    let share =
        |used: u64, total: u64| if total == 0 { 0 } else { u128::from(used) * 1_000_000 / u128::from(total) };
    match &worker.offer {
        Offer::Static { slots, .. } => share(worker.used.into(), (*slots).into()),
        Offer::Dynamic { total, .. } => {
            let gpu = Name::new("gpu").unwrap();
            let of = |profile: &ResourceProfile| {
                let [cpu, heap, off_heap, managed, network] = profile.plain();
                [cpu, heap, off_heap, managed, network, profile.extended().get(&gpu).copied().unwrap_or(0)]
            };
            of(total)
                .into_iter()
                .zip(of(&worker.free))
                .map(|(total, free)| share(total - free, total))
                .max()
                .unwrap()
        }
    }
}
