//! `slotkeeper task-managers`: looking at TaskManagers and taking them out of service.

mod cordon;
mod drain;
mod get;
mod list;
mod remove;
mod uncordon;

use super::context::Context;
use super::failure::Failure;
use crate::api::task_managers::TaskManagerChanged;

/// Looks at TaskManagers and takes them out of service
#[derive(Debug, clap::Subcommand)]
pub(super) enum TaskManagers {
    List(list::List),
    Get(get::Get),
    Cordon(cordon::Cordon),
    Uncordon(uncordon::Uncordon),
    Drain(drain::Drain),
    #[command(alias = "delete", alias = "deregister")]
    Remove(remove::Remove),
}

pub(super) async fn run(verb: &TaskManagers, context: &Context) -> Result<(), Failure> {
    match verb {
        TaskManagers::List(list) => list::run(list, context).await,
        TaskManagers::Get(get) => get::run(get, context).await,
        TaskManagers::Cordon(cordon) => cordon::run(cordon, context).await,
        TaskManagers::Uncordon(uncordon) => uncordon::run(uncordon, context).await,
        TaskManagers::Drain(drain) => drain::run(drain, context).await,
        TaskManagers::Remove(remove) => remove::run(remove, context).await,
    }
}

fn changed(context: &Context, changed: &TaskManagerChanged, what: &str) {
    let sentence =
        format!("TaskManager `{}` {what} (revision {})", changed.task_manager_id, changed.revision);
    context.printer.done(changed, &sentence);
}
