//! Domain values as answers show them.
//!
//! What it promises: one place per shape, used by reads and by the answers of writes alike. What it must not do: look
//! anything up; what is shown comes in.

use crate::api::allocations::{Allocation, AllocationState, Ended, EndedAllocation};
use crate::api::constraints::{Constraint, LabelOperator};
use crate::api::jobs::{Job, JobEndReason, JobState};
use crate::api::queues::{Queue, QueueState};
use crate::api::resources::{Ceiling, Profile, Used};
use crate::api::settings::{SettingValues, Settings};
use crate::api::task_managers::TaskManagerState;
use crate::api::units::{DurationText, Timestamp};
use crate::domain;
use crate::domain::{
    AllocationPhase, Condition, EndReason, Grant, JobEnd, JobId, JobPhase, JobSummary, LogicalTime,
    QueueName, QueuePhase,
};

/// A time of the state.
pub(super) fn timestamp(time: LogicalTime) -> Timestamp {
    Timestamp { unix_ms: time.0 }
}

/// A living allocation.
pub(super) fn allocation(grant: &Grant) -> Allocation {
    Allocation {
        allocation_id: grant.id,
        job_id: grant.job.clone(),
        task_manager_id: grant.task_manager.clone(),
        address: grant.address.to_string(),
        slot_index: grant.slot_index,
        profile: Profile::from(&*grant.profile),
        fencing_token: grant.fencing_token,
        state: allocation_state(grant.phase),
        requirement: grant.requirement.clone(),
    }
}

/// Living allocations.
pub(super) fn allocations(grants: &[Grant]) -> Vec<Allocation> {
    grants.iter().map(allocation).collect()
}

pub(super) fn allocation_state(phase: AllocationPhase) -> AllocationState {
    match phase {
        AllocationPhase::Pending => AllocationState::Pending,
        AllocationPhase::Active => AllocationState::Active,
    }
}

/// An allocation that ended.
pub(super) fn ended_allocation(ended: &domain::EndedAllocation) -> EndedAllocation {
    let reason_detail = match &ended.reason {
        EndReason::StartFailed(text) => Some(text.to_string()),
        _ => None,
    };
    EndedAllocation {
        allocation_id: ended.id,
        job_id: ended.job.clone(),
        task_manager_id: ended.task_manager.clone(),
        slot_index: ended.slot_index,
        fencing_token: ended.fencing_token,
        state: Ended::Ended,
        reason: ended.reason.code().to_owned(),
        reason_detail,
        ended_at: timestamp(ended.ended_at),
        ended_in_revision: ended.ended_in,
    }
}

pub(super) fn task_manager_state(condition: Condition) -> TaskManagerState {
    match condition {
        Condition::Active => TaskManagerState::Active,
        Condition::Cordoned => TaskManagerState::Cordoned,
        Condition::Draining { .. } => TaskManagerState::Draining,
        Condition::Drained => TaskManagerState::Drained,
        Condition::Lost { .. } => TaskManagerState::Lost,
    }
}

pub(super) fn job_state(phase: JobPhase) -> JobState {
    match phase {
        JobPhase::Running => JobState::Running,
        JobPhase::Finished { .. } => JobState::Finished,
    }
}

/// A job.
pub(super) fn job(id: &JobId, job: &JobSummary) -> Job {
    let (finished_at, end_reason) = match job.phase {
        JobPhase::Running => (None, None),
        JobPhase::Finished { at, reason: JobEnd::Deleted } => {
            (Some(timestamp(at)), Some(JobEndReason::Deleted))
        }
        JobPhase::Finished { at, reason: JobEnd::LeaseExpired } => {
            (Some(timestamp(at)), Some(JobEndReason::LeaseExpired))
        }
    };
    Job {
        job_id: id.clone(),
        queue: job.queue.clone(),
        priority: job.priority,
        state: job_state(job.phase),
        end_reason,
        finished_at,
        job_master_id: job.job_master_id.clone(),
        lease_ms: job.lease_ms,
        epoch: job.epoch,
        requirements_version: job.requirements_version,
        slots_allocated: job.usage.slots,
        slots_pending: job.pending,
        used: Used::from(&job.usage),
        created_at: timestamp(job.created_at),
    }
}

pub(super) fn queue_state(phase: QueuePhase) -> QueueState {
    match phase {
        QueuePhase::Running => QueueState::Running,
        QueuePhase::Stopped => QueueState::Stopped,
    }
}

/// A queue; `pending` is what the requirements of its jobs lack.
pub(super) fn queue(name: &QueueName, queue: &domain::Queue, pending: u64) -> Queue {
    Queue {
        name: name.clone(),
        maximum: Ceiling::from(&queue.maximum),
        state: queue_state(queue.phase),
        used: Used::from(&queue.used),
        pending,
        jobs: queue.jobs,
        changed_in_revision: queue.changed_in,
    }
}

