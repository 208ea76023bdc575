//! `slotkeeper task-managers cordon`.

use super::changed;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Gives a TaskManager no new slots; what it has stays
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Cordon {
    /// Which
    #[arg(value_name = "TASK_MANAGER")]
    id: String,
}

pub(super) async fn run(cordon: &Cordon, context: &Context) -> Result<(), Failure> {
    let answer = context.client.cordon_task_manager(&cordon.id).await?;
    changed(context, &answer, "takes no new slots");
    Ok(())
}
