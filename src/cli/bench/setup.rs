//! What a run needs around the load: an embedded cluster, jobs, slots that are taken before, and the end of it all.
//!
//! Promises: what is removed is what begins with the id of the run, and nothing else. Must not: measure.

use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::options::{BenchOptions, Workload};
use super::workload::{job_id, jobs};
use crate::api::ProblemCode;
use crate::api::allocations::AllocationRequest;
use crate::api::jobs::PutJob;
use crate::cli::context::client_of;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::client::{Client, ClientError};
use crate::server::dev::{Dev, DevOptions};
use crate::server::options::LogFormatOption;
use crate::telemetry::log::{self, LogFormat};

/// Requests at once while setting up and removing.
const AT_ONCE: usize = 32;
/// Slots of one request that fills.
const FILL_CHUNK: u32 = 1_000;

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
pub(super) async fn fill(run: &str, client: &Client, options: &BenchOptions) -> Result<(), Failure> {
    let (job, chunks) = (fill_job(run), options.fill.div_ceil(FILL_CHUNK));
    stream::iter(0..chunks)
        .map(|chunk| {
            let slots = FILL_CHUNK.min(options.fill - chunk * FILL_CHUNK);
            let (job, request) = (&job, AllocationRequest { slots, ..AllocationRequest::default() });
            async move { client.allocate(job, &request).await.map(drop) }
        })
        .buffer_unordered(4)
        .try_collect::<()>()
        .await
        .map_err(Failure::from)
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
