//! The checks of a placement, used by `apply` and by the scheduler alike.
//!
//! What it promises: what these functions accept, `apply` accepts. What it must not do: rank.

use super::outcome::{RefusalReason, StaleDecision};
use super::queue::{Queue, QueuePhase};
use super::resources::{ResourceProfile, Usage};
use super::task_manager::{Condition, Offer, TaskManager};

/// The profile that a slot for `wanted` gets on `task_manager`, if it could ever have it there.
///
/// # Errors
/// `TooSmall` if not even the empty TaskManager has that much.
pub fn effective_profile(
    task_manager: &TaskManager,
    wanted: Option<&ResourceProfile>,
) -> Result<ResourceProfile, RefusalReason> {
    let (profile, ceiling) = match &task_manager.offer {
        Offer::Static { slot_profile, .. } => (slot_profile, slot_profile),
        Offer::Dynamic { total, slot_profile } => (wanted.unwrap_or(slot_profile), total),
    };
    let fits = wanted.unwrap_or(profile).fits_within(ceiling);
    if fits { Ok(profile.clone()) } else { Err(RefusalReason::TooSmall) }
}

/// Whether a TaskManager of which `free` is free takes one more slot of `profile`.
///
/// # Errors
/// What is in the way.
pub fn accepts(
    task_manager: &TaskManager,
    free: &ResourceProfile,
    profile: &ResourceProfile,
) -> Result<(), StaleDecision> {
    if task_manager.condition != Condition::Active {
        return Err(StaleDecision::TaskManager);
    }
    if profile.fits_within(free) { Ok(()) } else { Err(StaleDecision::Resources) }
}

/// The usage of a queue that held `used`, with one more slot of `profile`.
///
/// # Errors
/// The queue is stopped, or its maximum would be exceeded.
pub fn queue_admits(queue: &Queue, used: &Usage, profile: &ResourceProfile) -> Result<Usage, RefusalReason> {
    if queue.phase == QueuePhase::Stopped {
        return Err(RefusalReason::QueueStopped);
    }
    let used = used.checked_with(profile).ok_or(RefusalReason::QueueMaximum)?;
    if queue.maximum.admits(&used) { Ok(used) } else { Err(RefusalReason::QueueMaximum) }
}
