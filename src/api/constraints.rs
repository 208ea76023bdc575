//! Constraints of a placement: one object per condition, told apart by its members.
//!
//! What it promises: `{label, op, values}`, `{spread_by, max_per}` or `{task_manager}`, and nothing in between; an
//! operator has exactly the values that it needs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::objects::object_only;
use crate::domain::ids::{Name, TaskManagerId};

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum LabelOperator {
    /// Present, with exactly the one value.
    #[serde(rename = "=")]
    Equal,
    /// Absent, or with another value.
    #[serde(rename = "!=")]
    NotEqual,
    /// Present, with one of the values.
    #[serde(rename = "in")]
    In,
    /// Absent, or with none of the values.
    #[serde(rename = "not_in")]
    NotIn,
    /// Present.
    #[serde(rename = "exists")]
    Exists,
    /// Absent.
    #[serde(rename = "not_exists")]
    NotExists,
}

/// One condition; all conditions of a request must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ConstraintMembers", into = "ConstraintMembers")]
pub enum Constraint {
    /// About a label of the TaskManager.
    Label {
        /// The label's key.
        label: Name,
        /// How it is compared.
        op: LabelOperator,
        /// With what.
        values: Vec<String>,
    },
    /// At most so many allocations of the job (or requirement line) per value of the label.
    SpreadBy {
        /// The label's key.
        spread_by: Name,
        /// The most per value, at least 1.
        max_per: u32,
    },
    /// On this TaskManager.
    TaskManager(TaskManagerId),
}

/// A constraint as it is written: `{label, op, values}`, `{spread_by, max_per}` or `{task_manager}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[serde(default, deny_unknown_fields)]
#[schema(as = Constraint, example = json!({"label": "zone", "op": "in", "values": ["a", "b"]}))]
pub struct ConstraintMembers {
    /// The label's key; with `op`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub label: Option<Name>,
    /// How the label is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op: Option<LabelOperator>,
    /// With what: one value for `=` and `!=`, at least one for `in` and `not_in`, none for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
    /// The label whose values share `max_per`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub spread_by: Option<Name>,
    /// The most allocations per value of `spread_by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per: Option<u32>,
    /// Only on this TaskManager.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub task_manager: Option<TaskManagerId>,
}

object_only! { ConstraintMembers }

/// Members that do not make one condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// Not one of the three forms.
    #[error("a constraint is {{label, op, values}} or {{spread_by, max_per}} or {{task_manager}}")]
    Form,
    /// `=` and `!=` compare with one value.
    #[error("`=` and `!=` take exactly one of `values`")]
    OneValue,
    /// `in` and `not_in` compare with a list.
    #[error("`in` and `not_in` take at least one of `values`")]
    SomeValues,
    /// `exists` and `not_exists` compare with nothing.
    #[error("`exists` and `not_exists` take no `values`")]
    NoValues,
    /// A spread of none allows nothing at all.
    #[error("`max_per` is at least 1")]
    MaxPer,
}

impl TryFrom<ConstraintMembers> for Constraint {
    type Error = ConstraintError;

    fn try_from(members: ConstraintMembers) -> Result<Self, ConstraintError> {
        let ConstraintMembers { label, op, values, spread_by, max_per, task_manager } = members;
        match (label, op, values, spread_by, max_per, task_manager) {
            (Some(label), Some(op), values, None, None, None) => {
                let values = values.unwrap_or_default();
                check_values(op, values.len())?;
                Ok(Self::Label { label, op, values })
            }
            (None, None, None, Some(_), Some(0), None) => Err(ConstraintError::MaxPer),
            (None, None, None, Some(spread_by), Some(max_per), None) => {
                Ok(Self::SpreadBy { spread_by, max_per })
            }
            (None, None, None, None, None, Some(id)) => Ok(Self::TaskManager(id)),
            _ => Err(ConstraintError::Form),
        }
    }
}

fn check_values(op: LabelOperator, count: usize) -> Result<(), ConstraintError> {
    match op {
        LabelOperator::Equal | LabelOperator::NotEqual if count != 1 => Err(ConstraintError::OneValue),
        LabelOperator::In | LabelOperator::NotIn if count == 0 => Err(ConstraintError::SomeValues),
        LabelOperator::Exists | LabelOperator::NotExists if count != 0 => Err(ConstraintError::NoValues),
        _ => Ok(()),
    }
}

impl From<Constraint> for ConstraintMembers {
    fn from(constraint: Constraint) -> Self {
        match constraint {
            Constraint::Label { label, op, values } => {
                let values = (!values.is_empty()).then_some(values);
                Self { label: Some(label), op: Some(op), values, ..Self::default() }
            }
            Constraint::SpreadBy { spread_by, max_per } => {
                Self { spread_by: Some(spread_by), max_per: Some(max_per), ..Self::default() }
            }
            Constraint::TaskManager(id) => Self { task_manager: Some(id), ..Self::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read_and_written_alike() {
        for json in [
            r#"{"label":"zone","op":"=","values":["a"]}"#,
            r#"{"label":"gpu","op":"not_exists"}"#,
            r#"{"spread_by":"rack","max_per":2}"#,
            r#"{"task_manager":"tm-1"}"#,
        ] {
            let constraint: Constraint = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&constraint).unwrap(), json);
        }
    }

    #[test]
    fn what_is_none_of_the_three_forms_is_refused() {
        for json in [
            "{}",
            r#"{"label":"zone"}"#,
            r#"{"label":"zone","op":"=","values":["a","b"]}"#,
            r#"{"label":"zone","op":"in","values":[]}"#,
            r#"{"label":"zone","op":"exists","values":["a"]}"#,
            r#"{"label":"zone","op":"like","values":["a"]}"#,
            r#"{"spread_by":"rack","max_per":0}"#,
            r#"{"spread_by":"rack"}"#,
            r#"{"task_manager":"tm-1","label":"zone","op":"exists"}"#,
        ] {
            assert!(serde_json::from_str::<Constraint>(json).is_err(), "{json} is taken");
        }
    }
}
