//! `slotkeeper jobs list`.

use super::state_text;
use crate::api::jobs::{Job, JobState};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::table::Table;
use crate::cli::watch::{self, WatchOption};
use crate::client::JobFilter;

/// Lists jobs
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Only those in this queue
    #[arg(long)]
    queue: Option<String>,
    /// Only those in this state: running or finished
    #[arg(long, value_parser = state)]
    state: Option<JobState>,
    #[command(flatten)]
    watch: WatchOption,
}

fn state(text: &str) -> Result<JobState, String> {
    match text {
        "running" => Ok(JobState::Running),
        "finished" => Ok(JobState::Finished),
        _ => Err("a state is running or finished".to_owned()),
    }
}

pub(super) async fn run(list: &List, context: &Context) -> Result<(), Failure> {
    watch::show(context, list.watch, |context| async move {
        let filter = JobFilter { queue: list.queue.clone(), state: list.state, ..JobFilter::default() };
        let jobs = context.client.all_jobs(filter).await?;
        context.printer.data(&jobs, |jobs| table(jobs).render());
        Ok(())
    })
    .await
}

fn table(jobs: &[Job]) -> Table {
    let mut table = Table::new(&["JOB", "STATE", "QUEUE", "PRIORITY", "SLOTS", "PENDING", "CREATED"]);
    for job in jobs {
        table.row([
            job.job_id.to_string(),
            state_text(job).to_owned(),
            job.queue.to_string(),
            job.priority.to_string(),
            job.slots_allocated.to_string(),
            job.slots_pending.to_string(),
            job.created_at.to_string(),
        ]);
    }
    table
}
