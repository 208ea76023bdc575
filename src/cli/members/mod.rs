//! `slotkeeper members`: who belongs to the cluster.

mod add;
pub(super) mod list;
mod promote;
mod remove;

use super::context::Context;
use super::failure::Failure;
use crate::api::cluster::{MemberChanged, MemberRole};

/// Shows and changes who belongs to the cluster
#[derive(Debug, clap::Subcommand)]
pub(super) enum Members {
    List(list::List),
    Add(add::Add),
    Promote(promote::Promote),
    Remove(remove::Remove),
}

pub(super) async fn run(verb: &Members, context: &Context) -> Result<(), Failure> {
    match verb {
        Members::List(list) => list::run(list, context).await,
        Members::Add(add) => add::run(add, context).await,
        Members::Promote(promote) => promote::run(promote, context).await,
        Members::Remove(remove) => remove::run(remove, context).await,
    }
}

fn changed(context: &Context, member: &MemberChanged) {
    let now = match member.role {
        Some(MemberRole::Voter) => "is a voter",
        Some(MemberRole::Learner) => "is a learner",
        None => "is no member any more",
    };
    context.printer.done(member, &format!("node {} at {} {now}", member.node_id, member.api_addr));
}
