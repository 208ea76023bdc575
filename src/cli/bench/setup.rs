//! What a run needs around the load: an embedded cluster, jobs, slots that are taken before, and the end of it all.
//!
//! Promises: what is removed is what begins with the id of the run, and nothing else. Must not: measure.

use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::caller::Caller;
use super::leader::LeaderView;
use super::options::{BenchOptions, Workload};
use super::workload::{job_id, jobs};
use crate::api::ProblemCode;
use crate::api::allocations::AllocationRequest;
use crate::api::jobs::PutJob;
use crate::cli::context::client_of;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::client::{Client, ClientError, LaneRequest};
use crate::server::dev::{Dev, DevOptions};
use crate::server::options::LogFormatOption;
use crate::telemetry::log::{self, LogFormat};

/// Requests at once while setting up and removing.
const AT_ONCE: usize = 32;
/// Slots of one request that fills.
const FILL_CHUNK: u32 = 1_000;
/// Of those, at once.
const FILL_AT_ONCE: usize = 4;
/// How long one of them may take.
const FILL_LIMIT: Duration = Duration::from_secs(30);

/// Starts three replicas in this process on a temporary folder.
///
/// # Errors
/// If they do not serve.
pub(super) async fn embedded_cluster() -> Result<Dev, Failure> {
    let quiet = "error";
    log::init(LogFormat::Human, quiet).map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
    let options = DevOptions {
        data_dir: None,
        port: 0,
        task_managers: 0,
        slots: 1,
        log_format: LogFormatOption::Human,
        log: quiet.to_owned(),
    };
    Dev::start(&options).await.map_err(|error| {
        Failure::new(Exit::Unavailable, format!("the embedded cluster does not start: {error}"))
    })
}

/// A client of the embedded cluster.
///
/// # Errors
/// If it has addresses that are none.
pub(super) fn client_of_cluster(cluster: &Dev, deadline: Duration) -> Result<Client, Failure> {
    let servers = cluster.cluster().servers.iter().map(|server| server.api_addr.clone());
    client_of(servers.collect(), deadline)
}

/// The ids of all jobs of the run, the one that fills included.
fn all_jobs(run: &str, options: &BenchOptions) -> Vec<String> {
    let filling = (options.fill > 0).then(|| fill_job(run));
    let asking = match options.workload {
        Workload::Heartbeats => 0,
        Workload::Allocate | Workload::Requirements => jobs(options),
    };
    (0..asking).map(|number| job_id(run, number)).chain(filling).collect()
}

fn fill_job(run: &str) -> String {
    format!("bench-{run}-fill")
}

/// Puts the jobs of the run.
///
/// # Errors
/// Why one can not be put.
pub(super) async fn put_jobs(run: &str, client: &Client, options: &BenchOptions) -> Result<(), Failure> {
    stream::iter(all_jobs(run, options))
        .map(|job| async move { client.put_job(&job, &PutJob::default()).await.map(drop) })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
        .map_err(Failure::from)
}

/// Takes the slots that are to be taken before.
///
/// # Errors
/// Why they can not be had.
pub(super) async fn fill(
    run: &str,
    (client, leader): (&Client, &LeaderView),
    options: &BenchOptions,
) -> Result<(), Failure> {
    if options.without_keys {
        return fill_without_keys(run, leader, options).await;
    }
    let job = fill_job(run);
    stream::iter(0..fill_chunks(options))
        .map(|chunk| {
            let slots = fill_slots(chunk, options);
            let (job, request) = (&job, AllocationRequest { slots, ..AllocationRequest::default() });
            async move { client.allocate(job, &request).await.map(drop) }
        })
        .buffer_unordered(FILL_AT_ONCE)
        .try_collect::<()>()
        .await
        .map_err(Failure::from)
}

fn fill_chunks(options: &BenchOptions) -> u32 {
    options.fill.div_ceil(FILL_CHUNK)
}

/// How many slots one request of those that fill asks for.
fn fill_slots(chunk: u32, options: &BenchOptions) -> u32 {
    FILL_CHUNK.min(options.fill - chunk * FILL_CHUNK)
}

/// The same, and the cluster remembers no answer: the client of this crate always sends keys, so this does not use it.
async fn fill_without_keys(run: &str, leader: &LeaderView, options: &BenchOptions) -> Result<(), Failure> {
    let target = format!("/v1/jobs/{}/allocations", fill_job(run));
    stream::iter(0..FILL_AT_ONCE)
        .map(|lane| {
            let (target, mut caller) = (&target, Caller::new(leader.clone(), FILL_LIMIT));
            async move {
                for chunk in (0..fill_chunks(options)).skip(lane).step_by(FILL_AT_ONCE) {
                    let body = format!("{{\"slots\":{}}}", fill_slots(chunk, options));
                    let request = LaneRequest { method: "POST", target, key: None, body: body.as_bytes() };
                    caller.call(request).await.map(drop).map_err(|miss| {
                        Failure::new(Exit::Unavailable, format!("the slots can not be had ({})", miss.code))
                    })?;
                }
                Ok(())
            }
        })
        .buffer_unordered(FILL_AT_ONCE)
        .try_collect::<()>()
        .await
}

/// Removes the TaskManagers and the jobs of the run, as far as there are any.
///
/// # Errors
/// What could not be removed.
pub(super) async fn remove(run: &str, client: &Client, options: &BenchOptions) -> Result<(), Failure> {
    // First the TaskManagers: each ends the allocations on it, so that no single command ends all of them.
    let task_managers = (0..options.task_managers).map(|number| format!("bench-{run}-{number}"));
    stream::iter(task_managers)
        .map(|id| async move { gone(client.remove_task_manager(&id).await.map(drop)) })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    stream::iter(all_jobs(run, options))
        .map(|job| async move { gone(client.delete_job(&job).await.map(drop)) })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok(())
}

/// What is not there needs no removing.
fn gone(removed: Result<(), ClientError>) -> Result<(), ClientError> {
    match removed {
        Err(error)
            if matches!(error.code(), Some(ProblemCode::UnknownTaskManager | ProblemCode::UnknownJob)) =>
        {
            Ok(())
        }
        removed => removed,
    }
}
