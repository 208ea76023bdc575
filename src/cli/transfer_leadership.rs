//! `slotkeeper transfer-leadership`.

use super::context::Context;
use super::failure::Failure;

/// Hands leadership over and waits until the new leader serves
#[derive(Debug, clap::Args)]
pub(super) struct TransferLeadership {
    /// To which voter [default: the one that is furthest]
    #[arg(long, value_name = "NODE_ID")]
    to: Option<u64>,
}

pub(super) async fn run(transfer: &TransferLeadership, context: &Context) -> Result<(), Failure> {
    let answer = context.client.transfer_leadership(transfer.to).await?;
    context.printer.done(&answer, &format!("node {} at {} leads", answer.leader_id, answer.api_addr));
    Ok(())
}
