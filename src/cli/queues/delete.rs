//! `slotkeeper queues delete`.

use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Deletes a queue that has no jobs
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Delete {
    /// Which
    #[arg(value_name = "QUEUE")]
    name: String,
}

pub(super) async fn run(delete: &Delete, context: &Context) -> Result<(), Failure> {
    context.confirm(&format!("Delete queue `{}`?", delete.name))?;
    let deleted = context.client.delete_queue(&delete.name).await?;
    let sentence = format!("queue `{}` is deleted (revision {})", deleted.name, deleted.revision);
    context.printer.done(&deleted, &sentence);
    Ok(())
}
