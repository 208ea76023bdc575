//! TaskManagers: registration, loss, cordon and drain, confirmation.
//!
//! What it promises: one registration is one epoch, and what it offers does not change; a restarted process never
//! inherits slots; an operator's cordon or drain survives restart and loss. What it must not do: judge liveness.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Transaction;
use super::shape::{check_labels, check_length, check_offer, check_room, cut_reason, invalid};
use crate::domain::allocation::{AllocationPhase, EndReason, FailureCause};
use crate::domain::constraint::Labels;
use crate::domain::event::Event;
use crate::domain::ids::{AllocationId, Epoch, TaskManagerId, TaskManagerSession};
use crate::domain::limits;
use crate::domain::outcome::{Rejection, Reply};
use crate::domain::task_manager::{Condition, Offer, TaskManager};

/// What a TaskManager says of itself when it registers.
pub(super) struct Registration<'a> {
    pub(super) session: &'a TaskManagerSession,
    pub(super) address: &'a Arc<str>,
    pub(super) offer: &'a Offer,
    pub(super) labels: &'a Labels,
}

impl Transaction<'_> {
    pub(super) fn register_task_manager(
        &mut self,
        id: &TaskManagerId,
        registration: Registration<'_>,
    ) -> Result<Reply, Rejection> {
        check_length("address", registration.address.len(), limits::ADDRESS_BYTES_MAX)?;
        check_labels("labels", registration.labels)?;
        check_offer(registration.offer)?;
        let created = match self.state.task_managers.get(id) {
            Some(known) if known.session == *registration.session && !known.is_lost() => {
                if known.offer != *registration.offer {
                    return Err(invalid(
                        "slots",
                        "what a TaskManager offers can not change within one session_id",
                    ));
                }
                self.describe(id, &registration);
                false
            }
            Some(known) => {
                let held: Vec<_> = known.slots.values().copied().collect();
                self.end_allocations(held, &EndReason::TaskManagerRestarted);
                self.admit(id, &registration);
                true
            }
            None => {
                check_room("TaskManagers", self.state.task_managers.len(), limits::TASK_MANAGERS_MAX)?;
                self.admit(id, &registration);
                true
            }
        };
        let record = self.state.task_managers.get(id).expect("it has just registered");
        let (epoch, generation) = (record.epoch, record.generation);
        Ok(Reply::TaskManagerRegistered { created, epoch, generation, allocations: self.state.assigned(id) })
    }

    /// Takes over address and labels of the same registration.
    fn describe(&mut self, id: &TaskManagerId, registration: &Registration<'_>) {
        let record = self.state.task_managers.get_mut(id).expect("it is registered");
        if record.address == *registration.address && record.labels == *registration.labels {
            return;
        }
        let record = Arc::make_mut(record);
        record.address = registration.address.clone();
        record.labels = registration.labels.clone();
        self.state.indexes.capacity.update(id, record);
        self.events.push(Event::TaskManagerChanged { id: id.clone(), condition: record.condition });
    }

    /// Begins a new registration of a TaskManager that holds nothing.
    fn admit(&mut self, id: &TaskManagerId, registration: &Registration<'_>) {
        let epoch = self.state.counters.epoch.next();
        self.state.counters.epoch = epoch;
        let known = self.state.task_managers.get(id).cloned();
        let condition = match &known {
            None => Condition::Active,
            Some(known) if known.is_lost() => known.returns_as.unwrap_or(Condition::Active),
            Some(known) => known.condition,
        };
        let record = TaskManager {
            session: registration.session.clone(),
            epoch,
            address: registration.address.clone(),
            offer: registration.offer.clone(),
            labels: registration.labels.clone(),
            condition,
            returns_as: None,
            generation: self.generation(),
            slots: BTreeMap::new(),
            free: registration.offer.total().expect("the offer was checked"),
            registered_at: self.state.now,
            registered_in: self.revision,
        };
        match known {
            None => self.state.indexes.add_task_manager(id, &record),
            Some(known) => self.state.indexes.replace_task_manager(id, &known, &record),
        }
        self.state.task_managers.insert(id.clone(), Arc::new(record));
        self.events.push(Event::TaskManagerRegistered { id: id.clone(), epoch });
        self.finish_drain(id);
    }

    pub(super) fn deregister_task_manager(&mut self, id: &TaskManagerId) -> Result<Reply, Rejection> {
        let held: Vec<_> = self.task_manager(id)?.slots.values().copied().collect();
        self.end_allocations(held, &EndReason::TaskManagerLeft);
        self.forget_task_manager(id);
        Ok(Reply::Done)
    }

    /// As [`Self::deregister_task_manager`], if `epoch` is the current registration.
    pub(super) fn leave_task_manager(
        &mut self,
        id: &TaskManagerId,
        epoch: Epoch,
    ) -> Result<Reply, Rejection> {
        self.registered(id, epoch)?;
        self.deregister_task_manager(id)
    }

    /// Removes a TaskManager that holds nothing.
    pub(super) fn forget_task_manager(&mut self, id: &TaskManagerId) {
        let record = self.state.task_managers.remove(id).expect("only a known TaskManager is forgotten");
        self.state.indexes.remove_task_manager(id, &record);
        self.events.push(Event::TaskManagerRemoved { id: id.clone() });
    }

    pub(super) fn expire_task_manager(
        &mut self,
        id: &TaskManagerId,
        epoch: Epoch,
    ) -> Result<Reply, Rejection> {
        let record = self.registered(id, epoch)?;
        if record.is_lost() {
            return Ok(Reply::Done);
        }
        let held: Vec<_> = record.slots.values().copied().collect();
        let returns_as = match record.condition {
            Condition::Cordoned => Some(Condition::Cordoned),
            Condition::Draining { .. } | Condition::Drained => Some(Condition::Drained),
            Condition::Active | Condition::Lost { .. } => None,
        };
        self.set_condition(id, Condition::Lost { since: self.state.now });
        self.set_return(id, returns_as);
        self.end_allocations(held, &EndReason::TaskManagerLost);
        Ok(Reply::Done)
    }

    /// A cordon on what takes no slots anyway changes nothing; on a lost TaskManager it waits for its return.
    pub(super) fn cordon(&mut self, id: &TaskManagerId) -> Result<Reply, Rejection> {
        match self.task_manager(id)?.condition {
            Condition::Active => self.set_condition(id, Condition::Cordoned),
            Condition::Lost { .. } if self.task_manager(id)?.returns_as.is_none() => {
                self.set_return(id, Some(Condition::Cordoned));
            }
            _ => {}
        }
        Ok(Reply::Done)
    }

    pub(super) fn uncordon(&mut self, id: &TaskManagerId) -> Result<Reply, Rejection> {
        match self.task_manager(id)?.condition {
            Condition::Active => {}
            Condition::Lost { .. } => self.set_return(id, None),
            _ => self.set_condition(id, Condition::Active),
        }
        Ok(Reply::Done)
    }

    /// A second drain replaces the deadline of the first.
    pub(super) fn drain(&mut self, id: &TaskManagerId, deadline_ms: Option<u64>) -> Result<Reply, Rejection> {
        match self.task_manager(id)?.condition {
            Condition::Drained => {}
            Condition::Lost { .. } => self.set_return(id, Some(Condition::Drained)),
            _ => {
                let deadline = deadline_ms.map(|deadline_ms| self.state.now.after(deadline_ms));
                self.set_condition(id, Condition::Draining { deadline });
                self.finish_drain(id);
            }
        }
        Ok(Reply::Done)
    }

    /// Ends what does not run, and notes what does. Ids that the TaskManager does not hold are only counted.
    pub(super) fn report(
        &mut self,
        id: &TaskManagerId,
        epoch: Epoch,
        started: &[AllocationId],
        failed: Vec<(AllocationId, FailureCause, Arc<str>)>,
    ) -> Result<Reply, Rejection> {
        let named = started.len().saturating_add(failed.len());
        check_length("allocation_ids", named, limits::ALLOCATIONS_PER_REQUEST_MAX)?;
        self.living(id, epoch)?;
        let (mut active, mut ended, mut unknown) = (0_u32, 0_u32, 0_u32);
        for allocation in started {
            let count = if self.activate(id, *allocation) { &mut active } else { &mut unknown };
            *count = count.saturating_add(1);
        }
        for (allocation, cause, detail) in failed {
            let is_held = self.holds(id, allocation).is_some();
            let count = if is_held { &mut ended } else { &mut unknown };
            *count = count.saturating_add(1);
            if is_held {
                self.end_allocation(allocation, cause.end_reason(cut_reason(&detail)));
            }
        }
        self.finish_drain(id);
        Ok(Reply::Confirmed { active, failed: ended, unknown })
    }

    /// Ends what the TaskManager had confirmed and turned out not to hold.
    pub(super) fn end_not_held(
        &mut self,
        id: &TaskManagerId,
        epoch: Epoch,
        allocations: &[AllocationId],
    ) -> Result<Reply, Rejection> {
        check_length("allocations", allocations.len(), limits::ALLOCATIONS_PER_REQUEST_MAX)?;
        self.living(id, epoch)?;
        let (mut ended, mut unknown) = (0_u32, 0_u32);
        for allocation in allocations {
            let is_confirmed = self.holds(id, *allocation) == Some(AllocationPhase::Active);
            let count = if is_confirmed { &mut ended } else { &mut unknown };
            *count = count.saturating_add(1);
            if is_confirmed {
                self.end_allocation(*allocation, EndReason::NotHeld);
            }
        }
        Ok(Reply::Confirmed { active: 0, failed: ended, unknown })
    }

    /// The phase of an allocation, if it is on this TaskManager.
    fn holds(&self, id: &TaskManagerId, allocation: AllocationId) -> Option<AllocationPhase> {
        let held = self.state.allocations.get(&allocation).filter(|held| held.task_manager == *id);
        held.map(|held| held.phase)
    }

    fn activate(&mut self, task_manager: &TaskManagerId, id: AllocationId) -> bool {
        let held = self.state.allocations.get_mut(&id).filter(|held| held.task_manager == *task_manager);
        let Some(allocation) = held else { return false };
        if allocation.phase == AllocationPhase::Pending {
            Arc::make_mut(allocation).phase = AllocationPhase::Active;
            self.state.indexes.unconfirmed.remove(&id);
            self.events.push(Event::AllocationActive { id });
        }
        true
    }

    /// Changes the condition of a known TaskManager.
    pub(super) fn set_condition(&mut self, id: &TaskManagerId, condition: Condition) {
        let record = self.state.task_managers.get_mut(id).expect("the TaskManager is known");
        if record.condition == condition {
            return;
        }
        let before = record.clone();
        Arc::make_mut(record).condition = condition;
        self.state.indexes.replace_task_manager(id, &before, record);
        self.events.push(Event::TaskManagerChanged { id: id.clone(), condition });
    }

    fn set_return(&mut self, id: &TaskManagerId, returns_as: Option<Condition>) {
        let record = self.state.task_managers.get_mut(id).expect("the TaskManager is known");
        if record.returns_as != returns_as {
            Arc::make_mut(record).returns_as = returns_as;
        }
    }

    fn task_manager(&self, id: &TaskManagerId) -> Result<&TaskManager, Rejection> {
        let record = self.state.task_managers.get(id);
        record.map(|record| &**record).ok_or_else(|| Rejection::UnknownTaskManager(id.clone()))
    }

    fn registered(&self, id: &TaskManagerId, epoch: Epoch) -> Result<&TaskManager, Rejection> {
        let record = self.task_manager(id)?;
        if record.epoch == epoch {
            return Ok(record);
        }
        Err(Rejection::StaleEpoch { given: epoch, current: record.epoch })
    }

    /// Refuses what comes of an older registration, or of one that is lost.
    fn living(&self, id: &TaskManagerId, epoch: Epoch) -> Result<(), Rejection> {
        if self.registered(id, epoch)?.is_lost() {
            return Err(Rejection::UnknownTaskManager(id.clone()));
        }
        Ok(())
    }
}
