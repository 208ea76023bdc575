//! `/v1/plan`: what would be decided now, by the very planner that decides, without doing it.

use axum::extract::State;

use super::answer::Answer;
use super::extract::JsonBody;
use super::refusal::{self, Refusal};
use super::{App, requests};
use crate::api::plan::{Plan, PlanDecision, PlanRequest, PlannedSlot};
use crate::api::resources::Profile;
use crate::domain::check::effective_profile;
use crate::domain::{Placement, ResourceProfile, State as DomainState};

/// What would be decided now, without doing it.
#[utoipa::path(post, path = "/v1/plan", tag = "Allocations", request_body = PlanRequest,
    responses((status = 200, body = Plan)))]
pub(super) async fn plan(
    State(app): State<App>,
    JsonBody(request): JsonBody<PlanRequest>,
) -> Result<Answer<Plan>, Refusal> {
    let (job, request) = request.into_request();
    app.check_strategy("strategy", request.strategy.as_ref())?;
    let request = requests::allocation(job, request)?;
    let (slots, strategy, profile) = (request.slots, request.rules.strategy.clone(), request.profile.clone());
    let planned = app.services.leader.plan(request).await?.map_err(|rejection| Refusal::from(&rejection))?;
    let state = app.state();
    let shown = |placement: &Placement| slot(&state, placement, profile.as_ref());
    let body = Plan {
        decision: decision(planned.placements.len(), slots),
        placements: planned.placements.iter().map(shown).collect(),
        missing: planned.missing,
        reasons: refusal::reasons(&planned.reasons),
        strategy: strategy.unwrap_or_else(|| state.settings().strategy.clone()),
        revision: state.revision(),
    };
    Ok(Answer::read(state.revision(), body))
}

fn decision(placed: usize, slots: u32) -> PlanDecision {
    match placed {
        0 => PlanDecision::Refused,
        placed if u32::try_from(placed).is_ok_and(|placed| placed < slots) => PlanDecision::Partial,
        _ => PlanDecision::Granted,
    }
}

fn slot(state: &DomainState, placement: &Placement, wanted: Option<&ResourceProfile>) -> PlannedSlot {
    let task_manager = state.task_managers().get(&placement.task_manager);
    let profile = task_manager.and_then(|task_manager| effective_profile(&task_manager.offer, wanted).ok());
    PlannedSlot {
        task_manager_id: placement.task_manager.clone(),
        profile: profile.map(Profile::from).unwrap_or_default(),
    }
}
