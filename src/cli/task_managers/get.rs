//! `slotkeeper task-managers get`.

use crate::api::task_managers::TaskManager;
use crate::cli::allocations::allocations_table;
use crate::cli::amounts::amounts;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::Details;

/// Shows one TaskManager and what it holds
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Get {
    /// Which
    #[arg(value_name = "TASK_MANAGER")]
    id: String,
}

pub(super) async fn run(get: &Get, context: &Context) -> Result<(), Failure> {
    let item = context.client.task_manager(&get.id).await?;
    context.printer.data(&item, |item| {
        let details = details(item).render();
        if item.allocations.is_empty() {
            return details;
        }
        format!("{details}\n{}", allocations_table(&item.allocations).render())
    });
    Ok(())
}

fn details(item: &TaskManager) -> Details {
    let labels: Vec<String> = item.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Details::default()
        .with("task manager", &item.task_manager_id)
        .with("state", item.state.as_str())
        .with_some("drain deadline", item.drain_deadline)
        .with_some("lost since", item.lost_since)
        .with("address", &item.address)
        .with("slots", format!("{} ({} free)", item.slots_total, item.slots_free))
        .with("total", amounts(&item.total_profile))
        .with("free", amounts(&item.free_profile))
        .with("default slot", amounts(&item.slot_profile))
        .with_some("labels", (!labels.is_empty()).then(|| labels.join(",")))
        .with("epoch", item.epoch)
        .with("generation", item.generation)
        .with("session", &item.session_id)
        .with_some("last heartbeat", item.last_heartbeat_ago_ms.map(|ago| format!("{ago}ms ago")))
        .with("registered at", item.registered_at)
}
