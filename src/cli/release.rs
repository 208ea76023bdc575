//! `slotkeeper release`: gives slots back.

use serde_json::json;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::table::Table;
use crate::api::allocations::{Release as ReleaseRequest, Released};
use crate::api::ids::AllocationId;

/// Gives slots of a job back
#[derive(Debug, clap::Args)]
pub(super) struct Release {
    /// Whose
    #[arg(value_name = "JOB")]
    job: String,
    /// Which allocations
    #[arg(value_name = "ALLOCATION", required_unless_present = "all", value_parser = allocation_id)]
    allocations: Vec<AllocationId>,
    /// All that the job holds
    #[arg(long, conflicts_with = "allocations")]
    all: bool,
}

fn allocation_id(text: &str) -> Result<AllocationId, String> {
    serde_json::from_value(json!(text)).map_err(|_| "an allocation is a UUID".to_owned())
}

pub(super) async fn run(release: &Release, context: &Context) -> Result<(), Failure> {
    let mut allocation_ids = release.allocations.clone();
    if release.all {
        context.confirm(&format!("Release all slots that job `{}` holds?", release.job))?;
        let held = context.client.all_allocations_of_job(&release.job).await?;
        allocation_ids = held.iter().map(|allocation| allocation.allocation_id).collect();
    }
    let released = context.client.release(&release.job, &ReleaseRequest { allocation_ids }).await?;
    context.printer.data(&released, |released| table(released).render());
    if released.unknown.is_empty() {
        return Ok(());
    }
    let unknown = released.unknown.len();
    Err(Failure::new(
        Exit::Refused,
        format!("job `{}` never held {unknown} of these allocations", release.job),
    ))
}

fn table(released: &Released) -> Table {
    let mut table = Table::new(&["ALLOCATION", "RESULT"]);
    for id in &released.released {
        table.row([id.to_string(), "released".to_owned()]);
    }
    for id in &released.unknown {
        table.row([id.to_string(), "unknown".to_owned()]);
    }
    table
}
