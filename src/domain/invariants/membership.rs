//! Invariants about who holds what.
//!
//! What it promises: every reference is checked in both directions. What it must not do: count amounts.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, require};
use crate::domain::indexes::Indexes;
use crate::domain::state::State;
use crate::domain::task_manager::Condition;

pub(super) fn one_allocation_per_slot(state: &State) -> Finding {
    let mut slots = 0;
    for (id, task_manager) in &state.task_managers {
        slots += task_manager.slots.len();
        for (index, allocation) in &task_manager.slots {
            let held = state.allocations.get(allocation);
            require(held.is_some_and(|held| held.task_manager == *id && held.slot_index == *index), || {
                format!("slot {index} of {id} names allocation {allocation}, which does not name it")
            })?;
        }
    }
    require(slots == state.allocations.len(), || {
        format!("{slots} slots are held, but {} allocations live", state.allocations.len())
    })
}

pub(super) fn no_orphans(state: &State) -> Finding {
    for (id, allocation) in &state.allocations {
        let job = state.jobs.get(&allocation.job);
        require(job.is_some_and(|job| job.allocations.contains(id)), || {
            format!("allocation {id} is not listed by its job {}", allocation.job)
        })?;
        require(state.task_managers.contains_key(&allocation.task_manager), || {
            format!("allocation {id} is on the unknown TaskManager {}", allocation.task_manager)
        })?;
    }
    let listed: usize = state.jobs.values().map(|job| job.allocations.len()).sum();
    require(listed == state.allocations.len(), || {
        format!("jobs list {listed} allocations, but {} live", state.allocations.len())
    })
}

pub(super) fn nothing_on_the_lost(state: &State) -> Finding {
    for (id, task_manager) in &state.task_managers {
        require(!task_manager.is_lost() || task_manager.slots.is_empty(), || {
            format!("{id} is lost and holds slots")
        })?;
    }
    Ok(())
}

pub(super) fn finished_jobs_hold_nothing(state: &State) -> Finding {
    for (id, job) in state.jobs.iter().filter(|(_, job)| !job.is_running()) {
        let is_empty = job.allocations.is_empty() && job.requirements.is_empty();
        require(is_empty, || format!("job {id} is finished and holds slots or requirements"))?;
    }
    Ok(())
}

pub(super) fn indexes_equal_a_rebuild(state: &State) -> Finding {
    let rebuilt = Indexes::rebuilt(state);
    if state.indexes == rebuilt {
        return Ok(());
    }
    let parts = [
        ("capacity", state.indexes.capacity == rebuilt.capacity),
        ("pending", state.indexes.pending == rebuilt.pending),
        ("unconfirmed", state.indexes.unconfirmed == rebuilt.unconfirmed),
        ("drains", state.indexes.drains == rebuilt.drains),
        ("lost", state.indexes.lost == rebuilt.lost),
        ("finished", state.indexes.finished == rebuilt.finished),
        ("ended_by_id", state.indexes.ended_by_id == rebuilt.ended_by_id),
    ];
    let different: Vec<_> = parts.iter().filter(|(_, equal)| !equal).map(|(name, _)| *name).collect();
    Err(format!("these differ from a rebuild: {}", different.join(", ")))
}

pub(super) fn lines_hold_what_names_them(state: &State) -> Finding {
    let mut named = BTreeMap::<_, BTreeSet<_>>::new();
    for (id, allocation) in &state.allocations {
        if let Some(requirement) = &allocation.requirement {
            named.entry((&allocation.job, requirement)).or_default().insert(*id);
        }
    }
    for (id, job) in &state.jobs {
        for (name, line) in &job.requirements {
            let held = named.remove(&(id, name)).unwrap_or_default();
            require(held == line.granted, || format!("line {name} of {id} does not hold what names it"))?;
            let granted = u32::try_from(held.len()).unwrap_or(u32::MAX);
            require(granted <= line.requirement.desired, || format!("line {name} of {id} holds {granted}"))?;
        }
    }
    let left = named.first_key_value();
    require(left.is_none(), || format!("allocations name lines that do not exist: {left:?}"))
}

pub(super) fn drains_end(state: &State) -> Finding {
    for (id, task_manager) in &state.task_managers {
        let holds = match task_manager.condition {
            Condition::Draining { .. } => !task_manager.slots.is_empty(),
            Condition::Drained => task_manager.slots.is_empty(),
            _ => true,
        };
        require(holds, || {
            format!("{id} is {:?} and holds {} slots", task_manager.condition, task_manager.slots.len())
        })?;
        let returns_as = task_manager.returns_as;
        let is_remembered = matches!(returns_as, None | Some(Condition::Cordoned | Condition::Drained));
        require(is_remembered && (returns_as.is_none() || task_manager.is_lost()), || {
            format!("{id} is {:?} and would return as {returns_as:?}", task_manager.condition)
        })?;
    }
    Ok(())
}
