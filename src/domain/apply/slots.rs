//! Taking slots and giving them back: the only places where allocations begin and end.
//!
//! What it promises: a plan changes nothing and a planned slot can always be taken; slot, free amount, generation,
//! job, requirement line, queue and indexes change together; each costs O(log n). What it must not do: choose.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Transaction;
use crate::domain::allocation::{Allocation, AllocationPhase, EndReason, EndedAllocation};
use crate::domain::check::{self, Room};
use crate::domain::command::Placement;
use crate::domain::event::Event;
use crate::domain::ids::{AllocationId, JobId, RequirementName, TaskManagerId};
use crate::domain::indexes::PendingLine;
use crate::domain::job::{Job, RequirementState};
use crate::domain::limits;
use crate::domain::outcome::StaleDecision;
use crate::domain::resources::ResourceProfile;
use crate::domain::task_manager::{Condition, TaskManager};

/// A slot that passed every check.
pub(super) struct PlannedSlot {
    task_manager: TaskManagerId,
    slot_index: u32,
    profile: Arc<ResourceProfile>,
}

/// What earlier placements of the same command leave of a TaskManager.
struct Remainder {
    free: ResourceProfile,
    slots_used: u32,
    next_index: u32,
}

impl Transaction<'_> {
    /// Checks all placements, each against what the ones before it leave.
    pub(super) fn plan_slots(
        &self,
        job: &Job,
        wanted: Option<&ResourceProfile>,
        placements: &[Placement],
    ) -> Result<Vec<PlannedSlot>, StaleDecision> {
        let queue = self.state.queues.get(&job.queue).expect("a running job's queue exists");
        let mut used = queue.used.clone();
        let mut remainders = BTreeMap::new();
        let mut planned = Vec::with_capacity(placements.len());
        for Placement { task_manager: id, epoch } in placements {
            // The name as the state holds it: one out of a record is a copy of its own, which would live as long as the slot.
            let found = self.state.task_managers.get_key_value(id).filter(|(_, found)| found.epoch == *epoch);
            let (id, task_manager) = found.ok_or(StaleDecision::TaskManager)?;
            let remainder = remainders.entry(id).or_insert_with(|| Remainder::of(task_manager));
            let (slot_index, profile) = plan_slot(task_manager, remainder, wanted)?;
            used = check::queue_admits(queue, &used, &profile).map_err(check::stale_decision)?;
            let profile = self.shared_profile(task_manager, &planned, profile);
            planned.push(PlannedSlot { task_manager: id.clone(), slot_index, profile });
        }
        Ok(planned)
    }

    /// `profile`, shared with the slot before it or with one that the TaskManager has given already: a million slots
    /// have few different profiles.
    fn shared_profile(
        &self,
        task_manager: &TaskManager,
        planned: &[PlannedSlot],
        profile: ResourceProfile,
    ) -> Arc<ResourceProfile> {
        let before = planned.last().map(|slot| &slot.profile).filter(|before| ***before == profile);
        let given = || {
            let id = task_manager.slots.values().next_back()?;
            Some(&self.state.allocations.get(id)?.profile).filter(|given| ***given == profile)
        };
        before.or_else(given).cloned().unwrap_or_else(|| Arc::new(profile))
    }

    /// Takes planned slots for a job, in order.
    pub(super) fn take_slots(
        &mut self,
        job: &JobId,
        requirement: Option<&RequirementName>,
        planned: Vec<PlannedSlot>,
    ) -> Vec<AllocationId> {
        let (known, _) = self.state.jobs.get_key_value(job).expect("slots are planned for a known job");
        let job = known.clone();
        planned.into_iter().map(|slot| self.take_slot(&job, requirement, slot)).collect()
    }

    fn take_slot(
        &mut self,
        job: &JobId,
        requirement: Option<&RequirementName>,
        slot: PlannedSlot,
    ) -> AllocationId {
        let PlannedSlot { task_manager, slot_index, profile } = slot;
        let id = self.mint_allocation_id();
        let fencing_token = self.state.counters.fencing_token.next();
        self.state.counters.fencing_token = fencing_token;
        self.change_slots(&task_manager, |record| {
            let before = record.slots.insert(slot_index, id);
            assert!(before.is_none(), "a planned slot is free");
            record.free = record.free.checked_sub(&profile).expect("a planned slot fits what is free");
        });
        self.charge(job, |usage| usage.checked_with(&profile).expect("the queue admitted the slot"));
        self.change_line(job, requirement, |allocations| allocations.insert(id));
        let allocation = Allocation {
            job: job.clone(),
            task_manager: task_manager.clone(),
            slot_index,
            profile,
            fencing_token,
            phase: AllocationPhase::Pending,
            requirement: requirement.cloned(),
            granted_at: self.state.now,
            granted_in: self.revision,
        };
        self.state.allocations.insert(id, Arc::new(allocation));
        self.state.indexes.unconfirmed.insert(id, ());
        self.events.push(Event::AllocationGranted {
            id,
            job: job.clone(),
            task_manager,
            slot_index,
            fencing_token,
        });
        id
    }

    /// Ends a living allocation. A TaskManager that drains is drained when its last one ends.
    pub(super) fn end_allocation(&mut self, id: AllocationId, reason: EndReason) {
        let allocation = self.state.allocations.remove(&id).expect("only living allocations are ended");
        self.state.indexes.unconfirmed.remove(&id);
        let Allocation { job, task_manager, slot_index, profile, fencing_token, requirement, .. } =
            &*allocation;
        self.change_slots(task_manager, |record| {
            record.slots.remove(slot_index);
            record.free =
                record.free.checked_add(profile).expect("what was taken from the total fits into it");
        });
        self.charge(job, |usage| usage.checked_without(profile).expect("what was charged can be credited"));
        self.change_line(job, requirement.as_ref(), |allocations| allocations.remove(&id));
        let (job, task_manager) = (job.clone(), task_manager.clone());
        self.events.push(Event::AllocationEnded {
            id,
            job: job.clone(),
            task_manager: task_manager.clone(),
            reason: reason.clone(),
        });
        let is_leaving = reason == EndReason::TaskManagerLeft;
        self.remember_ended(EndedAllocation {
            id,
            job,
            task_manager: task_manager.clone(),
            slot_index: *slot_index,
            fencing_token: *fencing_token,
            reason,
            ended_at: self.state.now,
            ended_in: self.revision,
        });
        if !is_leaving {
            self.finish_drain(&task_manager);
        }
    }

    /// Ends all of `ids` for one reason.
    pub(super) fn end_allocations(
        &mut self,
        ids: impl IntoIterator<Item = AllocationId>,
        reason: &EndReason,
    ) {
        for id in ids {
            self.end_allocation(id, reason.clone());
        }
    }

    /// Turns a TaskManager that drains and holds nothing into a drained one.
    pub(super) fn finish_drain(&mut self, id: &TaskManagerId) {
        let is_done = |record: &TaskManager| {
            matches!(record.condition, Condition::Draining { .. }) && record.slots.is_empty()
        };
        if self.state.task_managers.get(id).is_some_and(|record| is_done(record)) {
            self.set_condition(id, Condition::Drained);
        }
    }

    fn mint_allocation_id(&mut self) -> AllocationId {
        let counter =
            self.state.counters.allocation.checked_add(1).expect("a 64-bit counter is never exhausted");
        self.state.counters.allocation = counter;
        AllocationId::minted(self.state.cluster.expect("a session in force belongs to a cluster"), counter)
    }

    fn change_slots(&mut self, id: &TaskManagerId, change: impl FnOnce(&mut TaskManager)) {
        let generation = self.generation();
        let record = self.state.task_managers.get_mut(id).expect("an allocation's TaskManager is known");
        let record = Arc::make_mut(record);
        change(record);
        record.generation = generation;
        self.state.indexes.capacity.update(id, record);
    }

    fn charge(&mut self, id: &JobId, change: impl Fn(&crate::domain::Usage) -> crate::domain::Usage) {
        let job = Arc::make_mut(self.state.jobs.get_mut(id).expect("an allocation's job is known"));
        job.usage = change(&job.usage);
        let queue = self.state.queues.get_mut(&job.queue).expect("a job with slots has a queue");
        queue.used = change(&queue.used);
    }

    /// Changes what a job holds and, if it serves a requirement line, what the line holds; keeps the line's place
    /// among the pending ones. A line that lacks slots from now on waits from now on.
    fn change_line(
        &mut self,
        id: &JobId,
        requirement: Option<&RequirementName>,
        change: impl Fn(&mut std::collections::BTreeSet<AllocationId>) -> bool,
    ) {
        let (now, revision) = (self.state.now, self.revision);
        let job = Arc::make_mut(self.state.jobs.get_mut(id).expect("an allocation's job is known"));
        change(&mut job.allocations);
        let Some(mut line) = requirement.and_then(|name| job.requirements.remove_entry(name)) else { return };
        let pending = &mut self.state.indexes.pending;
        if line.1.pending() > 0 {
            pending.remove(&PendingLine::of(id, job, &line.1));
            change(&mut line.1.granted);
        } else {
            change(&mut line.1.granted);
            wait_from(&mut line.1, now, revision);
        }
        if line.1.pending() > 0 {
            pending.insert(PendingLine::of(id, job, &line.1));
        }
        job.requirements.insert(line.0, line.1);
    }

    fn remember_ended(&mut self, ended: EndedAllocation) {
        let ended = Arc::new(ended);
        self.state.indexes.ended_by_id.insert(ended.id, ended.clone());
        self.state.ended.push_back(ended);
        if self.state.ended.len() > limits::ENDED_ALLOCATIONS_MAX {
            let oldest = self.state.ended.pop_front().expect("more than the maximum is more than none");
            self.state.indexes.ended_by_id.remove(&oldest.id);
        }
    }
}

