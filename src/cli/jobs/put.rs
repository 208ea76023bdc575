//! `slotkeeper jobs put`.

use super::details;
use crate::api::ids::{JobMasterId, QueueName};
use crate::api::jobs::PutJob;
use crate::api::units::DurationText;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Puts a job: creates it, or changes it
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Put {
    /// Which
    #[arg(value_name = "JOB")]
    id: String,
    /// Who pays [default: default]
    #[arg(long)]
    queue: Option<QueueName>,
    /// Higher goes first
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    priority: i32,
    /// The job master that may speak for the job
    #[arg(long, value_name = "ID")]
    job_master_id: Option<JobMasterId>,
    /// End the job after this long without a heartbeat; without it the job lives for ever
    #[arg(long, value_name = "DURATION", value_parser = DurationText::parse)]
    lease: Option<DurationText>,
}

pub(super) async fn run(put: &Put, context: &Context) -> Result<(), Failure> {
    let request = PutJob {
        queue: put.queue.clone(),
        priority: put.priority,
        job_master_id: put.job_master_id.clone(),
        lease: put.lease,
    };
    let job = context.client.put_job(&put.id, &request).await?;
    context.printer.data(&job, |job| details(job).render());
    Ok(())
}
