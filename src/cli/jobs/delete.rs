//! `slotkeeper jobs delete`.

use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Ends a job; everything it holds is released
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Delete {
    /// Which
    #[arg(value_name = "JOB")]
    id: String,
}

pub(super) async fn run(delete: &Delete, context: &Context) -> Result<(), Failure> {
    context.confirm(&format!("End job `{}` and release all that it holds?", delete.id))?;
    let deleted = context.client.delete_job(&delete.id).await?;
    let sentence = format!("job `{}` is ended (revision {})", deleted.job_id, deleted.revision);
    context.printer.done(&deleted, &sentence);
    Ok(())
}
