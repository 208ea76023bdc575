//! `slotkeeper requirements get`.

use super::show;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::watch::{self, WatchOption};

/// Shows what a job wants and what it has of it
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Get {
    /// Whose
    #[arg(value_name = "JOB")]
    job: String,
    #[command(flatten)]
    watch: WatchOption,
}

pub(super) async fn run(get: &Get, context: &Context) -> Result<(), Failure> {
    watch::show(context, get.watch, |context| async move {
        let declared = context.client.requirements(&get.job).await?;
        show(&context, &declared);
        Ok(())
    })
    .await
}
