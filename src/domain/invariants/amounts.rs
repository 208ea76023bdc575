//! Invariants about amounts and bounds.
//!
//! What it promises: sums are made anew from the allocations. What it must not do: trust any running total.

use std::collections::BTreeMap;

use super::{Finding, require};
use crate::domain::limits;
use crate::domain::resources::Usage;
use crate::domain::state::State;

pub(super) fn allocations_fit(state: &State) -> Finding {
    for (id, task_manager) in &state.task_managers {
        let mut left = task_manager.offer.total();
        for (index, allocation) in &task_manager.slots {
            require(*index < task_manager.offer.slots_max(), || {
                format!("{id} holds slot {index} beyond its offer")
            })?;
            let profile = state.allocations.get(allocation).map(|allocation| &allocation.profile);
            left = left.zip(profile).and_then(|(left, profile)| left.checked_sub(profile));
        }
        require(left.as_ref() == Some(&task_manager.free), || {
            format!("{id} claims {:?} free, its allocations leave {left:?}", task_manager.free)
        })?;
    }
    Ok(())
}

pub(super) fn usage_is_the_sum(state: &State) -> Finding {
    let (mut by_job, mut by_queue) = (BTreeMap::<_, Usage>::new(), BTreeMap::<_, Usage>::new());
    let add = |sum: &mut Usage, profile| {
        *sum = sum.checked_with(profile).ok_or("a sum exceeds 64 bits")?;
        Ok::<_, String>(())
    };
    for allocation in state.allocations.values() {
        add(by_job.entry(&allocation.job).or_default(), &allocation.profile)?;
        if let Some(job) = state.jobs.get(&allocation.job) {
            add(by_queue.entry(&job.queue).or_default(), &allocation.profile)?;
        }
    }
    let mut running = BTreeMap::<_, u64>::new();
    for (id, job) in &state.jobs {
        let sum = by_job.remove(id).unwrap_or_default();
        require(sum == job.usage, || {
            format!("job {id} is charged {:?}, its allocations are {sum:?}", job.usage)
        })?;
        if job.is_running() {
            let jobs = running.entry(&job.queue).or_default();
            *jobs = jobs.saturating_add(1);
        }
    }
    for (name, queue) in &state.queues {
        let sum = by_queue.remove(name).unwrap_or_default();
        require(sum == queue.used, || {
            format!("queue {name} is charged {:?}, its jobs hold {sum:?}", queue.used)
        })?;
        let jobs = running.remove(name).unwrap_or_default();
        require(jobs == queue.jobs, || format!("queue {name} counts {} jobs, {jobs} run", queue.jobs))?;
    }
    require(running.is_empty() && by_queue.is_empty(), || {
        format!("jobs run in unknown queues: {:?}", running.keys().collect::<Vec<_>>())
    })
}

pub(super) fn no_queue_above_its_maximum(state: &State) -> Finding {
    for (name, queue) in &state.queues {
        require(queue.maximum.admits(&queue.used), || {
            format!("queue {name} holds {:?}, its maximum is {:?}", queue.used, queue.maximum)
        })?;
    }
    Ok(())
}

pub(super) fn everything_is_bounded(state: &State) -> Finding {
    let counts = [
        ("TaskManagers", state.task_managers.len(), limits::TASK_MANAGERS_MAX),
        ("jobs", state.jobs.len(), limits::JOBS_MAX),
        ("queues", state.queues.len(), limits::QUEUES_MAX),
        ("ended allocations", state.ended.len(), limits::ENDED_ALLOCATIONS_MAX),
        ("node ids", state.minted_nodes.len(), limits::MINTED_NODES_MAX),
    ];
    for (what, count, max) in counts {
        require(count <= max, || format!("{count} {what}, at most {max} are allowed"))?;
    }
    for (id, job) in &state.jobs {
        require(job.requirements.len() <= limits::REQUIREMENTS_PER_JOB_MAX, || {
            format!("job {id} has too many lines")
        })?;
    }
    state.idempotency.check(state.revision.0)
}
