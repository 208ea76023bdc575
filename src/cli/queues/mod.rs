//! `slotkeeper queues`: who pays, and the hard ceiling.

mod delete;
mod get;
mod list;
mod put;

use super::context::Context;
use super::failure::Failure;
use crate::api::queues::QueueState;

/// Puts, shows and deletes queues
#[derive(Debug, clap::Subcommand)]
pub(super) enum Queues {
    List(list::List),
    Get(get::Get),
    Put(put::Put),
    Delete(delete::Delete),
}

pub(super) async fn run(verb: &Queues, context: &Context) -> Result<(), Failure> {
    match verb {
        Queues::List(list) => list::run(list, context).await,
        Queues::Get(get) => get::run(get, context).await,
        Queues::Put(put) => put::run(put, context).await,
        Queues::Delete(delete) => delete::run(delete, context).await,
    }
}

fn state_text(state: QueueState) -> &'static str {
    match state {
        QueueState::Running => "running",
        QueueState::Stopped => "stopped",
    }
}
