//! `slotkeeper jobs`: putting, looking at and ending jobs.

mod delete;
mod get;
mod heartbeat;
mod list;
mod put;

use super::amounts::held;
use super::context::Context;
use super::failure::Failure;
use super::table::Details;
use crate::api::jobs::{Job, JobEndReason, JobState};
use crate::api::units::DurationText;

/// Puts, shows and ends jobs
#[derive(Debug, clap::Subcommand)]
pub(super) enum Jobs {
    List(list::List),
    Get(get::Get),
    Put(put::Put),
    Delete(delete::Delete),
    Heartbeat(heartbeat::Heartbeat),
}

pub(super) async fn run(verb: &Jobs, context: &Context) -> Result<(), Failure> {
    match verb {
        Jobs::List(list) => list::run(list, context).await,
        Jobs::Get(get) => get::run(get, context).await,
        Jobs::Put(put) => put::run(put, context).await,
        Jobs::Delete(delete) => delete::run(delete, context).await,
        Jobs::Heartbeat(heartbeat) => heartbeat::run(heartbeat, context).await,
    }
}

fn state_text(job: &Job) -> &'static str {
    match (job.state, job.end_reason) {
        (JobState::Running, _) => "running",
        (JobState::Finished, None) => "finished",
        (JobState::Finished, Some(JobEndReason::Deleted)) => "finished (deleted)",
        (JobState::Finished, Some(JobEndReason::LeaseExpired)) => "finished (lease expired)",
    }
}

fn details(job: &Job) -> Details {
    Details::default()
        .with("job", &job.job_id)
        .with("state", state_text(job))
        .with_some("finished at", job.finished_at)
        .with("queue", &job.queue)
        .with("priority", job.priority)
        .with("slots", format!("{} ({} pending)", job.slots_allocated, job.slots_pending))
        .with("holds", held(&job.used))
        .with("requirements", format!("version {}", job.requirements_version))
        .with_some("job master", job.job_master_id.as_ref())
        .with_some("lease", job.lease_ms.map(|ms| DurationText { ms }))
        .with("epoch", job.epoch)
        .with("created at", job.created_at)
}
