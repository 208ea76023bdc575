//! `slotkeeper members remove`.

use serde::Serialize;

use super::changed;
use crate::api::ProblemCode;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Removes a member; its id is never used again
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Remove {
    /// Which
    node_id: u64,
}

/// A node that was no member to begin with; like a member that was removed, it has no role.
#[derive(Serialize)]
struct NoMember {
    node_id: u64,
    role: Option<()>,
}

/// Ids are never used again, so a member that was removed stays none: a retry after a lost answer has nothing to do.
pub(super) async fn run(remove: &Remove, context: &Context) -> Result<(), Failure> {
    context.confirm(&format!("Remove node {} from the cluster?", remove.node_id))?;
    match context.client.remove_member(remove.node_id).await {
        Ok(member) => changed(context, &member),
        Err(error) if error.code() == Some(ProblemCode::UnknownMember) => {
            let no_member = NoMember { node_id: remove.node_id, role: None };
            let sentence = format!("node {} is no member; there is nothing to do", remove.node_id);
            context.printer.done(&no_member, &sentence);
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
