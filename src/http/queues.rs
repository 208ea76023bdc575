//! `/v1/queues`: who pays, and the hard ceiling.

use axum::extract::State;

use super::answer::Answer;
use super::extract::{JsonBody, Key, PathParameters, QueryParameters};
use super::pages::PageOf;
use super::refusal::Refusal;
use super::{App, answers, requests};
use crate::api::Page;
use crate::api::queues::{PutQueue, Queue, QueueDeleted, QueueState};
use crate::domain::{self, Command, QueueName, QueuePhase, Rejection, Reply};
use crate::leader::Intent;

/// Lists queues.
#[utoipa::path(get, path = "/v1/queues", tag = "Queues", params(
        ("limit" = Option<u32>, Query, description = "Items of a page, 1 to 1000, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, body = Page<Queue>)))]
pub(super) async fn list_queues(
    State(app): State<App>,
    mut query: QueryParameters,
) -> Result<Answer<Page<Queue>>, Refusal> {
    let page = PageOf::<QueueName>::take(&mut query)?;
    query.finish()?;
    let state = app.state();
    let body = page.fill(state.queues().range::<QueueName, _>(page.range()), |name, queue| {
        Some((answers::queue(name, queue, pending(&state, name)), 0))
    });
    Ok(Answer::read(state.revision(), body))
}

/// One queue.
#[utoipa::path(get, path = "/v1/queues/{name}", tag = "Queues",
    params(("name" = String, Path, description = "The queue")), responses((status = 200, body = Queue)))]
pub(super) async fn get_queue(
    State(app): State<App>,
    path: PathParameters,
    query: QueryParameters,
) -> Result<Answer<Queue>, Refusal> {
    query.finish()?;
    let name: QueueName = path.get("name")?;
    let state = app.state();
    let queue =
        state.queues().get(&name).ok_or_else(|| Refusal::from(&Rejection::UnknownQueue(name.clone())))?;
    Ok(Answer::read(state.revision(), answers::queue(&name, queue, pending(&state, &name))))
}

/// Puts a queue: creates it (201), or replaces its configuration as a whole (200).
#[utoipa::path(put, path = "/v1/queues/{name}", tag = "Queues", request_body = PutQueue,
    params(("name" = String, Path, description = "The queue")),
    responses((status = 201, body = Queue), (status = 200, body = Queue)))]
pub(super) async fn put_queue(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
    JsonBody(request): JsonBody<PutQueue>,
) -> Result<Answer<Queue>, Refusal> {
    let name: QueueName = path.get("name")?;
    let maximum = requests::ceiling("maximum", &request.maximum.unwrap_or_default())?;
    let phase = match request.state {
        QueueState::Running => QueuePhase::Running,
        QueueState::Stopped => QueuePhase::Stopped,
    };
    let command = Command::PutQueue { name: name.clone(), maximum, phase };
    let written = app.submit(key, Intent::Command(command)).await?;
    let Reply::QueuePut { created, queue } = written.reply else {
        return Err(super::app::unexpected(&written.reply));
    };
    let body = answers::queue(&name, &queue, pending(&app.state(), &name));
    Ok(Answer::written(written.revision, written.replayed, body).created(created))
}

/// Deletes a queue without jobs. The default queue stays.
#[utoipa::path(delete, path = "/v1/queues/{name}", tag = "Queues",
    params(("name" = String, Path, description = "The queue")), responses((status = 200, body = QueueDeleted)))]
pub(super) async fn delete_queue(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
) -> Result<Answer<QueueDeleted>, Refusal> {
    let name: QueueName = path.get("name")?;
    let written = app.submit(key, Intent::Command(Command::DeleteQueue { name: name.clone() })).await?;
    let body = QueueDeleted { name, revision: written.revision };
    Ok(Answer::written(written.revision, written.replayed, body))
}

/// Slots that the requirements of the queue's jobs lack.
fn pending(state: &domain::State, name: &QueueName) -> u64 {
    let lines = state.indexes().pending().iter();
    let missing = lines.filter_map(|line| {
        let job = state.jobs().get(&line.job).filter(|job| job.queue == *name)?;
        job.requirements.get(&line.requirement).map(|line| u64::from(line.pending()))
    });
    missing.sum()
}
