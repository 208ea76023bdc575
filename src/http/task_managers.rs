//! `/v1/task-managers`: registering, looking, cordon and drain.

use axum::extract::State;

use super::answer::Answer;
use super::extract::{JsonBody, Key, Nothing, PathParameters, QueryParameters};
use super::pages::PageOf;
use super::refusal::Refusal;
use super::{App, answers, requests, slot_counts};
use crate::api::Page;
use crate::api::resources::Profile;
use crate::api::task_managers::{
    Drain, RegisterTaskManager, TaskManager, TaskManagerChanged, TaskManagerRegistered, TaskManagerState,
};
use crate::domain::{self, Command, Condition, Epoch, Generation, Name, Rejection, Reply, TaskManagerId};
use crate::leader::Intent;

/// Registers a TaskManager.
///
/// 201 for a new registration, 200 for the same session again. The same id with another session is a restart: what it
/// held is released and the epoch grows.
#[utoipa::path(post, path = "/v1/task-managers", tag = "TaskManagers", request_body = RegisterTaskManager,
    responses((status = 201, body = TaskManagerRegistered), (status = 200, body = TaskManagerRegistered)))]
pub(super) async fn register_task_manager(
    State(app): State<App>,
    Key(key): Key,
    JsonBody(request): JsonBody<RegisterTaskManager>,
) -> Result<Answer<TaskManagerRegistered>, Refusal> {
    let task_manager_id = request.task_manager_id.clone();
    let command = requests::registration(request)?;
    let written = app.submit(key, Intent::Command(command)).await?;
    let Reply::TaskManagerRegistered { created, epoch, generation, allocations } = written.reply else {
        return Err(super::app::unexpected(&written.reply));
    };
    let (heartbeat_interval_ms, heartbeat_timeout_ms) = {
        let state = app.state();
        (state.settings().heartbeat_interval_ms, state.settings().heartbeat_timeout_ms)
    };
    let body = TaskManagerRegistered {
        task_manager_id,
        epoch,
        heartbeat_interval_ms,
        heartbeat_timeout_ms,
        generation: before(generation),
        allocations: answers::allocations(&allocations),
    };
    Ok(Answer::written(written.revision, written.replayed, body).created(created))
}

/// The version before. The list of a registration is made in the middle of a round, and what is granted later in the same
/// round has the same version, so the one before is named: the first heartbeat or look brings the whole list.
fn before(generation: Generation) -> Generation {
    Generation(generation.0.saturating_sub(1))
}

/// Lists TaskManagers, lost ones included as long as they are remembered.
#[utoipa::path(get, path = "/v1/task-managers", tag = "TaskManagers", params(
        ("state" = Option<TaskManagerState>, Query, description = "Only in this state"),
        ("label" = Option<String>, Query, description = "Only with this label: `key=value`, or `key` for any value; may come several times, all must hold"),
        ("limit" = Option<u32>, Query, description = "Items of a page, 1 to 1000, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, body = Page<TaskManager>)))]
pub(super) async fn list_task_managers(
    State(app): State<App>,
    mut query: QueryParameters,
) -> Result<Answer<Page<TaskManager>>, Refusal> {
    let page = PageOf::<TaskManagerId>::take(&mut query)?;
    let wanted = query.take_with("state", state_named)?;
    let labels =
        query.take_all("label").iter().map(|text| label_filter(text)).collect::<Result<Vec<_>, _>>()?;
    query.finish()?;
    let state = app.state();
    let body = page.fill(state.task_managers().range(page.range()), |id, task_manager| {
        let in_state =
            wanted.is_none_or(|wanted| answers::task_manager_state(task_manager.condition) == wanted);
        let has_label = |(key, value): &(Name, Option<String>)| {
            let present = task_manager.labels.get(key);
            present.is_some_and(|present| value.as_ref().is_none_or(|value| value == present))
        };
        let is_listed = in_state && labels.iter().all(has_label);
        is_listed.then(|| (shown(&app, &state, id, task_manager), task_manager.slots.len()))
    });
    Ok(Answer::read(state.revision(), body))
}

fn state_named(text: &str) -> Result<TaskManagerState, String> {
    let named = TaskManagerState::ALL.into_iter().find(|state| state.as_str() == text);
    named.ok_or_else(|| "it is active, cordoned, draining, drained or lost".to_owned())
}

fn label_filter(text: &str) -> Result<(Name, Option<String>), Refusal> {
    let (key, value) =
        text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value.to_owned())));
    let key = Name::new(key).map_err(|error| Refusal::invalid("label", error.to_string()))?;
    Ok((key, value))
}

/// One TaskManager.
#[utoipa::path(get, path = "/v1/task-managers/{id}", tag = "TaskManagers",
    params(("id" = String, Path, description = "The TaskManager")), responses((status = 200, body = TaskManager)))]
