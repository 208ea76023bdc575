//! `slotkeeper settings`: the replicated settings.

mod get;
mod set;

use super::context::Context;
use super::failure::Failure;

/// Shows and changes the replicated settings
#[derive(Debug, clap::Subcommand)]
pub(super) enum Settings {
    Get(get::Get),
    Set(set::Set),
}

pub(super) async fn run(verb: &Settings, context: &Context) -> Result<(), Failure> {
    match verb {
        Settings::Get(get) => get::run(get, context).await,
        Settings::Set(set) => set::run(set, context).await,
    }
}
