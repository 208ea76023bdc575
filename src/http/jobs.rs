//! `/v1/jobs`: putting, looking, heartbeats of job leaders, ending.

use axum::extract::State;

use super::answer::Answer;
use super::extract::{JsonBody, Key, PathParameters, QueryParameters};
use super::pages::PageOf;
use super::refusal::Refusal;
use super::{App, answers};
use crate::api::Page;
use crate::api::jobs::{DEFAULT_QUEUE, Job, JobDeleted, JobHeartbeat, JobHeartbeatAnswer, JobState, PutJob};
use crate::domain::{Command, JobId, QueueName, Rejection, Reply};
use crate::leader::Intent;

/// The shortest lease of a job: below it the network alone would end jobs.
const LEASE_MS_MIN: u64 = 100;

/// Puts a job: creates it (201), or changes queue, priority, job leader and lease of a running one (200).
#[utoipa::path(put, path = "/v1/jobs/{job_id}", tag = "Jobs", request_body = PutJob,
    params(("job_id" = String, Path, description = "The job")),
    responses((status = 201, body = Job), (status = 200, body = Job)))]
pub(super) async fn put_job(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
    JsonBody(request): JsonBody<PutJob>,
) -> Result<Answer<Job>, Refusal> {
    let id: JobId = path.get("job_id")?;
    let lease_ms = request.lease.map(|lease| lease.ms);
    if lease_ms.is_some_and(|lease_ms| lease_ms < LEASE_MS_MIN) {
        return Err(Refusal::invalid("lease", format!("at least {LEASE_MS_MIN}ms")));
    }
    let default_queue = || QueueName::new(DEFAULT_QUEUE).expect("the default queue has a valid name");
    let command = Command::PutJob {
        id: id.clone(),
        queue: request.queue.unwrap_or_else(default_queue),
        priority: request.priority,
        job_master_id: request.job_master_id,
        lease_ms,
    };
    let written = app.submit(key, Intent::Command(command)).await?;
    let Reply::JobPut { created, job } = written.reply else {
        return Err(super::app::unexpected(&written.reply));
    };
    let body = answers::job(&id, &job);
    Ok(Answer::written(written.revision, written.replayed, body).created(created))
}

/// Lists jobs, finished ones included as long as they are remembered.
#[utoipa::path(get, path = "/v1/jobs", tag = "Jobs", params(
        ("queue" = Option<String>, Query, description = "Only in this queue"),
        ("state" = Option<JobState>, Query, description = "Only in this state"),
        ("limit" = Option<u32>, Query, description = "Items of a page, 1 to 1000, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status = 200, body = Page<Job>)))]
pub(super) async fn list_jobs(
    State(app): State<App>,
    mut query: QueryParameters,
) -> Result<Answer<Page<Job>>, Refusal> {
    let page = PageOf::<JobId>::take(&mut query)?;
    let queue = query.take::<QueueName>("queue")?;
    let wanted = query.take_with("state", |text| match text {
        "running" => Ok(JobState::Running),
        "finished" => Ok(JobState::Finished),
        _ => Err("it is running or finished".to_owned()),
    })?;
    query.finish()?;
    let state = app.state();
    let body = page.fill(state.jobs().range(page.range()), |id, job| {
        let in_queue = queue.as_ref().is_none_or(|queue| job.queue == *queue);
        let in_state = wanted.is_none_or(|wanted| answers::job_state(job.phase) == wanted);
        (in_queue && in_state).then(|| (answers::job(id, &job.summary()), 0))
    });
    Ok(Answer::read(state.revision(), body))
}

/// One job.
#[utoipa::path(get, path = "/v1/jobs/{job_id}", tag = "Jobs",
    params(("job_id" = String, Path, description = "The job")), responses((status = 200, body = Job)))]
pub(super) async fn get_job(
    State(app): State<App>,
    path: PathParameters,
    query: QueryParameters,
) -> Result<Answer<Job>, Refusal> {
    query.finish()?;
    let id: JobId = path.get("job_id")?;
    let state = app.state();
    let job = state.jobs().get(&id).ok_or_else(|| Refusal::from(&Rejection::UnknownJob(id.clone())))?;
    Ok(Answer::read(state.revision(), answers::job(&id, &job.summary())))
}

/// Ends a job: everything that it held is released.
#[utoipa::path(delete, path = "/v1/jobs/{job_id}", tag = "Jobs",
    params(("job_id" = String, Path, description = "The job")), responses((status = 200, body = JobDeleted)))]
pub(super) async fn delete_job(
    State(app): State<App>,
    path: PathParameters,
    Key(key): Key,
) -> Result<Answer<JobDeleted>, Refusal> {
    let id: JobId = path.get("job_id")?;
    let written = app.submit(key, Intent::Command(Command::DeleteJob { id: id.clone() })).await?;
    let body = JobDeleted { job_id: id, revision: written.revision };
    Ok(Answer::written(written.revision, written.replayed, body))
}

/// A job leader is alive. A job with a lease and no heartbeat ends after it.
#[utoipa::path(post, path = "/v1/jobs/{job_id}/heartbeat", tag = "Jobs", request_body = JobHeartbeat,
    params(("job_id" = String, Path, description = "The job")),
    responses((status = 200, body = JobHeartbeatAnswer)))]
pub(super) async fn heartbeat_job(
    State(app): State<App>,
    path: PathParameters,
    JsonBody(request): JsonBody<JobHeartbeat>,
) -> Result<Answer<JobHeartbeatAnswer>, Refusal> {
    let job_id: JobId = path.get("job_id")?;
    app.services.leader.job_heartbeat(&job_id, Some(&request.job_master_id)).await?;
    let state = app.state();
    let lease_ms = state.jobs().get(&job_id).and_then(|job| job.lease_ms);
    Ok(Answer::read(state.revision(), JobHeartbeatAnswer { job_id, lease_ms }))
}
