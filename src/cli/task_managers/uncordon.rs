//! `slotkeeper task-managers uncordon`.

use super::changed;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Gives a TaskManager new slots again; also ends a drain
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Uncordon {
    /// Which
    #[arg(value_name = "TASK_MANAGER")]
    id: String,
}

pub(super) async fn run(uncordon: &Uncordon, context: &Context) -> Result<(), Failure> {
    let answer = context.client.uncordon_task_manager(&uncordon.id).await?;
    changed(context, &answer, "takes new slots again");
    Ok(())
}
