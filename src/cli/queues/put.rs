//! `slotkeeper queues put`.

use super::get::details;
use crate::api::queues::{PutQueue, QueueState};
use crate::api::resources::Ceiling;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::values;

/// Puts a queue: creates it, or replaces its configuration as a whole
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Put {
    /// Which
    #[arg(value_name = "QUEUE")]
    name: String,
    /// The hard ceiling, for example `slots=10,cpu=4`, or JSON [default: none]
    #[arg(long, value_name = "LIMITS", value_parser = values::ceiling)]
    maximum: Option<Ceiling>,
    /// Whether it takes new grants: running or stopped
    #[arg(long, default_value = "running", value_parser = state)]
    state: QueueState,
}

fn state(text: &str) -> Result<QueueState, String> {
    match text {
        "running" => Ok(QueueState::Running),
        "stopped" => Ok(QueueState::Stopped),
        _ => Err("a state is running or stopped".to_owned()),
    }
}

pub(super) async fn run(put: &Put, context: &Context) -> Result<(), Failure> {
    let request = PutQueue { maximum: put.maximum.clone(), state: put.state };
    let queue = context.client.put_queue(&put.name, &request).await?;
    context.printer.data(&queue, |queue| details(queue).render());
    Ok(())
}
