//! Allocation requests that the leader decided, and releases.
//!
//! What it promises: every placement is checked again; one that no longer fits refuses the whole command. What it must
//! not do: look for other places.

use std::collections::BTreeSet;

use super::Transaction;
use super::shape::{check_length, check_profile, invalid};
use crate::domain::allocation::EndReason;
use crate::domain::command::{Allocate, AllocationMode};
use crate::domain::ids::{AllocationId, JobId};
use crate::domain::limits;
use crate::domain::outcome::{Grant, Rejection, Reply, StaleDecision};

impl Transaction<'_> {
    pub(super) fn allocate(&mut self, request: &Allocate) -> Result<Reply, Rejection> {
        let Allocate { job: id, slots, profile, mode, placements, reasons, .. } = request;
        if !(1..=limits::SLOTS_PER_REQUEST_MAX).contains(slots) {
            return Err(invalid("slots", &format!("1 to {}", limits::SLOTS_PER_REQUEST_MAX)));
        }
        check_length("reasons", reasons.len(), limits::REFUSAL_REASONS_MAX)?;
        profile.iter().try_for_each(|profile| check_profile("profile", profile))?;
        let job = self.job_of(id, request.job_master_id.as_ref())?;
        let placed = u32::try_from(placements.len()).unwrap_or(u32::MAX);
        let missing = slots.checked_sub(placed).ok_or(Rejection::StaleDecision(StaleDecision::TooMany))?;
        if *mode == AllocationMode::AllOrNothing && missing > 0 {
            return Err(match placed {
                0 => Rejection::InsufficientResources { reasons: reasons.clone() },
                _ => Rejection::StaleDecision(StaleDecision::TooFew),
            });
        }
        let planned = self.plan_slots(job, profile.as_ref(), placements).map_err(Rejection::StaleDecision)?;
        let taken = self.take_slots(id, None, planned);
        Ok(Reply::Allocated { allocations: self.grants(&taken), missing, reasons: reasons.clone() })
    }

    /// Ends what the job holds among `allocations`. What ended before counts as released, so that a retry without a key
    /// gets the same answer; also what is so old that its end is forgotten.
    pub(super) fn release(&mut self, id: &JobId, allocations: &[AllocationId]) -> Result<Reply, Rejection> {
        check_length("allocation_ids", allocations.len(), limits::ALLOCATIONS_PER_REQUEST_MAX)?;
        let job = self.state.jobs.get(id).ok_or_else(|| Rejection::UnknownJob(id.clone()))?;
        let mut held = Vec::new();
        // The answer is remembered, so it takes no more room than it fills.
        let (mut released, mut unknown) = (Vec::with_capacity(allocations.len()), Vec::new());
        let mut seen = BTreeSet::new();
        for allocation in allocations.iter().filter(|allocation| seen.insert(**allocation)) {
            if job.allocations.contains(allocation) {
                held.push(*allocation);
                released.push(*allocation);
            } else if self.was_held_by(id, *allocation) {
                released.push(*allocation);
            } else {
                unknown.push(*allocation);
            }
        }
        self.end_allocations(held, &EndReason::Released);
        Ok(Reply::Released { released, unknown })
    }

    fn was_held_by(&self, job: &JobId, id: AllocationId) -> bool {
        if self.state.allocations.contains_key(&id) {
            return false;
        }
        match self.state.ended_allocation(id) {
            Some(ended) => ended.job == *job,
            None => self.state.was_ever_allocated(id),
        }
    }

    /// Living allocations as answers show them.
    pub(super) fn grants(&self, ids: &[AllocationId]) -> Vec<Grant> {
        let mut grants = Vec::with_capacity(ids.len());
        grants.extend(ids.iter().filter_map(|id| self.state.grant(*id)));
        grants
    }
}
