//! `/v1/overview`: the cluster in a few numbers.

use axum::extract::State;

use super::answer::Answer;
use super::extract::QueryParameters;
use super::refusal::Refusal;
use super::{App, slot_counts};
use crate::api::overview::{Alarm, Overview, TaskManagerCounts};
use crate::domain::{self, Condition};

/// Counts over the whole state at one revision.
#[utoipa::path(get, path = "/v1/overview", tag = "Cluster", responses((status = 200, body = Overview)))]
pub(super) async fn get_overview(
    State(app): State<App>,
    query: QueryParameters,
) -> Result<Answer<Overview>, Refusal> {
    query.finish()?;
    let raised = app.services.leader.alarms();
    let alarms =
        raised.iter().map(|alarm| Alarm { code: alarm.code().to_owned(), detail: alarm.to_string() });
    let state = app.state();
    Ok(Answer::read(state.revision(), Overview { alarms: alarms.collect(), ..overview(&state) }))
}

/// Counts over `state`, without alarms, which are not part of it. Costs a pass over its TaskManagers and jobs.
pub(super) fn overview(state: &domain::State) -> Overview {
    let mut task_managers = TaskManagerCounts::default();
    let (mut slots_total, mut slots_free) = (0, 0);
    for (_, task_manager) in state.task_managers().iter() {
        task_managers.total += 1;
        match task_manager.condition {
            Condition::Active => task_managers.active += 1,
            Condition::Cordoned => task_managers.cordoned += 1,
            Condition::Draining { .. } => task_managers.draining += 1,
            Condition::Drained => task_managers.drained += 1,
            Condition::Lost { .. } => task_managers.lost += 1,
        }
        if !task_manager.is_lost() {
            let counts = slot_counts::count(task_manager);
            slots_total += counts.total;
            slots_free += counts.free;
        }
    }
    let jobs = count(state.jobs().values().filter(|job| job.is_running()).count());
    let pending = state.indexes().pending();
    Overview {
        task_managers,
        slots_total,
        slots_free,
        slots_allocated: count(state.allocations().len()),
        jobs,
        jobs_finished: count(state.jobs().len()) - jobs,
        pending_requirements: count(pending.len()),
        pending_slots: pending.iter().filter_map(|line| pending_slots(state, line)).sum(),
        queues: count(state.queues().len()),
        revision: state.revision(),
        alarms: Vec::new(),
    }
}

fn pending_slots(state: &domain::State, line: &domain::PendingLine) -> Option<u64> {
    let line = state.jobs().get(&line.job)?.requirements.get(&line.requirement)?;
    Some(u64::from(line.pending()))
}

/// A count in memory fits 64 bits.
fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
