//! `slotkeeper members remove`.

use super::changed;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Removes a member; its id is never used again
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Remove {
    /// Which
    node_id: u64,
}

pub(super) async fn run(remove: &Remove, context: &Context) -> Result<(), Failure> {
    context.confirm(&format!("Remove node {} from the cluster?", remove.node_id))?;
    changed(context, &context.client.remove_member(remove.node_id).await?);
    Ok(())
}
