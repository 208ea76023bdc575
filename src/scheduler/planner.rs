//! Plans one request: all of its slots or, if less will do, as many as there are, and why not more.
//!
//! What it promises: the same for a decision, for its refusal and for a question what would be decided; `AllOrNothing`
//! gives all or none. A request that can not be met is refused before it is tried where counting shows it.
//! What it must not do: apply anything.

use std::collections::VecDeque;

use crate::domain::{
    AllocationMode, Constraint, Job, Placement, PlacementRules, Queue, QueueName, QueuePhase, Rejection,
    ResourceLimit, ResourceProfile, SessionNumber, State, TaskManagerId,
};

use super::avoidance::Avoidance;
use super::explain;
use super::need::Need;
use super::registry::Registry;
use super::request::{AllocationRequest, Plan};
use super::strategy::{Strategy, View};
use super::trial::Trial;

/// Refusals that are kept at most.
const REFUSALS_MAX: usize = 16;

/// Plans requests one after the other and remembers, as long as nothing changes, which could not be met: many like
/// requests in a row that are refused cost one.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    registry: Registry,
    refusals: VecDeque<Refusal>,
    /// Of which session and which change of the index and of the avoidance the refusals are.
    as_of: (SessionNumber, u64, u64),
}

/// A request that could not be met, apart from the job, which only matters to spreading and to what it avoids.
#[derive(Debug, Clone)]
struct Refusal {
    queue: (QueueName, ResourceLimit, QueuePhase),
    strategy: &'static str,
    slots: u32,
    mode: AllocationMode,
    profile: Option<ResourceProfile>,
    rules: PlacementRules,
    plan: Plan,
}

impl Planner {
    /// A planner that knows the strategies of `registry`.
    pub fn new(registry: Registry) -> Self {
        Self { registry, ..Self::default() }
    }

    /// The strategies.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// As [`plan_allocation`]. `state` is the same as at the last call, changed or not, or of a later session.
    ///
    /// # Errors
    /// As [`plan_allocation`].
    pub fn plan(
        &mut self,
        state: &State,
        request: &AllocationRequest,
        avoidance: &Avoidance,
    ) -> Result<Plan, Rejection> {
        let subject = Subject::of(state, request, &self.registry)?;
        if avoidance.by(&request.job).is_some() {
            return Ok(subject.plan(state, request, avoidance));
        }
        let as_of = (state.session(), state.indexes().capacity().changes(), avoidance.changes());
        if self.as_of != as_of {
            self.refusals.clear();
            self.as_of = as_of;
        }
        if let Some(refusal) = self.refusals.iter().find(|refusal| refusal.covers(&subject, request)) {
            return Ok(refusal.plan.clone());
        }
        let plan = subject.plan(state, request, avoidance);
        let is_spread =
            request.rules.constraints.iter().any(|rule| matches!(rule, Constraint::SpreadBy { .. }));
        if plan.placements.is_empty() && !is_spread {
            self.refusals.truncate(REFUSALS_MAX - 1);
            self.refusals.push_front(Refusal::of(&subject, request, plan.clone()));
        }
        Ok(plan)
    }
}

impl Refusal {
    fn of(subject: &Subject<'_>, request: &AllocationRequest, plan: Plan) -> Self {
        let Subject { job, queue, strategy } = subject;
        Self {
            queue: (job.queue.clone(), queue.maximum.clone(), queue.phase),
            strategy: strategy.name(),
            slots: request.slots,
            mode: request.mode,
            profile: request.profile.clone(),
            rules: request.rules.clone(),
            plan,
        }
    }

    fn covers(&self, subject: &Subject<'_>, request: &AllocationRequest) -> bool {
        let (name, maximum, phase) = &self.queue;
        self.slots == request.slots
            && self.mode == request.mode
            && self.strategy == subject.strategy.name()
            && self.profile == request.profile
            && self.rules == request.rules
            && *name == subject.job.queue
            && *phase == subject.queue.phase
            && *maximum == subject.queue.maximum
    }
}

