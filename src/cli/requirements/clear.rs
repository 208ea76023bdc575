//! `slotkeeper requirements clear`.

use super::show;
use crate::api::ids::{JobMasterId, RequirementVersion};
use crate::api::requirements::PutRequirements;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Declares that a job wants nothing; slots that serve its declaration are released
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Clear {
    /// Whose
    #[arg(value_name = "JOB")]
    job: String,
    /// Speak as this job master
    #[arg(long, value_name = "ID")]
    job_master_id: Option<JobMasterId>,
}

pub(super) async fn run(clear: &Clear, context: &Context) -> Result<(), Failure> {
    context.confirm(&format!("Clear the declaration of job `{}` and release its slots?", clear.job))?;
    let stands = context.client.requirements(&clear.job).await?;
    let request = PutRequirements {
        version: RequirementVersion(stands.version.0 + 1),
        requirements: Vec::new(),
        job_master_id: clear.job_master_id.clone(),
    };
    let declared = context.client.put_requirements(&clear.job, &request).await?;
    show(context, &declared);
    Ok(())
}
