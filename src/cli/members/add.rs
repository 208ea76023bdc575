//! `slotkeeper members add`.

use super::changed;
use crate::api::cluster::AddMember;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Adds a running node as a learner
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Add {
    /// Where its API is
    #[arg(long, value_name = "HOST:PORT")]
    api_addr: String,
    /// Where it speaks Raft
    #[arg(long, value_name = "HOST:PORT")]
    peer_addr: String,
}

pub(super) async fn run(add: &Add, context: &Context) -> Result<(), Failure> {
    let request = AddMember { api_addr: add.api_addr.clone(), peer_addr: add.peer_addr.clone() };
    changed(context, &context.client.add_member(&request).await?);
    Ok(())
}
