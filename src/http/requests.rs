//! Requests as the domain and the leader take them, checked against the limits.
//!
//! What it promises: what leaves here has the right shape and stays within `domain::limits`, so that bad input never
//! becomes an entry of the log; the refusal names the field. What it must not do: look at the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::refusal::Refusal;
use crate::api::allocations::{ALLOCATION_WAIT_MS_MAX, AllocationMode, AllocationRequest, Preference};
use crate::api::constraints::{Constraint, LabelOperator};
use crate::api::requirements::{PutRequirements, Requirement};
use crate::api::resources::{Ceiling, Profile};
use crate::api::settings::PatchSettings;
use crate::api::task_managers::RegisterTaskManager;
use crate::api::units::INTEGER_MAX;
use crate::domain;
use crate::domain::limits;
use crate::domain::{
    Command, JobId, Name, Offer, PlacementRules, ResourceLimit, ResourceProfile, SettingsPatch, StrategyName,
};
use crate::leader;

/// Refuses more than `max` of what `field` holds.
pub(super) fn check_count(field: &str, count: usize, max: usize) -> Result<(), Refusal> {
    if count <= max {
        return Ok(());
    }
    Err(Refusal::invalid(field, format!("at most {max} are allowed, not {count}")))
}

fn check_range(field: &str, value: u32, range: std::ops::RangeInclusive<u32>) -> Result<(), Refusal> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Refusal::invalid(field, format!("it is {} to {}", range.start(), range.end())))
}

fn check_labels(field: &str, labels: &BTreeMap<Name, String>) -> Result<(), Refusal> {
    check_count(field, labels.len(), limits::LABELS_MAX)?;
    labels.iter().try_for_each(|(key, value)| check_label_value(&format!("{field}.{key}"), value))
}

fn check_label_value(field: &str, value: &str) -> Result<(), Refusal> {
    if value.len() > limits::LABEL_VALUE_BYTES_MAX || value.chars().any(char::is_control) {
        let problem = format!("at most {} bytes without control characters", limits::LABEL_VALUE_BYTES_MAX);
        return Err(Refusal::invalid(field, problem));
    }
    Ok(())
}

/// An address: something to connect to, so neither empty nor with blanks.
pub(super) fn check_address(field: &str, address: &str) -> Result<(), Refusal> {
    let is_visible = |c: char| !c.is_control() && !c.is_whitespace();
    let is_sound =
        (1..=limits::ADDRESS_BYTES_MAX).contains(&address.len()) && address.chars().all(is_visible);
    if is_sound {
        return Ok(());
    }
    Err(Refusal::invalid(field, format!("1 to {} visible characters", limits::ADDRESS_BYTES_MAX)))
}

/// A profile within the limits.
pub(super) fn profile(field: &str, profile: &Profile) -> Result<ResourceProfile, Refusal> {
    check_extended(field, &profile.extended_resources)?;
    Ok(ResourceProfile::from(profile))
}

fn check_extended(field: &str, extended: &BTreeMap<Name, u64>) -> Result<(), Refusal> {
    let field = format!("{field}.extended_resources");
    check_count(&field, extended.len(), limits::EXTENDED_RESOURCES_MAX)?;
    match extended.iter().find(|(_, amount)| **amount > INTEGER_MAX) {
        None => Ok(()),
        Some((name, _)) => Err(Refusal::invalid(format!("{field}.{name}"), format!("at most {INTEGER_MAX}"))),
    }
}

/// A ceiling within the limits.
pub(super) fn ceiling(field: &str, ceiling: &Ceiling) -> Result<ResourceLimit, Refusal> {
    check_extended(field, &ceiling.extended_resources)?;
    Ok(ResourceLimit::from(ceiling))
}

/// A registration.
pub(super) fn registration(request: RegisterTaskManager) -> Result<Command, Refusal> {
    check_address("address", &request.address)?;
    check_labels("labels", &request.labels)?;
    let offer = offer(&request)?;
    Ok(Command::RegisterTaskManager {
        id: request.task_manager_id,
        session: request.session_id,
        address: Arc::from(request.address),
        offer,
        labels: request.labels,
    })
}

/// With a total, slots are cut from it; with a count alone, they are equal.
fn offer(request: &RegisterTaskManager) -> Result<Offer, Refusal> {
    if let Some(slots) = request.slots {
        check_range("slots", slots, 1..=limits::SLOTS_PER_TASK_MANAGER_MAX)?;
    }
    let given = request.slot_profile.as_ref();
    let slot_profile = given.map(|given| profile("slot_profile", given)).transpose()?;
    match (&request.total_profile, request.slots) {
        (None, None) => Err(Refusal::invalid("slots", "`slots` or `total_profile` is needed")),
        (None, Some(slots)) => Ok(Offer::Static { slots, slot_profile: slot_profile.unwrap_or_default() }),
        (Some(total), slots) => {
            let total = profile("total_profile", total)?;
            let slots = u64::from(slots.unwrap_or(1));
            let slot_profile = slot_profile.unwrap_or_else(|| total.divided_by(slots));
            check_share(&total, &slot_profile, slots)?;
            Ok(Offer::Dynamic { total, slot_profile })
        }
    }
}

fn check_share(total: &ResourceProfile, slot_profile: &ResourceProfile, slots: u64) -> Result<(), Refusal> {
    if slot_profile.is_zero() {
        return Err(Refusal::invalid("slot_profile", "a default slot of the total has to have something"));
    }
    let all = slot_profile.checked_mul(slots);
    match all.map(|all| all.first_exceeding(total)) {
        Some(None) => Ok(()),
        Some(Some(dimension)) => {
            Err(Refusal::invalid("slot_profile", format!("{dimension} exceeds the total profile")))
        }
        None => Err(Refusal::invalid("slot_profile", "it exceeds the total profile")),
    }
}

