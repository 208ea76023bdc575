//! `slotkeeper members list`; also how members look.

use crate::api::cluster::{Cluster, MemberRole, MemberState};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::Table;
use crate::cli::watch::{self, WatchOption};

/// Lists the members, who leads, and how far each is
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    watch: WatchOption,
}

pub(super) async fn run(list: &List, context: &Context) -> Result<(), Failure> {
    watch::show(context, list.watch, |context| async move {
        let asked = context.client.cluster().await;
        let (cluster, ended) = match asked {
            Ok(cluster) => (cluster, Ok(())),
            Err(error) => {
                let Ok(cluster) = context.stale_client().cluster().await else { return Err(error.into()) };
                context.printer.talk("members: there is no leader to ask; this is what one server knows");
                (cluster, Err(error.into()))
            }
        };
        context.printer.data(&cluster, |cluster| members_table(cluster).render());
        ended
    })
    .await
}

/// The members of a cluster.
pub(in crate::cli) fn members_table(cluster: &Cluster) -> Table {
    let mut table = Table::new(&["NODE", "ROLE", "STATE", "API", "PEER", "APPLIED", "LAG", "STATE HASH"]);
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    for member in &cluster.members {
        let hash = member.state_hash.as_ref().map(|state| {
            let short: String = state.hash.chars().take(12).collect();
            format!("{short} at {}", state.revision)
        });
        table.row([
            member.node_id.to_string(),
            role_text(member.role).to_owned(),
            state_text(member.state).to_owned(),
            member.api_addr.clone(),
            member.peer_addr.clone(),
            number(member.applied_index),
            number(member.lag),
            hash.unwrap_or_default(),
        ]);
    }
    table
}

fn role_text(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
    }
}

fn state_text(state: MemberState) -> &'static str {
    match state {
        MemberState::Leader => "leader",
        MemberState::Follower => "follower",
        MemberState::Candidate => "candidate",
        MemberState::Learner => "learner",
        MemberState::Unreachable => "unreachable",
    }
}
