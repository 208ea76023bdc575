//! `slotkeeper status`: the cluster at a glance; also the health check of containers.
//!
//! Promises: ends with 0 only if the cluster has a leader and the server that answered is ready, else with 3; without a
//! leader it shows what the answering server has applied, and says so; never takes longer than four seconds unless asked to.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::context::{Context, STALE_LIMIT};
use super::exit::Exit;
use super::failure::Failure;
use super::members::list::members_table;
use super::table::{Details, Table};
use super::watch::{self, WatchOption};
use crate::api::cluster::{Cluster, Readiness};
use crate::api::overview::Overview;
use crate::client::{Client, ClientError};

/// For all questions together: a health check must end before its supervisor loses patience.
const TIME_LIMIT: Duration = Duration::from_secs(3);
/// Longer than a server waits for a leader to appear, and short enough for the next server when one is frozen.
const TRY_LIMIT: Duration = Duration::from_millis(1_300);

/// Shows the cluster at a glance; ends with 0 only if it has a leader and the server that answered is ready
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Ask only whether the first server itself is ready, not the cluster
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    watch: WatchOption,
}

#[derive(Serialize)]
struct Shown {
    ready: Readiness,
    cluster: Cluster,
    overview: Overview,
}

pub(super) async fn run(status: &Status, context: &Context) -> Result<(), Failure> {
    if status.local {
        return watch::show(context, status.watch, local).await;
    }
    watch::show(context, status.watch, cluster).await
}

async fn local(context: Context) -> Result<(), Failure> {
    let ready = within(&context.client, TIME_LIMIT.min(context.deadline)).readiness().await?;
    context.printer.data(&ready, |ready| readiness(ready).render());
    ready_or_failure(&ready)
}

async fn cluster(context: Context) -> Result<(), Failure> {
    let shown = match look(&context.client, TIME_LIMIT.min(context.deadline)).await {
        Ok(shown) => shown,
        Err(error) => return stale(&context, error).await,
    };
    show(&context, &shown);
    if shown.cluster.leader_id.is_none() {
        return Err(Failure::new(Exit::Unavailable, "the cluster has no leader"));
    }
    ready_or_failure(&shown.ready)
}

fn within(client: &Client, limit: Duration) -> Client {
    client.with_limits(limit, TRY_LIMIT)
}

/// All that is shown, within `limit`; a question has what the ones before it have left.
async fn look(client: &Client, limit: Duration) -> Result<Shown, ClientError> {
    let until = Instant::now() + limit;
    let rest = || within(client, until.saturating_duration_since(Instant::now()));
    let cluster = rest().cluster().await?;
    let overview = rest().overview().await?;
    let ready = rest().readiness().await?;
    Ok(Shown { ready, cluster, overview })
}

/// Shows what a server has applied, because nobody could say what is, and fails with `error` all the same.
async fn stale(context: &Context, error: ClientError) -> Result<(), Failure> {
    if let Ok(shown) = look(&context.stale_client(), STALE_LIMIT).await {
        context
            .printer
            .talk("status: there is no leader to ask; this is what one server has applied, perhaps long ago");
        show(context, &shown);
    }
    Err(error.into())
}

fn show(context: &Context, shown: &Shown) {
    context.printer.data(shown, |shown| {
        format!(
            "{}\n{}\n{}{}",
            head(&shown.cluster, &shown.ready).render(),
            members_table(&shown.cluster).render(),
            counts(&shown.overview).render(),
            alarms(&shown.overview)
        )
    });
}

fn ready_or_failure(ready: &Readiness) -> Result<(), Failure> {
    if ready.ready {
        return Ok(());
    }
    let mut failure = Failure::new(Exit::Unavailable, format!("node {} is not ready", ready.node_id));
    failure.causes.clone_from(&ready.reasons);
    Err(failure)
}

fn readiness(ready: &Readiness) -> Details {
    Details::default()
        .with("node", ready.node_id)
        .with("ready", if ready.ready { "yes" } else { "no" })
        .with_some("reasons", (!ready.reasons.is_empty()).then(|| ready.reasons.join(", ")))
        .with("leader", ready.leader_id.map_or("none".to_owned(), |leader| leader.to_string()))
        .with("revision", ready.revision)
}

fn head(cluster: &Cluster, ready: &Readiness) -> Details {
    let leader = cluster.leader_id.map(|leader| {
        let member = cluster.members.iter().find(|member| member.node_id == leader);
        member.map_or(leader.to_string(), |member| format!("{leader} at {}", member.api_addr))
    });
    Details::default()
        .with_some("cluster", cluster.cluster_id)
        .with("leader", leader.unwrap_or_else(|| "none".to_owned()))
        .with("term", cluster.term)
        .with("revision", ready.revision)
}

fn alarms(overview: &Overview) -> String {
    let lines = overview.alarms.iter().map(|alarm| format!("\nALARM {}: {}\n", alarm.code, alarm.detail));
    lines.collect()
}

fn counts(overview: &Overview) -> Table {
    let mut table =
        Table::new(&["TASK MANAGERS", "ACTIVE", "LOST", "SLOTS", "FREE", "ALLOCATED", "JOBS", "PENDING"]);
    let task_managers = &overview.task_managers;
    table.row([
        task_managers.total,
        task_managers.active,
        task_managers.lost,
        overview.slots_total,
        overview.slots_free,
        overview.slots_allocated,
        overview.jobs,
        overview.pending_slots,
    ]);
    table
}