/// Plans `request` against `state` as it is, away from what `avoidance` names.
///
/// # Errors
/// `UnknownJob`, `UnknownQueue`, or `InvalidCommand` for a strategy that is not known. That there are not enough slots is
/// no error but a plan with something missing.
pub fn plan_allocation(
    state: &State,
    request: &AllocationRequest,
    registry: &Registry,
    avoidance: &Avoidance,
) -> Result<Plan, Rejection> {
    Ok(Subject::of(state, request, registry)?.plan(state, request, avoidance))
}

/// Whom a request is about, and who decides it.
struct Subject<'a> {
    job: &'a Job,
    queue: &'a Queue,
    strategy: &'a dyn Strategy,
}

impl<'a> Subject<'a> {
    fn of(state: &'a State, request: &AllocationRequest, registry: &'a Registry) -> Result<Self, Rejection> {
        let job = state.jobs().get(&request.job).filter(|job| job.is_running());
        let job = job.ok_or_else(|| Rejection::UnknownJob(request.job.clone()))?;
        let queue = state.queues().get(&job.queue);
        let queue = queue.ok_or_else(|| Rejection::UnknownQueue(job.queue.clone()))?;
        let strategy = registry.requested(request.rules.strategy.as_ref(), state.settings())?;
        Ok(Self { job, queue, strategy })
    }

    fn plan(&self, state: &State, request: &AllocationRequest, avoidance: &Avoidance) -> Plan {
        let need = Need::new(request.profile.as_ref(), &request.rules, state, self.job.allocations.iter());
        let trial = Trial::new(state, need, self.queue, avoidance.of(&request.job));
        plan(trial, self.strategy, request.slots, request.mode, state)
    }
}

/// Runs a trial to its end.
pub(super) fn plan(
    mut trial: Trial<'_>,
    strategy: &dyn Strategy,
    slots: u32,
    mode: AllocationMode,
    state: &State,
) -> Plan {
    let is_gang = mode == AllocationMode::AllOrNothing;
    let is_hopeless = is_gang && (!trial.queue_admits_all(slots) || trial.slots_possible(slots) < slots);
    if !is_hopeless {
        run(&mut trial, strategy, slots);
    }
    let placed = u32::try_from(trial.placed().len()).unwrap_or(u32::MAX);
    let missing = slots.saturating_sub(placed);
    let is_given_up = is_gang && missing > 0;
    let reasons = if missing > 0 { explain::reasons(&trial, is_given_up) } else { Vec::new() };
    let considered = trial.capacity.task_managers();
    if is_given_up {
        return Plan { placements: Vec::new(), missing: slots, reasons, considered };
    }
    Plan { placements: placements(&trial, state), missing, reasons, considered }
}

/// Places slots until `slots` are placed or nobody takes one: the one TaskManager that is asked for, or else the
/// preferred ones by name, then those with the most preferred labels, then the rest.
fn run(trial: &mut Trial<'_>, strategy: &dyn Strategy, slots: u32) {
    let mut left = slots;
    if let Some(only) = trial.need.only() {
        trial.fill(only, left);
        return;
    }
    for preferred in trial.need.preferred() {
        left -= trial.fill(preferred, left);
    }
    for rank in trial.need.ranks(trial.capacity) {
        if left == 0 {
            return;
        }
        trial.set_rank(rank);
        while left > 0 {
            let choice = strategy.choose(&View::new(trial, left)).map(|candidate| candidate.to_place());
            let Some(place) = choice else { break };
            trial.place(place);
            left -= 1;
        }
    }
}

fn placements(trial: &Trial<'_>, state: &State) -> Vec<Placement> {
    let placement = |id: &TaskManagerId| {
        let task_manager = state.task_managers().get(id).expect("the index knows only known TaskManagers");
        Placement { task_manager: id.clone(), epoch: task_manager.epoch }
    };
    trial.placed().iter().map(placement).collect()
}
