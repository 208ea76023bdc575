//! `slotkeeper queues get`; also how one queue looks.

use super::state_text;
use crate::api::queues::Queue;
use crate::cli::amounts::{held, limits};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::Details;

/// Shows one queue
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Get {
    /// Which
    #[arg(value_name = "QUEUE")]
    name: String,
}

pub(super) async fn run(get: &Get, context: &Context) -> Result<(), Failure> {
    let queue = context.client.queue(&get.name).await?;
    context.printer.data(&queue, |queue| details(queue).render());
    Ok(())
}

pub(super) fn details(queue: &Queue) -> Details {
    Details::default()
        .with("queue", &queue.name)
        .with("state", state_text(queue.state))
        .with("jobs", queue.jobs)
        .with("pending", queue.pending)
        .with("holds", held(&queue.used))
        .with("maximum", limits(&queue.maximum))
        .with("changed in", format!("revision {}", queue.changed_in_revision))
}
