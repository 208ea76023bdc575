//! `slotkeeper members promote`.

use super::changed;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Makes a learner a voter
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Promote {
    /// Which
    node_id: u64,
}

pub(super) async fn run(promote: &Promote, context: &Context) -> Result<(), Failure> {
    changed(context, &context.client.promote_member(promote.node_id).await?);
    Ok(())
}
