//! `slotkeeper task-managers drain`.

use super::changed;
use crate::api::task_managers::Drain as DrainRequest;
use crate::api::units::DurationText;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Gives a TaskManager no new slots and waits for the old ones to end
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Drain {
    /// Which
    #[arg(value_name = "TASK_MANAGER")]
    id: String,
    /// Release the rest after this long; without it the drain waits for ever
    #[arg(long, value_name = "DURATION", value_parser = DurationText::parse)]
    deadline: Option<DurationText>,
}

pub(super) async fn run(drain: &Drain, context: &Context) -> Result<(), Failure> {
    let request = DrainRequest { deadline: drain.deadline };
    let answer = context.client.drain_task_manager(&drain.id, &request).await?;
    changed(context, &answer, "drains");
    Ok(())
}
