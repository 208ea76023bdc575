//! `slotkeeper jobs get`.

use serde::Serialize;

use super::details;
use crate::api::allocations::Allocation;
use crate::api::jobs::Job;
use crate::cli::allocations::allocations_table;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Shows one job and the slots that it holds
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Get {
    /// Which
    #[arg(value_name = "JOB")]
    id: String,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    job: Job,
    allocations: Vec<Allocation>,
}

pub(super) async fn run(get: &Get, context: &Context) -> Result<(), Failure> {
    let job = context.client.job(&get.id).await?;
    let allocations = context.client.all_allocations_of_job(&get.id).await?;
    context.printer.data(&Shown { job, allocations }, |shown| {
        let details = details(&shown.job).render();
        if shown.allocations.is_empty() {
            return details;
        }
        format!("{details}\n{}", allocations_table(&shown.allocations).render())
    });
    Ok(())
}