/// A constraint.
pub(super) fn constraint(constraint: &domain::Constraint) -> Constraint {
    match constraint {
        domain::Constraint::Label { label, operator, values } => {
            let op = match operator {
                domain::LabelOperator::Equal => LabelOperator::Equal,
                domain::LabelOperator::NotEqual => LabelOperator::NotEqual,
                domain::LabelOperator::In => LabelOperator::In,
                domain::LabelOperator::NotIn => LabelOperator::NotIn,
                domain::LabelOperator::Exists => LabelOperator::Exists,
                domain::LabelOperator::NotExists => LabelOperator::NotExists,
            };
            Constraint::Label { label: label.clone(), op, values: values.clone() }
        }
        domain::Constraint::SpreadBy { label, per_value_max } => {
            Constraint::SpreadBy { spread_by: label.clone(), max_per: *per_value_max }
        }
        domain::Constraint::TaskManager(id) => Constraint::TaskManager(id.clone()),
    }
}

fn setting_values(settings: &domain::Settings) -> SettingValues {
    let duration = |ms| DurationText { ms };
    SettingValues {
        strategy: settings.strategy.clone(),
        heartbeat_interval: duration(settings.heartbeat_interval_ms),
        heartbeat_timeout: duration(settings.heartbeat_timeout_ms),
        lease_grace: duration(settings.lease_grace_ms),
        expiries_per_second_max: settings.expiries_per_second_max,
        mass_loss_share_percent: settings.mass_loss_share_percent,
        confirm_timeout: settings.confirm_timeout_ms.map(duration),
        tombstone_retention: duration(settings.tombstone_retention_ms),
        idempotency_retention: duration(settings.idempotency_retention_ms),
        idempotency_keys_max: settings.idempotency_keys_max,
    }
}

/// The ranges of the settings, in the words of `domain::Settings::patched`, which checks them. That of the strategy is
/// what is registered.
const SETTING_RANGES: [(&str, &str); 9] = [
    ("heartbeat_interval", "50ms to 1m"),
    ("heartbeat_timeout", "at least three heartbeat intervals and at most 1h"),
    ("lease_grace", "at most 10m"),
    ("expiries_per_second_max", "at least 1"),
    ("mass_loss_share_percent", "1 to 100"),
    ("confirm_timeout", "at least 1s, or none"),
    ("tombstone_retention", "any duration"),
    ("idempotency_retention", "at least 15m"),
    ("idempotency_keys_max", "1000 to 4000000"),
];

/// The settings with defaults, ranges and the revisions of their last `changes`; `strategies` are the names that are registered.
pub(super) fn settings<'a>(
    settings: &domain::Settings,
    changes: &domain::SettingChanges,
    strategies: impl Iterator<Item = &'a str>,
) -> Settings {
    let ranges = SETTING_RANGES.iter().map(|(name, range)| ((*name).to_owned(), (*range).to_owned()));
    let strategies = strategies.collect::<Vec<_>>().join(", ");
    let strategy = ("strategy".to_owned(), format!("one of {strategies}"));
    let names = SETTING_RANGES.iter().map(|(name, _)| *name).chain(["strategy"]);
    let changed_in = names.map(|name| (name.to_owned(), changes.revision_of(name))).collect();
    Settings {
        values: setting_values(settings),
        changed_in_revision: settings.changed_in,
        changed_in_revisions: changed_in,
        defaults: setting_values(&domain::Settings::default()),
        ranges: ranges.chain([strategy]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SettingsPatch;

    #[test]
    fn the_ranges_that_are_shown_are_those_that_are_checked() {
        let shown =
            settings(&domain::Settings::default(), &domain::SettingChanges::default(), std::iter::empty())
                .ranges;
        let nothing = SettingsPatch::default;
        for patch in [
            SettingsPatch { heartbeat_interval_ms: Some(1), ..nothing() },
            SettingsPatch { heartbeat_timeout_ms: Some(1), ..nothing() },
            SettingsPatch { lease_grace_ms: Some(u64::MAX), ..nothing() },
            SettingsPatch { expiries_per_second_max: Some(0), ..nothing() },
            SettingsPatch { mass_loss_share_percent: Some(0), ..nothing() },
            SettingsPatch { confirm_timeout_ms: Some(Some(1)), ..nothing() },
            SettingsPatch { idempotency_retention_ms: Some(1), ..nothing() },
            SettingsPatch { idempotency_keys_max: Some(1), ..nothing() },
        ] {
            let error = domain::Settings::default().patched(&patch).unwrap_err();
            assert_eq!(shown.get(&error.setting), Some(&error.range));
        }
    }
}
