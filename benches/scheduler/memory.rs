//! What an allocated slot takes in memory: the state with all its indexes, in a process without consensus.
//!
//! Promises: slots are placed as the leader places them, in requests of a thousand and without idempotency keys; TaskManagers are
//! told apart. The figure is what the process takes of the machine, with the program's allocator, so what that holds back
//! counts too. Must not: count the log, snapshots or answers, which are not the state.

use serde_json::{Value, json};
use slotkeeper::domain::State;
use slotkeeper::scheduler::{Avoidance, Registry, plan_allocation};

use crate::bars::Verdict;
use crate::fleet::{Mix, SLOTS, allocate, apply, fleet, request};

/// Slots of one request.
const REQUEST_SLOTS: u32 = 1_000;
/// What the bar asks for.
const SLOTS_WANTED: u32 = 1_000_000;

/// Fills a state with `slots` and prints what they take.
pub fn measure(slots: u32) -> (Value, Verdict) {
    let empty = resident_bytes();
    let mut state = fleet(slots.div_ceil(SLOTS), Mix::Zones);
    let registered = resident_bytes();
    let placed = fill(&mut state, slots);
    let full = resident_bytes();
    let each = |from: u64, to: u64, count: u32| to.saturating_sub(from) as f64 / f64::from(count.max(1));
    let task_managers = slots.div_ceil(SLOTS);
    let per_task_manager = each(empty, registered, task_managers);
    let (per_slot, with_fleet) = (each(registered, full, placed), each(empty, full, placed));
    println!("{task_managers} TaskManagers without allocations: {per_task_manager:.0} bytes each");
    println!(
        "{placed} allocated slots with all indexes, no keys: {per_slot:.0} bytes each, {with_fleet:.0} with their TaskManagers"
    );
    let results = json!({
        "task_managers": task_managers,
        "slots": placed,
        "process_bytes_empty": empty,
        "process_bytes_full": full,
        "bytes_a_slot": per_slot,
        "bytes_a_slot_with_task_managers": with_fleet,
        "bytes_a_task_manager": per_task_manager,
    });
    let why = format!("at {placed} slots");
    (results, Verdict::if_so(placed >= SLOTS_WANTED, "memory-slot", per_slot, &why))
}

/// Takes slots as long as any are wanted, and gives how many were placed.
fn fill(state: &mut State, slots: u32) -> u32 {
    let registry = Registry::default();
    let mut placed = 0;
    while placed < slots {
        let ask = request(REQUEST_SLOTS.min(slots - placed), "least_utilization");
        let plan = plan_allocation(state, &ask, &registry, &Avoidance::default()).unwrap();
        assert_eq!(plan.placements.len(), usize::try_from(ask.slots).unwrap(), "the fleet has room for all");
        assert!(apply(state, allocate(&ask, plan.placements, plan.reasons)).result.is_ok());
        placed += ask.slots;
    }
    placed
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
