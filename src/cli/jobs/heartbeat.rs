//! `slotkeeper jobs heartbeat`.

use crate::api::ids::JobMasterId;
use crate::api::jobs::JobHeartbeat;
use crate::api::units::DurationText;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Tells that the master of a job with a lease is alive
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Heartbeat {
    /// Which
    #[arg(value_name = "JOB")]
    id: String,
    /// The job master that speaks for the job
    #[arg(long, value_name = "ID")]
    job_master_id: JobMasterId,
}

pub(super) async fn run(heartbeat: &Heartbeat, context: &Context) -> Result<(), Failure> {
    let request = JobHeartbeat { job_master_id: heartbeat.job_master_id.clone() };
    let answer = context.client.job_heartbeat(&heartbeat.id, &request).await?;
    let lives =
        answer.lease_ms.map_or("for ever".to_owned(), |ms| format!("another {}", DurationText { ms }));
    context.printer.done(&answer, &format!("job `{}` lives {lives}", answer.job_id));
    Ok(())
}
