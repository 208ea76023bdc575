//! How allocations and the reasons against them look.

use super::amounts::amounts;
use super::table::Table;
use crate::api::allocations::{Allocation, AllocationState};
use crate::api::reasons::RefusalReasonCount;

pub(super) fn allocations_table(allocations: &[Allocation]) -> Table {
    let mut table =
        Table::new(&["ALLOCATION", "JOB", "TASK MANAGER", "SLOT", "ADDRESS", "TOKEN", "STATE", "PROFILE"]);
    for allocation in allocations {
        let state = match allocation.state {
            AllocationState::Pending => "pending",
            AllocationState::Active => "active",
        };
        table.row([
            allocation.allocation_id.to_string(),
            allocation.job_id.to_string(),
            allocation.task_manager_id.to_string(),
            allocation.slot_index.to_string(),
            allocation.address.clone(),
            allocation.fencing_token.to_string(),
            state.to_owned(),
            amounts(&allocation.profile),
        ]);
    }
    table
}

/// `no_free_slot: 3, too_small: 1`.
pub(super) fn reasons_text(reasons: &[RefusalReasonCount]) -> String {
    let parts: Vec<String> =
        reasons.iter().map(|counted| format!("{}: {}", counted.reason, counted.task_managers)).collect();
    parts.join(", ")
}
