//! Invariants about numbers: what is minted is new, and nothing that grows ever falls.
//!
//! What it promises: `previous` may be any earlier state of the same log, not only the last. What it must not do:
//! compare states of two logs.

use std::collections::BTreeSet;

use super::{Finding, require};
use crate::domain::state::State;

pub(super) fn numbers_only_grow(previous: &State, state: &State) -> Finding {
    let (before, after) = (&previous.counters, &state.counters);
    let pairs = [
        ("allocation counter", before.allocation, after.allocation),
        ("fencing token", before.fencing_token.0, after.fencing_token.0),
        ("epoch", before.epoch.0, after.epoch.0),
        ("node id", before.node_id, after.node_id),
    ];
    for (what, before, after) in pairs {
        require(before <= after, || format!("the last {what} fell from {before} to {after}"))?;
    }
    for (id, task_manager) in &state.task_managers {
        let Some(known) = previous.task_managers.get(id) else {
            require(task_manager.epoch > before.epoch, || format!("{id} is new with an old epoch"))?;
            continue;
        };
        require(known.epoch <= task_manager.epoch, || format!("the epoch of {id} fell"))?;
        require(known.generation <= task_manager.generation, || format!("the generation of {id} fell"))?;
        let is_same = known.slots == task_manager.slots || known.generation < task_manager.generation;
        // Within one record several commands share a generation, so only whole records can be told apart.
        require(is_same || previous.revision == state.revision, || format!("slots of {id} changed unseen"))?;
    }
    for (id, allocation) in &state.allocations {
        let is_old =
            previous.allocations.get(id).is_some_and(|old| old.fencing_token == allocation.fencing_token);
        let is_new = !previous.was_ever_allocated(*id) && allocation.fencing_token > before.fencing_token;
        require(is_old || is_new, || format!("allocation {id} came back, or has an old token"))?;
    }
    Ok(())
}

pub(super) fn time_and_revision_never_fall(previous: &State, state: &State) -> Finding {
    let pairs = [
        ("time", previous.now.0, state.now.0),
        ("revision", previous.revision.0, state.revision.0),
        ("session", previous.session.0, state.session.0),
    ];
    for (what, before, after) in pairs {
        require(before <= after, || format!("{what} fell from {before} to {after}"))?;
    }
    require(previous.cluster.is_none() || previous.cluster == state.cluster, || {
        "the cluster changed".to_owned()
    })
}

pub(super) fn node_ids_are_minted_once(state: &State) -> Finding {
    let mut seen = BTreeSet::new();
    for node in &state.minted_nodes {
        require(seen.insert(node.node_id), || format!("node id {} is minted twice", node.node_id))?;
        let is_counted = (1..=state.counters.node_id).contains(&node.node_id);
        require(is_counted, || format!("node id {} is above the counter", node.node_id))?;
    }
    Ok(())
}

pub(super) fn what_is_minted_is_unique(state: &State) -> Finding {
    let mut tokens = BTreeSet::new();
    for (id, allocation) in &state.allocations {
        require(state.was_ever_allocated(*id), || format!("allocation {id} was never minted here"))?;
        let token = allocation.fencing_token;
        require(token <= state.counters.fencing_token, || {
            format!("token {token} of {id} is above the counter")
        })?;
        require(tokens.insert(token), || format!("token {token} is given twice"))?;
        require(state.ended_allocation(*id).is_none(), || format!("allocation {id} has ended and lives"))?;
    }
    for (id, task_manager) in &state.task_managers {
        require(task_manager.epoch <= state.counters.epoch, || {
            format!("the epoch of {id} is above the counter")
        })?;
    }
    Ok(())
}
