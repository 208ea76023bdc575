//! What a place must be like: the profile and the rules of one request, apart from who has room.
//!
//! What it promises: every answer depends on the request, on labels and on counts that only grow while the request is
//! planned; so a place that was refused once stays refused until the plan is made. What it must not do: look at free
//! slots; that is the trial's part.

use std::collections::BTreeMap;

use crate::domain::capacity::Capacity;
use crate::domain::{
    AllocationId, Constraint, Labels, Name, PlacementRules, ResourceProfile, State, TaskManagerId,
};

/// One request, as a place sees it.
#[derive(Debug)]
pub(super) struct Need<'a> {
    /// What a slot must have; `None` is the default slot.
    pub(super) wanted: Option<&'a ResourceProfile>,
    rules: &'a PlacementRules,
    spreads: Vec<Spread<'a>>,
}

/// The counts of one `SpreadBy` constraint.
#[derive(Debug)]
struct Spread<'a> {
    label: &'a Name,
    per_value_max: u32,
    counts: BTreeMap<String, u32>,
}

impl<'a> Need<'a> {
    /// A request that already has the slots `held`, which `SpreadBy` counts along.
    pub(super) fn new(
        wanted: Option<&'a ResourceProfile>,
        rules: &'a PlacementRules,
        state: &'a State,
        held: impl Iterator<Item = &'a AllocationId>,
    ) -> Self {
        let spreads = rules.constraints.iter().filter_map(Spread::of).collect();
        let mut need = Self { wanted, rules, spreads };
        if !need.spreads.is_empty() {
            for allocation in held.filter_map(|id| state.allocations().get(id)) {
                if let Some(seat) = state.indexes().capacity().seat(&allocation.task_manager) {
                    need.count(&seat.labels);
                }
            }
        }
        need
    }

    /// The TaskManager that the constraints name, if they name one. If they name several, no TaskManager satisfies
    /// them, and this is one of them.
    pub(super) fn only(&self) -> Option<&'a TaskManagerId> {
        self.rules.constraints.iter().find_map(|constraint| match constraint {
            Constraint::TaskManager(id) => Some(id),
            Constraint::Label { .. } | Constraint::SpreadBy { .. } => None,
        })
    }

    /// Whether labels matter at all to what is allowed.
    pub(super) fn asks_for_labels(&self) -> bool {
        self.rules.constraints.iter().any(|constraint| !matches!(constraint, Constraint::TaskManager(_)))
    }

    /// Whether the constraints hold for a TaskManager with these labels, apart from spreading.
    pub(super) fn holds(&self, id: &TaskManagerId, labels: &Labels) -> bool {
        self.rules.constraints.iter().all(|constraint| constraint.admits(id, labels))
    }

    /// Whether the constraints on labels hold, apart from spreading.
    pub(super) fn labels_hold(&self, labels: &Labels) -> bool {
        self.rules.constraints.iter().all(|constraint| constraint.admits_labels(labels))
    }

    /// Whether every `SpreadBy` allows one more slot where these labels are.
    pub(super) fn spread_allows(&self, labels: &Labels) -> bool {
        self.spreads.iter().all(|spread| spread.allows(labels))
    }

    /// Whether these labels satisfy all constraints, and spreading allows one more slot.
    pub(super) fn admits_labels(&self, labels: &Labels) -> bool {
        self.labels_hold(labels) && self.spread_allows(labels)
    }

    /// Counts one more slot where these labels are.
    pub(super) fn count(&mut self, labels: &Labels) {
        for spread in &mut self.spreads {
            if let Some(value) = labels.get(spread.label) {
                *spread.counts.entry(value.clone()).or_insert(0) += 1;
            }
        }
    }

    /// The TaskManagers that are preferred by name, the most wanted first.
    pub(super) fn preferred(&self) -> &'a [TaskManagerId] {
        &self.rules.prefer.task_managers
    }

    /// How many of the preferred labels are there.
    pub(super) fn rank(&self, labels: &Labels) -> usize {
        let preferred = &self.rules.prefer.labels;
        preferred.iter().filter(|(label, value)| labels.get(*label) == Some(*value)).count()
    }

    /// All ranks that occur, the best first.
    pub(super) fn ranks(&self, capacity: &Capacity) -> Vec<usize> {
        if self.rules.prefer.labels.is_empty() {
            return vec![0];
        }
        let mut ranks: Vec<usize> = capacity.label_sets().map(|labels| self.rank(labels)).collect();
        ranks.sort_unstable_by(|left, right| right.cmp(left));
        ranks.dedup();
        ranks
    }
}

impl<'a> Spread<'a> {
    fn of(constraint: &'a Constraint) -> Option<Self> {
        match constraint {
            Constraint::SpreadBy { label, per_value_max } => {
                Some(Self { label, per_value_max: *per_value_max, counts: BTreeMap::new() })
            }
            Constraint::Label { .. } | Constraint::TaskManager(_) => None,
        }
    }

    fn allows(&self, labels: &Labels) -> bool {
        let taken = |value: &String| self.counts.get(value).copied().unwrap_or(0);
        labels.get(self.label).is_some_and(|value| taken(value) < self.per_value_max)
    }
}
