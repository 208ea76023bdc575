//! `/v1/allocations`: looking at allocations of all jobs.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

use axum::extract::State;
use uuid::Uuid;

use super::answer::Answer;
use super::extract::{PathParameters, QueryParameters};
use super::pages::PageOf;
use super::refusal::Refusal;
use super::{App, answers};
use crate::api::Page;
use crate::api::allocations::{Allocation, AllocationDetails, AllocationState};
use crate::domain::{self, AllocationId, QueueName, Rejection, TaskManagerId};

/// The key of an allocation in lists: its id, as a cursor shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AllocationKey(pub(super) AllocationId);

impl fmt::Display for AllocationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AllocationKey {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(|id| Self(AllocationId(id)))
    }
}

impl PageOf<AllocationKey> {
    /// The ids that this page and all later ones cover.
    pub(super) fn after_allocation(&self) -> (Bound<AllocationId>, Bound<AllocationId>) {
        (self.range().0.map(|key| key.0), Bound::Unbounded)
    }
}

/// Takes an allocation's id out of the path.
pub(super) fn allocation_id(path: &PathParameters, name: &str) -> Result<AllocationId, Refusal> {
    path.get::<AllocationKey>(name).map(|key| key.0).map_err(|_| Refusal::invalid(name, "it is not a UUID"))
}

/// Which allocations are listed.
#[derive(Debug, Default)]
pub(super) struct Filter {
    task_manager: Option<TaskManagerId>,
    queue: Option<QueueName>,
    state: Option<AllocationState>,
}

impl Filter {
    /// Takes the filters out of the query.
    pub(super) fn take(query: &mut QueryParameters) -> Result<Self, Refusal> {
        Ok(Self {
            task_manager: query.take("task_manager")?,
            queue: query.take("queue")?,
            state: query.take_with("state", |text| match text {
                "pending" => Ok(AllocationState::Pending),
                "active" => Ok(AllocationState::Active),
                _ => Err("it is pending or active".to_owned()),
            })?,
        })
    }

    /// The allocation `id` as an item of a page, if it passes.
    pub(super) fn show(&self, state: &domain::State, id: AllocationId) -> Option<(Allocation, usize)> {
        let allocation = state.allocations().get(&id)?;
        let queue = || state.jobs().get(&allocation.job).map(|job| &job.queue);
        let passes = self.task_manager.as_ref().is_none_or(|wanted| *wanted == allocation.task_manager)
            && self.state.is_none_or(|wanted| wanted == answers::allocation_state(allocation.phase))
            && self.queue.as_ref().is_none_or(|wanted| Some(wanted) == queue());
        if !passes {
            return None;
        }
        state.grant(id).map(|grant| (answers::allocation(&grant), 0))
    }
}

/// Lists living allocations.
#[utoipa::path(get, path = "/v1/allocations", tag = "Allocations", params(
        ("task_manager" = Option<String>, Query, description = "Only on this TaskManager"),
        ("queue" = Option<String>, Query, description = "Only in this queue"),
        ("state" = Option<AllocationState>, Query, description = "Only in this state"),
        ("limit" = Option<u32>, Query, description = "Items of a page, 1 to 1000, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, body = Page<Allocation>)))]
pub(super) async fn list_allocations(
    State(app): State<App>,
    mut query: QueryParameters,
) -> Result<Answer<Page<Allocation>>, Refusal> {
    let page = PageOf::<AllocationKey>::take(&mut query)?;
    let filter = Filter::take(&mut query)?;
    query.finish()?;
    let state = app.state();
    let range = page.after_allocation();
    let body = match &filter.task_manager {
        Some(id) => {
            // The TaskManager knows its allocations, so that nothing else is looked at.
            let held = state.task_managers().get(id).map(|task_manager| &task_manager.slots);
            let held: BTreeSet<_> = held.into_iter().flat_map(|slots| slots.values().copied()).collect();
            page.fill(held.range(range).map(|id| (*id, ())), |id, ()| filter.show(&state, *id))
        }
        None => page.fill(state.allocations().range(range), |id, _| filter.show(&state, **id)),
    };
    Ok(Answer::read(state.revision(), body))
}

/// One allocation, alive or ended, as long as it is remembered.
#[utoipa::path(get, path = "/v1/allocations/{id}", tag = "Allocations",
    params(("id" = uuid::Uuid, Path, description = "The allocation")),
    responses((status = 200, body = AllocationDetails)))]
pub(super) async fn get_allocation(
    State(app): State<App>,
    path: PathParameters,
    query: QueryParameters,
) -> Result<Answer<AllocationDetails>, Refusal> {
    query.finish()?;
    let id = allocation_id(&path, "id")?;
    let state = app.state();
    let living = state.grant(id).map(|grant| AllocationDetails::Living(answers::allocation(&grant)));
    let ended =
        || state.ended_allocation(id).map(|ended| AllocationDetails::Ended(answers::ended_allocation(ended)));
    let body = living.or_else(ended).ok_or_else(|| Refusal::from(&Rejection::UnknownAllocation(id)))?;
    Ok(Answer::read(state.revision(), body))
}
