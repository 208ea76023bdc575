//! What must hold for a placement, and what merely ranks it.
//!
//! What it promises: `Constraint::admits` is the one place that decides whether a TaskManager's labels satisfy a
//! constraint. What it must not do: look at anything but the TaskManager at hand; counting over a job's allocations
//! (`SpreadBy`) is the planner's part.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{Name, StrategyName, TaskManagerId};

/// Labels of a TaskManager.
pub type Labels = BTreeMap<Name, String>;

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabelOperator {
    /// Present, with exactly the one value.
    Equal,
    /// Absent, or with another value.
    NotEqual,
    /// Present, with one of the values.
    In,
    /// Absent, or with none of the values.
    NotIn,
    /// Present.
    Exists,
    /// Absent.
    NotExists,
}

/// One condition; all conditions of a request must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Constraint {
    /// About a label of the TaskManager.
    Label {
        /// The label's key.
        label: Name,
        /// How it is compared.
        operator: LabelOperator,
        /// With what.
        values: Vec<String>,
    },
    /// At most so many allocations of the same job (or requirement line) on TaskManagers that share a value of `label`.
    /// TaskManagers without the label do not qualify.
    SpreadBy {
        /// The label's key.
        label: Name,
        /// The most allocations per value.
        per_value_max: u32,
    },
    /// On this TaskManager.
    TaskManager(TaskManagerId),
}

impl Constraint {
    /// Whether the TaskManager itself satisfies the constraint. `SpreadBy` asks here only that the label exists.
    pub fn admits(&self, id: &TaskManagerId, labels: &Labels) -> bool {
        match self {
            Self::TaskManager(wanted) => wanted == id,
            Self::SpreadBy { .. } | Self::Label { .. } => self.admits_labels(labels),
        }
    }

    /// As [`Constraint::admits`], as far as the labels tell: a constraint that names a TaskManager does not refuse here.
    pub fn admits_labels(&self, labels: &Labels) -> bool {
        match self {
            Self::TaskManager(_) => true,
            Self::SpreadBy { label, .. } => labels.contains_key(label),
            Self::Label { label, operator, values } => {
                let value = labels.get(label);
                let listed = value.is_some_and(|value| values.contains(value));
                match operator {
                    LabelOperator::Equal | LabelOperator::In => listed,
                    LabelOperator::NotEqual | LabelOperator::NotIn => !listed,
                    LabelOperator::Exists => value.is_some(),
                    LabelOperator::NotExists => value.is_none(),
                }
            }
        }
    }
}

/// What ranks TaskManagers before the strategy does; it never refuses one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// These TaskManagers first.
    pub task_managers: Vec<TaskManagerId>,
    /// Then those with the most of these labels.
    pub labels: Labels,
}

/// How a request wants to be placed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementRules {
    /// All of these must hold.
    pub constraints: Vec<Constraint>,
    /// What ranks.
    pub prefer: Preference,
    /// The strategy; `None` is the one of the settings.
    pub strategy: Option<StrategyName>,
}
