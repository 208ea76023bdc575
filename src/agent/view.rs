//! What an agent shows of itself.

use std::time::Instant;

use serde::Serialize;
use uuid::Uuid;

use super::slots::{Phase, Slots};
use super::work::StopReason;
use crate::api::resources::Profile;

/// Where an agent stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// It has no registration; what runs goes on until the lease runs out.
    #[default]
    Registering,
    /// It is registered and its lease holds.
    Registered,
    /// Its lease ran out: everything is stopped until a heartbeat or a registration is answered.
    Fenced,
    /// It ends.
    Leaving,
}

/// What happens in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    /// Nothing; it is clean.
    Free,
    /// Work is being started.
    Starting,
    /// Work runs.
    Running,
    /// Work is being stopped.
    Stopping,
    /// Work could not be stopped yet; the slot takes nothing new.
    Unclean,
}

/// One slot that was used at least once.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlotView {
    /// Which.
    pub slot_index: u32,
    /// What happens in it.
    pub state: SlotState,
    /// What occupies it.
    pub allocation_id: Option<Uuid>,
    /// Whose that is.
    pub job_id: Option<String>,
    /// Its fencing token.
    pub fencing_token: Option<u64>,
    /// The highest fencing token that the slot has seen; it refuses every other one that is not above.
    pub highest_fencing_token: Option<u64>,
    /// What the slot has.
    pub profile: Option<Profile>,
    /// Why its work is being stopped.
    pub stop_reason: Option<StopReason>,
}

/// The current view of one agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AgentView {
    /// The TaskManager.
    pub task_manager_id: String,
    /// This process of it.
    pub session_id: String,
    /// Where jobs reach it.
    pub address: String,
    /// Where it stands.
    pub state: AgentState,
    /// The number of its registration.
    pub epoch: Option<u64>,
    /// The generation that was taken last.
    pub generation: Option<u64>,
    /// How long the work may go on without another answer; filled in when the view is shown.
    pub lease_remaining_ms: u64,
    /// Until when the lease holds.
    #[serde(skip)]
    pub lease_ends_at: Option<Instant>,
    /// The slots that were used at least once.
    pub slots: Vec<SlotView>,
}

impl AgentView {
    /// The view as JSON at `now`.
    pub fn document(&self, now: Instant) -> String {
        let left = self.lease_ends_at.map(|end| end.saturating_duration_since(now)).unwrap_or_default();
        let lease_remaining_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let shown = Self { lease_remaining_ms, ..self.clone() };
        serde_json::to_string(&shown).expect("a view is always JSON")
    }
}

pub(super) fn slot_views(slots: &Slots) -> Vec<SlotView> {
    slots.iter().map(|(index, phase, highest)| slot_view(index, phase, highest)).collect()
}

fn slot_view(slot_index: u32, phase: &Phase, highest_fencing_token: Option<u64>) -> SlotView {
    let (state, stop_reason) = match phase {
        Phase::Idle => (SlotState::Free, None),
        Phase::Starting(_) => (SlotState::Starting, None),
        Phase::Running(_) => (SlotState::Running, None),
        Phase::Stopping { reason, failed: false, .. } => (SlotState::Stopping, Some(*reason)),
        Phase::Stopping { reason, failed: true, .. } => (SlotState::Unclean, Some(*reason)),
    };
    let work = phase.work();
    SlotView {
        slot_index,
        state,
        allocation_id: work.map(|work| work.allocation_id),
        job_id: work.map(|work| work.job_id.clone()),
        fencing_token: work.map(|work| work.fencing_token),
        highest_fencing_token,
        profile: work.map(|work| work.profile.clone()),
        stop_reason,
    }
}
