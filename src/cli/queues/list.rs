//! `slotkeeper queues list`.

use super::state_text;
use crate::api::queues::Queue;
use crate::cli::amounts::{held, limits};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::Table;

/// Lists queues
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {}

pub(super) async fn run(_list: &List, context: &Context) -> Result<(), Failure> {
    let queues = context.client.all_queues().await?;
    context.printer.data(&queues, |queues| table(queues).render());
    Ok(())
}

fn table(queues: &[Queue]) -> Table {
    let mut table = Table::new(&["QUEUE", "STATE", "JOBS", "PENDING", "HOLDS", "MAXIMUM"]);
    for queue in queues {
        table.row([
            queue.name.to_string(),
            state_text(queue.state).to_owned(),
            queue.jobs.to_string(),
            queue.pending.to_string(),
            held(&queue.used),
            limits(&queue.maximum),
        ]);
    }
    table
}
