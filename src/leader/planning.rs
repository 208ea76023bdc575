//! Where the round loop asks the scheduler.
//!
//! What it promises: the plan of a dry run and the plan of a decision are the same call on the same copy. What it must
//! not do: apply anything.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::intent::AllocationRequest;
use crate::domain::{Allocate, Fulfil, JobId, RefusalCount, Rejection, RequirementName, State};
use crate::scheduler::{self, Avoidance, Plan, Planner, Registry, RequirementWalk, WalkBudget};

/// Slots that one round gives to declarations at most, and lines that it looks at; the next round goes on.
const WALK_BUDGET: WalkBudget = WalkBudget { slots: 512, lines: 512 };

/// The planner of one session.
#[derive(Debug)]
pub(super) struct Planning {
    planner: Planner,
    walk: RequirementWalk,
}

impl Planning {
    pub(super) fn new(registry: Registry) -> Self {
        Self { planner: Planner::new(registry), walk: RequirementWalk::default() }
    }

    /// Where the slots of `request` would go now.
    pub(super) fn plan(
        &mut self,
        state: &State,
        request: &AllocationRequest,
        avoidance: &Avoidance,
    ) -> Result<Plan, Rejection> {
        self.planner.plan(state, &request.to_plan(), avoidance)
    }

    /// Says that declarations may be served that could not be before.
    pub(super) fn note_growth(&mut self) {
        self.walk.note_change();
    }

    /// Begins this round's share of serving declarations.
    pub(super) fn begin_fulfilling(&mut self) {
        self.walk.begin_round(WALK_BUDGET);
    }

    /// The next grant to a declaration. It must be applied to the copy before the next one is asked for.
    pub(super) fn next_fulfil(&mut self, state: &State, avoidance: &Avoidance) -> Option<Fulfil> {
        self.walk.next(state, self.planner.registry(), avoidance)
    }

    /// Whether every line has been looked at since the last change.
    pub(super) fn is_fulfilling_finished(&self) -> bool {
        self.walk.is_finished()
    }
}

impl AllocationRequest {
    /// The request without its wait, as the planner takes it.
    fn to_plan(&self) -> scheduler::AllocationRequest {
        scheduler::AllocationRequest {
            job: self.job.clone(),
            job_master_id: self.job_master_id.clone(),
            slots: self.slots,
            profile: self.profile.clone(),
            mode: self.mode,
            rules: self.rules.clone(),
        }
    }

    /// The command that decides this request with `plan`.
    pub(super) fn decided(&self, plan: Plan) -> Allocate {
        Allocate {
            job: self.job.clone(),
            job_master_id: self.job_master_id.clone(),
            slots: self.slots,
            profile: self.profile.clone(),
            mode: self.mode,
            placements: plan.placements,
            reasons: plan.reasons,
        }
    }

    /// Whether capacity is all that this request lacks. A request of a job that is not running, or of a leader that
    /// does not speak for it, is refused at once however long it would wait.
    pub(super) fn may_be_served(&self, state: &State) -> bool {
        let job = state.jobs().get(&self.job).filter(|job| job.is_running());
        job.is_some_and(|job| self.job_master_id.is_none() || self.job_master_id == job.job_master_id)
    }
}

/// The priority of the first declared line that lacks slots.
pub(super) fn highest_pending_priority(state: &State) -> Option<i32> {
    let Reverse(priority) = state.indexes().pending().first()?.priority;
    Some(priority)
}

/// Why the declared lines of `job` that lack slots lack them: per line, counted over the TaskManagers that were looked
/// at. Lines that lack nothing are left out. Works on any replica's state; only a serving leader knows what to avoid.
pub(super) fn explain(
    state: &State,
    job: &JobId,
    strategies: &Registry,
    avoidance: &Avoidance,
) -> BTreeMap<RequirementName, Vec<RefusalCount>> {
    let Some(declared) = state.jobs().get(job) else { return BTreeMap::new() };
    let lacking = declared.requirements.iter().filter(|(_, line)| line.pending() > 0);
    lacking
        .map(|(name, _)| {
            (name.clone(), scheduler::explain_requirement(state, strategies, avoidance, job, name))
        })
        .collect()
}