/// An allocation request of `job`.
pub(super) fn allocation(
    job: JobId,
    request: AllocationRequest,
) -> Result<leader::AllocationRequest, Refusal> {
    check_range("slots", request.slots, 1..=limits::SLOTS_PER_REQUEST_MAX)?;
    if request.wait.ms > ALLOCATION_WAIT_MS_MAX {
        return Err(Refusal::invalid("wait", "at most 60s"));
    }
    let profile = request.profile.as_ref().map(|given| profile("profile", given)).transpose()?;
    Ok(leader::AllocationRequest {
        job,
        job_master_id: request.job_master_id,
        slots: request.slots,
        profile,
        mode: match request.mode {
            AllocationMode::AllOrNothing => domain::AllocationMode::AllOrNothing,
            AllocationMode::BestEffort => domain::AllocationMode::BestEffort,
        },
        rules: rules("", request.constraints, request.prefer, request.strategy)?,
        wait_ms: request.wait.ms,
    })
}

/// A declaration of `job`.
pub(super) fn declaration(job: JobId, request: PutRequirements) -> Result<domain::PutRequirements, Refusal> {
    check_count("requirements", request.requirements.len(), limits::REQUIREMENTS_PER_JOB_MAX)?;
    let mut names = BTreeSet::new();
    for (index, line) in request.requirements.iter().enumerate() {
        if !names.insert(line.name.clone()) {
            let problem = format!("`{}` is there twice", line.name);
            return Err(Refusal::invalid(format!("requirements[{index}].name"), problem));
        }
    }
    let lines = request.requirements.into_iter().enumerate().map(|(index, line)| requirement(index, line));
    Ok(domain::PutRequirements {
        job,
        job_master_id: request.job_master_id,
        version: request.version,
        requirements: lines.collect::<Result<_, _>>()?,
    })
}

fn requirement(index: usize, line: Requirement) -> Result<domain::Requirement, Refusal> {
    let within = format!("requirements[{index}].");
    if line.desired > limits::DESIRED_SLOTS_MAX {
        let problem = format!("at most {}", limits::DESIRED_SLOTS_MAX);
        return Err(Refusal::invalid(format!("{within}desired"), problem));
    }
    if line.min > line.desired {
        return Err(Refusal::invalid(format!("{within}min"), "at most `desired`"));
    }
    let given = line.profile.as_ref();
    let profile = given.map(|given| profile(&format!("{within}profile"), given)).transpose()?;
    let rules = rules(&within, line.constraints, line.prefer, line.strategy)?;
    Ok(domain::Requirement { name: line.name, profile, min: line.min, desired: line.desired, rules })
}

/// Where to place; `within` is the path of the object that says so.
fn rules(
    within: &str,
    constraints: Vec<Constraint>,
    prefer: Preference,
    strategy: Option<StrategyName>,
) -> Result<PlacementRules, Refusal> {
    check_count(&format!("{within}constraints"), constraints.len(), limits::CONSTRAINTS_MAX)?;
    for (index, constraint) in constraints.iter().enumerate() {
        if let Constraint::Label { values, .. } = constraint {
            let field = format!("{within}constraints[{index}].values");
            check_count(&field, values.len(), limits::CONSTRAINT_VALUES_MAX)?;
            values.iter().try_for_each(|value| check_label_value(&field, value))?;
        }
    }
    let preferred = format!("{within}prefer.task_managers");
    check_count(&preferred, prefer.task_managers.len(), limits::CONSTRAINT_VALUES_MAX)?;
    check_labels(&format!("{within}prefer.labels"), &prefer.labels)?;
    Ok(PlacementRules {
        constraints: constraints.into_iter().map(constraint).collect(),
        prefer: domain::Preference { task_managers: prefer.task_managers, labels: prefer.labels },
        strategy,
    })
}

fn constraint(constraint: Constraint) -> domain::Constraint {
    match constraint {
        Constraint::Label { label, op, values } => {
            let operator = match op {
                LabelOperator::Equal => domain::LabelOperator::Equal,
                LabelOperator::NotEqual => domain::LabelOperator::NotEqual,
                LabelOperator::In => domain::LabelOperator::In,
                LabelOperator::NotIn => domain::LabelOperator::NotIn,
                LabelOperator::Exists => domain::LabelOperator::Exists,
                LabelOperator::NotExists => domain::LabelOperator::NotExists,
            };
            domain::Constraint::Label { label, operator, values }
        }
        Constraint::SpreadBy { spread_by, max_per } => {
            domain::Constraint::SpreadBy { label: spread_by, per_value_max: max_per }
        }
        Constraint::TaskManager(id) => domain::Constraint::TaskManager(id),
    }
}

/// A change of settings.
pub(super) fn settings_patch(patch: PatchSettings) -> SettingsPatch {
    SettingsPatch {
        strategy: patch.strategy,
        heartbeat_interval_ms: patch.heartbeat_interval.map(|duration| duration.ms),
        heartbeat_timeout_ms: patch.heartbeat_timeout.map(|duration| duration.ms),
        lease_grace_ms: patch.lease_grace.map(|duration| duration.ms),
        expiries_per_second_max: patch.expiries_per_second_max,
        mass_loss_share_percent: patch.mass_loss_share_percent,
        confirm_timeout_ms: patch.confirm_timeout.map(|timeout| timeout.map(|duration| duration.ms)),
        tombstone_retention_ms: patch.tombstone_retention.map(|duration| duration.ms),
        idempotency_retention_ms: patch.idempotency_retention.map(|duration| duration.ms),
        idempotency_keys_max: patch.idempotency_keys_max,
    }
}
