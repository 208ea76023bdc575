//! What a TaskManager says and asks while it lives: heartbeats, its allocations, confirmations.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;

use super::answer::Answer;
use super::extract::{JsonBody, Key, PathParameters, QueryParameters};
use super::refusal::Refusal;
use super::{App, answers, requests};
use crate::api::task_managers::{
    AssignedAllocations, Confirm, Confirmed, FailedAllocation, FailureCause, Heartbeat, HeartbeatAnswer,
    LONG_POLL_WAIT_MS_MAX,
};
use crate::api::units::DurationText;
use crate::domain::{
    self, Command, FailedWork, Generation, Rejection, Reply, Revision, TaskManagerId, limits,
};
use crate::leader::{self, Intent};

/// A TaskManager is alive.
///
/// Answered only by a leader that has proved its leadership after the heartbeat arrived. 404 `unknown_task_manager` or
/// 409 `stale_epoch`: register again. A TaskManager that says what it holds is told the whole list if it holds more, and
/// what it had confirmed and leaves out of two heartbeats in a row is released with reason `not_held`; what served a declared
/// requirement is placed elsewhere.
#[utoipa::path(post, path = "/v1/task-managers/{id}/heartbeat", tag = "TaskManagers", request_body = Heartbeat,
    params(("id" = String, Path, description = "The TaskManager")),
    responses((status = 200, body = HeartbeatAnswer)))]
pub(super) async fn heartbeat_task_manager(
    State(app): State<App>,
    path: PathParameters,
    JsonBody(request): JsonBody<Heartbeat>,
) -> Result<Answer<HeartbeatAnswer>, Refusal> {
    let id: TaskManagerId = path.get("id")?;
    let held = request.held.as_ref().map_or(0, Vec::len);
    requests::check_count("held", held, limits::ALLOCATIONS_PER_REQUEST_MAX)?;
    let heartbeat = leader::Heartbeat {
        id,
        epoch: request.epoch,
        generation: request.generation,
        held: request.held.map(|held| held.into_iter().collect()),
    };
    let answer = app.services.leader.heartbeat(heartbeat).await?;
    let body = HeartbeatAnswer {
        generation: answer.generation,
        deadline_ms: answer.deadline_ms,
        allocations: answer.allocations.as_deref().map(answers::allocations),
    };
    Ok(Answer::read(answer.revision, body))
}

/// What a TaskManager should hold.
///
/// With `generation` and `wait` a long poll: it answers when the generation differs, or when the wait is over.
#[utoipa::path(get, path = "/v1/task-managers/{id}/allocations", tag = "TaskManagers", params(
        ("id" = String, Path, description = "The TaskManager"),
        ("generation" = Option<u64>, Query, description = "The version that the TaskManager has seen"),
        ("wait" = Option<String>, Query, description = "How long to wait for another version, at most `60s`; default `0s`")),
    responses((status = 200, body = AssignedAllocations)))]
pub(super) async fn get_assigned_allocations(
    State(app): State<App>,
    path: PathParameters,
    mut query: QueryParameters,
) -> Result<Answer<AssignedAllocations>, Refusal> {
    let id: TaskManagerId = path.get("id")?;
    let seen = query.take::<u64>("generation")?.map(Generation);
    let wait = query.take_with("wait", DurationText::parse)?.unwrap_or_default();
    query.finish()?;
    if wait.ms > LONG_POLL_WAIT_MS_MAX {
        return Err(Refusal::invalid("wait", "at most 60s"));
    }
    if let Some(seen) = seen {
        tokio::select! {
            () = generation_other_than(&app, &id, seen) => {}
            () = app.stopping.cancelled() => {}
            () = tokio::time::sleep(Duration::from_millis(wait.ms)) => {}
        }
    }
    assigned(&app, &id)
}

/// Waits until the TaskManager has another generation than `seen`, or is gone.
async fn generation_other_than(app: &App, id: &TaskManagerId, seen: Generation) {
    let poll = app.long_polls.register(id);
    loop {
        let touched = poll.touched();
        tokio::pin!(touched);
        touched.as_mut().enable();
        let generation = app.state().task_managers().get(id).map(|task_manager| task_manager.generation);
        if generation != Some(seen) {
            return;
        }
        touched.await;
    }
}

fn assigned(app: &App, id: &TaskManagerId) -> Result<Answer<AssignedAllocations>, Refusal> {
    let state = app.state();
    let known = state.task_managers().get(id);
    let task_manager = known.ok_or_else(|| Refusal::from(&Rejection::UnknownTaskManager(id.clone())))?;
    let body = AssignedAllocations {
        epoch: task_manager.epoch,
        generation: task_manager.generation,
        allocations: answers::allocations(&state.assigned(id)),
    };
    Ok(Answer::read(state.revision(), body))
}

/// A TaskManager says what it has started and what it does not run.
///
/// A failed one is released with reason `start_failed`. What served a declared requirement is placed elsewhere; what a job
/// had asked for by itself is the job's to ask for again, and does not come back to this TaskManager for a while.
#[utoipa::path(post, path = "/v1/task-managers/{id}/confirm", tag = "TaskManagers", request_body = Confirm,
    params(("id" = String, Path, description = "The TaskManager")), responses((status = 200, body = Confirmed)))]
pub(super) async fn confirm_allocations(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
    JsonBody(request): JsonBody<Confirm>,
) -> Result<Answer<Confirmed>, Refusal> {
    let id: TaskManagerId = path.get("id")?;
    let named = request.allocation_ids.len() + request.failed.len();
    requests::check_count("allocation_ids", named, limits::ALLOCATIONS_PER_REQUEST_MAX)?;
    let command = Command::Report {
        id,
        epoch: request.epoch,
        started: request.allocation_ids,
        failed: request.failed.into_iter().map(failed_work).collect(),
    };
    let written = app.submit(key, Intent::Command(command)).await?;
    let Reply::Confirmed { active, failed, unknown } = written.reply else {
        return Err(super::app::unexpected(&written.reply));
    };
    let revision: Revision = written.revision;
    Ok(Answer::written(revision, written.replayed, Confirmed { active, failed, unknown, revision }))
}

fn failed_work(failed: FailedAllocation) -> FailedWork {
    let cause = match failed.cause {
        FailureCause::StartFailed => domain::FailureCause::StartFailed,
        FailureCause::LeaseExpired => domain::FailureCause::LeaseExpired,
        FailureCause::Leaving => domain::FailureCause::Leaving,
    };
    FailedWork { allocation: failed.allocation_id, cause, detail: Arc::from(failed.reason) }
}