/// Sets the age of a line that lacks slots from now on; a line that lacks none keeps its last age.
pub(super) fn wait_from(
    line: &mut RequirementState,
    now: crate::domain::LogicalTime,
    revision: crate::domain::Revision,
) {
    if line.pending() > 0 {
        line.pending_since = now;
        line.pending_in = revision;
    }
}

impl Remainder {
    fn of(task_manager: &TaskManager) -> Self {
        let Room { slots_used, free, .. } = Room::of(task_manager);
        Self { free: free.clone(), slots_used, next_index: 0 }
    }
}

fn plan_slot(
    task_manager: &TaskManager,
    remainder: &mut Remainder,
    wanted: Option<&ResourceProfile>,
) -> Result<(u32, ResourceProfile), StaleDecision> {
    let Remainder { free, slots_used, next_index } = remainder;
    let room = Room { offer: &task_manager.offer, slots_used: *slots_used, free };
    let profile =
        check::accepts(task_manager.condition, room, wanted).map_err(check::stale_decision)?.clone();
    let slot_index = task_manager.lowest_free_index(*next_index).ok_or(StaleDecision::Slot)?;
    *next_index = slot_index.saturating_add(1);
    *slots_used = slots_used.saturating_add(1);
    *free = free.checked_sub(&profile).ok_or(StaleDecision::Resources)?;
    Ok((slot_index, profile))
}
