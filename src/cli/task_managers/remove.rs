//! `slotkeeper task-managers remove`.

use super::changed;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Deregisters a TaskManager; what it holds is released
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Remove {
    /// Which
    #[arg(value_name = "TASK_MANAGER")]
    id: String,
    /// Only this registration of it; refused if another one has taken its place
    #[arg(long, value_name = "EPOCH")]
    epoch: Option<u64>,
}

pub(super) async fn run(remove: &Remove, context: &Context) -> Result<(), Failure> {
    context.confirm(&format!("Remove TaskManager `{}` and release all that it holds?", remove.id))?;
    let answer = match remove.epoch {
        Some(epoch) => context.client.leave_task_manager(&remove.id, epoch).await?,
        None => context.client.remove_task_manager(&remove.id).await?,
    };
    changed(context, &answer, "is removed");
    Ok(())
}
