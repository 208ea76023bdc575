//! The shape of commands: bounds that the edges check too and that hold here whatever the edges do.
//!
//! What it promises: nothing gets into the state beyond `limits`. What it must not do: look at the state's content.

use super::Transaction;
use crate::domain::constraint::{Constraint, Labels, PlacementRules};
use crate::domain::job::Requirement;
use crate::domain::limits;
use crate::domain::outcome::Rejection;
use crate::domain::resources::ResourceProfile;
use crate::domain::task_manager::Offer;

/// The refusal of a command of the wrong shape.
pub(super) fn invalid(field: &str, problem: &str) -> Rejection {
    Rejection::InvalidCommand { field: field.to_owned(), problem: problem.to_owned() }
}

/// Refuses more than `max` of what `field` holds.
pub(super) fn check_length(field: &str, length: usize, max: usize) -> Result<(), Rejection> {
    if length <= max {
        Ok(())
    } else {
        Err(invalid(field, &format!("at most {max} are allowed, not {length}")))
    }
}

/// Refuses one more if the state holds `max` already.
pub(super) fn check_room(what: &str, present: usize, max: usize) -> Result<(), Rejection> {
    if present < max {
        return Ok(());
    }
    let limit = u64::try_from(max).expect("a limit fits 64 bits");
    Err(Rejection::LimitReached { what: what.to_owned(), limit })
}

/// Refuses labels beyond the limits.
pub(super) fn check_labels(field: &str, labels: &Labels) -> Result<(), Rejection> {
    check_length(field, labels.len(), limits::LABELS_MAX)?;
    labels.values().try_for_each(|value| check_length(field, value.len(), limits::LABEL_VALUE_BYTES_MAX))
}

/// Refuses a profile beyond the limits.
pub(super) fn check_profile(field: &str, profile: &ResourceProfile) -> Result<(), Rejection> {
    check_length(field, profile.extended().len(), limits::EXTENDED_RESOURCES_MAX)
}

/// Refuses an offer that offers nothing, or more than can be counted.
pub(super) fn check_offer(offer: &Offer) -> Result<(), Rejection> {
    check_profile("slot_profile", offer.slot_profile())?;
    match offer {
        Offer::Static { slots, .. } => {
            if !(1..=limits::SLOTS_PER_TASK_MANAGER_MAX).contains(slots) {
                return Err(invalid("slots", &format!("1 to {}", limits::SLOTS_PER_TASK_MANAGER_MAX)));
            }
            let total =
                offer.total().ok_or_else(|| invalid("slot_profile", "all slots together exceed 64 bits"))?;
            check_profile("slot_profile", &total)
        }
        Offer::Dynamic { total, slot_profile } => {
            check_profile("total_profile", total)?;
            match slot_profile.first_exceeding(total) {
                None => Ok(()),
                Some(dimension) => {
                    Err(invalid("slot_profile", &format!("{dimension} exceeds the total profile")))
                }
            }
        }
    }
}

/// Refuses a requirement line that nobody can have meant.
pub(super) fn check_requirement(line: &Requirement) -> Result<(), Rejection> {
    if line.min > line.desired {
        return Err(invalid("requirements.min", "at most `desired`"));
    }
    if line.desired > limits::DESIRED_SLOTS_MAX {
        return Err(invalid("requirements.desired", &format!("at most {}", limits::DESIRED_SLOTS_MAX)));
    }
    if let Some(profile) = &line.profile {
        check_profile("requirements.profile", profile)?;
    }
    check_rules(&line.rules)
}

fn check_rules(rules: &PlacementRules) -> Result<(), Rejection> {
    check_length("constraints", rules.constraints.len(), limits::CONSTRAINTS_MAX)?;
    for constraint in &rules.constraints {
        if let Constraint::Label { values, .. } = constraint {
            check_length("constraints.values", values.len(), limits::CONSTRAINT_VALUES_MAX)?;
            values.iter().try_for_each(|value| {
                check_length("constraints.values", value.len(), limits::LABEL_VALUE_BYTES_MAX)
            })?;
        }
    }
    check_length("prefer.task_managers", rules.prefer.task_managers.len(), limits::CONSTRAINT_VALUES_MAX)?;
    check_labels("prefer.labels", &rules.prefer.labels)
}

/// The reason that an agent gave, cut to what the state keeps.
pub(super) fn cut_reason(reason: &std::sync::Arc<str>) -> std::sync::Arc<str> {
    if reason.len() <= limits::REASON_BYTES_MAX {
        return reason.clone();
    }
    let end = (0..=limits::REASON_BYTES_MAX).rev().find(|end| reason.is_char_boundary(*end));
    std::sync::Arc::from(reason.get(..end.unwrap_or(0)).unwrap_or(""))
}

impl Transaction<'_> {
    /// The number of the revision at work, as the generation of a TaskManager's slots.
    pub(super) fn generation(&self) -> crate::domain::ids::Generation {
        crate::domain::ids::Generation(self.revision.0)
    }
}