pub(super) async fn get_task_manager(
    State(app): State<App>,
    path: PathParameters,
    query: QueryParameters,
) -> Result<Answer<TaskManager>, Refusal> {
    query.finish()?;
    let id: TaskManagerId = path.get("id")?;
    let state = app.state();
    let known = state.task_managers().get(&id);
    let task_manager = known.ok_or_else(|| Refusal::from(&Rejection::UnknownTaskManager(id.clone())))?;
    Ok(Answer::read(state.revision(), shown(&app, &state, &id, task_manager)))
}

/// A TaskManager as answers show it.
fn shown(
    app: &App,
    state: &domain::State,
    id: &TaskManagerId,
    task_manager: &domain::TaskManager,
) -> TaskManager {
    let (drain_deadline, lost_since) = match task_manager.condition {
        Condition::Draining { deadline } => (deadline.map(answers::timestamp), None),
        Condition::Lost { since } => (None, Some(answers::timestamp(since))),
        _ => (None, None),
    };
    let counts = slot_counts::count(task_manager);
    TaskManager {
        task_manager_id: id.clone(),
        session_id: task_manager.session.clone(),
        epoch: task_manager.epoch,
        generation: task_manager.generation,
        address: task_manager.address.to_string(),
        state: answers::task_manager_state(task_manager.condition),
        drain_deadline,
        lost_since,
        slots_total: counts.total,
        slots_free: counts.free,
        total_profile: Profile::from(&task_manager.offer.total().unwrap_or_default()),
        free_profile: Profile::from(&task_manager.free),
        slot_profile: Profile::from(task_manager.offer.slot_profile()),
        labels: task_manager.labels.clone(),
        allocations: answers::allocations(&state.assigned(id)),
        last_heartbeat_ago_ms: app.services.leader.last_heartbeat_ago_ms(id),
        registered_at: answers::timestamp(task_manager.registered_at),
    }
}

/// Deregisters a TaskManager. What it held is released with reason `task_manager_left`.
///
/// A TaskManager that leaves names its `epoch`, so that it never deregisters a successor of the same id: another one than
/// the current is 409 `stale_epoch`. Without it, as an operator does, whatever is registered goes.
#[utoipa::path(delete, path = "/v1/task-managers/{id}", tag = "TaskManagers",
    params(("id" = String, Path, description = "The TaskManager"),
        ("epoch" = Option<u64>, Query, description = "Only this registration")),
    responses((status = 200, body = TaskManagerChanged)))]
pub(super) async fn delete_task_manager(
    State(app): State<App>,
    path: PathParameters,
    mut query: QueryParameters,
    Key(key): Key,
) -> Result<Answer<TaskManagerChanged>, Refusal> {
    let id: TaskManagerId = path.get("id")?;
    let epoch = query.take::<u64>("epoch")?.map(Epoch);
    query.finish()?;
    let command = match epoch {
        Some(epoch) => Command::LeaveTaskManager { id: id.clone(), epoch },
        None => Command::DeregisterTaskManager { id: id.clone() },
    };
    change(&app, key, id, command).await
}

/// No new slots on a TaskManager; what it has stays.
#[utoipa::path(post, path = "/v1/task-managers/{id}/cordon", tag = "TaskManagers",
    params(("id" = String, Path, description = "The TaskManager")),
    responses((status = 200, body = TaskManagerChanged)))]
pub(super) async fn cordon_task_manager(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<Answer<TaskManagerChanged>, Refusal> {
    let id: TaskManagerId = path.get("id")?;
    change(&app, key, id.clone(), Command::Cordon { id }).await
}

/// New slots on a TaskManager again. Also ends a drain.
#[utoipa::path(post, path = "/v1/task-managers/{id}/uncordon", tag = "TaskManagers",
    params(("id" = String, Path, description = "The TaskManager")),
    responses((status = 200, body = TaskManagerChanged)))]
pub(super) async fn uncordon_task_manager(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
    JsonBody(Nothing {}): JsonBody<Nothing>,
) -> Result<Answer<TaskManagerChanged>, Refusal> {
    let id: TaskManagerId = path.get("id")?;
    change(&app, key, id.clone(), Command::Uncordon { id }).await
}

/// No new slots on a TaskManager, and an end to the old ones: at the deadline at the latest.
#[utoipa::path(post, path = "/v1/task-managers/{id}/drain", tag = "TaskManagers", request_body = Drain,
    params(("id" = String, Path, description = "The TaskManager")),
    responses((status = 200, body = TaskManagerChanged)))]
pub(super) async fn drain_task_manager(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
    JsonBody(request): JsonBody<Drain>,
) -> Result<Answer<TaskManagerChanged>, Refusal> {
    let id: TaskManagerId = path.get("id")?;
    let deadline_ms = request.deadline.map(|deadline| deadline.ms);
    change(&app, key, id.clone(), Command::Drain { id, deadline_ms }).await
}

async fn change(
    app: &App,
    key: Option<domain::RequestKey>,
    task_manager_id: TaskManagerId,
    command: Command,
) -> Result<Answer<TaskManagerChanged>, Refusal> {
    let written = app.submit(key, Intent::Command(command)).await?;
    let body = TaskManagerChanged { task_manager_id, revision: written.revision };
    Ok(Answer::written(written.revision, written.replayed, body))
}
