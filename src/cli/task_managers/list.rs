//! `slotkeeper task-managers list`.

use crate::api::task_managers::{TaskManager, TaskManagerState};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::Table;
use crate::cli::watch::{self, WatchOption};
use crate::client::TaskManagerFilter;

/// Lists TaskManagers
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Only those in this state: active, cordoned, draining, drained or lost
    #[arg(long, value_parser = state)]
    state: Option<TaskManagerState>,
    /// Only those with this label
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Option<String>,
    #[command(flatten)]
    watch: WatchOption,
}

fn state(text: &str) -> Result<TaskManagerState, String> {
    let known = TaskManagerState::ALL.into_iter().find(|state| state.as_str() == text);
    known.ok_or_else(|| "a state is active, cordoned, draining, drained or lost".to_owned())
}

pub(super) async fn run(list: &List, context: &Context) -> Result<(), Failure> {
    watch::show(context, list.watch, |context| async move {
        let filter = TaskManagerFilter {
            state: list.state,
            label: list.label.clone(),
            ..TaskManagerFilter::default()
        };
        let items = context.client.all_task_managers(filter).await?;
        context.printer.data(&items, |items| table(items).render());
        Ok(())
    })
    .await
}

fn table(items: &[TaskManager]) -> Table {
    let mut table = Table::new(&["TASK MANAGER", "STATE", "SLOTS", "FREE", "ADDRESS", "HEARTBEAT", "LABELS"]);
    for item in items {
        let labels: Vec<String> = item.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let heartbeat = item.last_heartbeat_ago_ms.map(|ago| format!("{ago}ms ago")).unwrap_or_default();
        table.row([
            item.task_manager_id.to_string(),
            item.state.as_str().to_owned(),
            item.slots_total.to_string(),
            item.slots_free.to_string(),
            item.address.clone(),
            heartbeat,
            labels.join(","),
        ]);
    }
    table
}
