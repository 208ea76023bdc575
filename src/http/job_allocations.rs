//! `/v1/jobs/{job_id}/allocations`: asking for slots, looking at them, giving them back.

use axum::extract::State;

use super::answer::Answer;
use super::extract::{JsonBody, Key, PathParameters, QueryParameters};
use super::pages::PageOf;
use super::refusal::{self, Refusal};
use super::{App, allocations, answers, requests};
use crate::api::Page;
use crate::api::allocations::{Allocation, AllocationRequest, AllocationsGranted, Release, Released};
use crate::domain::{AllocationId, Command, JobId, Rejection, Reply, RequestKey, limits};
use crate::leader::Intent;

/// Asks for slots.
///
/// All of them or none, unless `mode` is `best_effort`. With `wait`, the request waits for capacity; a change of the
/// leader ends the wait with a retryable 503. Not enough and the wait over: 409 `insufficient_resources` with reasons.
#[utoipa::path(post, path = "/v1/jobs/{job_id}/allocations", tag = "Allocations", request_body = AllocationRequest,
    params(("job_id" = String, Path, description = "The job")),
    responses((status = 200, body = AllocationsGranted)))]
pub(super) async fn allocate(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
    JsonBody(request): JsonBody<AllocationRequest>,
) -> Result<Answer<AllocationsGranted>, Refusal> {
    let job: JobId = path.get("job_id")?;
    app.check_strategy("strategy", request.strategy.as_ref())?;
    let request = requests::allocation(job, request)?;
    let waits = request.wait_ms > 0;
    let submitted = app.submit(key, Intent::Allocate(request)).await;
    // A wait that a change of the leader ended is not begun again behind the client's back.
    let written = submitted.map_err(|refusal| if waits { refusal.after_wait() } else { refusal })?;
    let Reply::Allocated { allocations, missing, reasons } = written.reply else {
        return Err(super::app::unexpected(&written.reply));
    };
    let body = AllocationsGranted {
        allocations: answers::allocations(&allocations),
        missing,
        reasons: refusal::reasons(&reasons),
        revision: written.revision,
    };
    Ok(Answer::written(written.revision, written.replayed, body))
}

/// Lists the living allocations of a job.
#[utoipa::path(get, path = "/v1/jobs/{job_id}/allocations", tag = "Allocations", params(
        ("job_id" = String, Path, description = "The job"),
        ("task_manager" = Option<String>, Query, description = "Only on this TaskManager"),
        ("queue" = Option<String>, Query, description = "Only in this queue"),
        ("state" = Option<crate::api::allocations::AllocationState>, Query, description = "Only in this state"),
        ("limit" = Option<u32>, Query, description = "Items of a page, 1 to 1000, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, body = Page<Allocation>)))]
pub(super) async fn list_job_allocations(
    State(app): State<App>,
    path: PathParameters,
    mut query: QueryParameters,
) -> Result<Answer<Page<Allocation>>, Refusal> {
    let id: JobId = path.get("job_id")?;
    let page = PageOf::<allocations::AllocationKey>::take(&mut query)?;
    let filter = allocations::Filter::take(&mut query)?;
    query.finish()?;
    let state = app.state();
    let job = state.jobs().get(&id).ok_or_else(|| Refusal::from(&Rejection::UnknownJob(id.clone())))?;
    let held = job.allocations.range(page.after_allocation()).map(|id| (*id, ()));
    let body = page.fill(held, |id, ()| filter.show(&state, *id));
    Ok(Answer::read(state.revision(), body))
}

/// Gives one slot back. Again: 200. Never existed: 404.
#[utoipa::path(delete, path = "/v1/jobs/{job_id}/allocations/{allocation_id}", tag = "Allocations", params(
        ("job_id" = String, Path, description = "The job"),
        ("allocation_id" = uuid::Uuid, Path, description = "The allocation")),
    responses((status = 200, body = Released)))]
pub(super) async fn release_allocation(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
) -> Result<Answer<Released>, Refusal> {
    let job: JobId = path.get("job_id")?;
    let id = allocations::allocation_id(&path, "allocation_id")?;
    let answer = release(&app, key, job, vec![id]).await?;
    if answer.body().unknown.contains(&id) {
        let revision = answer.body().revision;
        return Err(Refusal::by_state(&Rejection::UnknownAllocation(id), revision, false));
    }
    Ok(answer)
}

/// Gives slots back. What the job never held is named in the answer.
#[utoipa::path(post, path = "/v1/jobs/{job_id}/release", tag = "Allocations", request_body = Release,
    params(("job_id" = String, Path, description = "The job")), responses((status = 200, body = Released)))]
pub(super) async fn release_allocations(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
    JsonBody(request): JsonBody<Release>,
) -> Result<Answer<Released>, Refusal> {
    let job: JobId = path.get("job_id")?;
    requests::check_count(
        "allocation_ids",
        request.allocation_ids.len(),
        limits::ALLOCATIONS_PER_REQUEST_MAX,
    )?;
    release(&app, key, job, request.allocation_ids).await
}

async fn release(
    app: &App,
    key: Option<RequestKey>,
    job: JobId,
    allocations: Vec<AllocationId>,
) -> Result<Answer<Released>, Refusal> {
    let written = app.submit(key, Intent::Command(Command::Release { job, allocations })).await?;
    let Reply::Released { released, unknown } = written.reply else {
        return Err(super::app::unexpected(&written.reply));
    };
    let body = Released { released, unknown, revision: written.revision };
    Ok(Answer::written(written.revision, written.replayed, body))
}
