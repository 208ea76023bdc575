//! Why no TaskManager takes one more slot, counted.
//!
//! What it promises: every known TaskManager is counted once, so the counts add up; the cost depends on the number of
//! groups, and of sets of labels if the request asks for labels, not on the number of TaskManagers. Of several reasons
//! the first in this order counts: lost, not accepting, a constraint, too small, no free slot, not enough free, spread,
//! start failures, queue, not enough in all. What it must not do: decide.

use std::collections::BTreeMap;

use crate::domain::capacity::{Groups, Seat, Shape, Shared, Standing};
use crate::domain::{Labels, RefusalCount, RefusalReason, TaskManagerId};

use super::trial::Trial;

/// Counts the reasons of a trial that can not go on.
///
/// `is_given_up`: the slots it placed will not be granted, because all were asked for and some are missing.
pub(super) fn reasons(trial: &Trial<'_>, is_given_up: bool) -> Vec<RefusalCount> {
    let mut tally = Tally::default();
    let not_accepting = [Standing::Cordoned, Standing::Draining, Standing::Drained];
    tally.add(RefusalReason::Lost, trial.capacity.totals(Standing::Lost).task_managers);
    for standing in not_accepting {
        tally.add(RefusalReason::NotAccepting, trial.capacity.totals(standing).task_managers);
    }
    count_groups(trial, trial.capacity.open(), &mut tally);
    count_groups(trial, trial.capacity.full(), &mut tally);
    // The groups show everyone as the state has them; those that differ by name or by what they got are put right.
    for (id, seat) in individuals(trial) {
        let in_group = of_group(trial, &seat.shape, &seat.labels);
        tally.move_one(in_group, of_task_manager(trial, id, seat, is_given_up));
    }
    tally.counts()
}

/// Accepting TaskManagers that can not be judged by their group.
fn individuals<'t>(trial: &'t Trial<'_>) -> impl Iterator<Item = (&'t TaskManagerId, &'t Seat)> {
    let named =
        trial.need.only().filter(|id| !trial.touched.contains_key(*id) && !trial.avoided.contains(id));
    // What is avoided was never given a slot.
    let ids = trial.touched.keys().chain(named).chain(trial.avoided.iter());
    ids.filter_map(|id| Some((id, trial.capacity.seat(id)?)))
        .filter(|(_, seat)| seat.standing == Standing::Active)
}

fn count_groups(trial: &Trial<'_>, groups: &Groups, tally: &mut Tally) {
    let is_by_labels = trial.need.asks_for_labels();
    for (shape, group) in groups.iter() {
        if is_by_labels {
            for (labels, ids) in group.by_labels() {
                let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                tally.add(of_group(trial, shape, labels), count);
            }
        } else if let Some((labels, _)) = group.by_labels().next() {
            tally.add(of_group(trial, shape, labels), group.len());
        }
    }
}

/// The reason of TaskManagers that got nothing and that no constraint names.
fn of_group(trial: &Trial<'_>, shape: &Shape, labels: &Shared<Labels>) -> RefusalReason {
    if trial.need.only().is_some() || !trial.need.labels_hold(labels) {
        return RefusalReason::Constraint;
    }
    trial.refusal(shape, labels).unwrap_or(RefusalReason::NotEnoughInAll)
}

fn of_task_manager(trial: &Trial<'_>, id: &TaskManagerId, seat: &Seat, is_given_up: bool) -> RefusalReason {
    if !trial.need.holds(id, &seat.labels) {
        return RefusalReason::Constraint;
    }
    let taken = trial.touched.get(id);
    let reason = trial.refusal(taken.unwrap_or(&seat.shape), &seat.labels);
    match reason.unwrap_or(RefusalReason::NotEnoughInAll) {
        // It refuses because of slots that it will not hold after all.
        RefusalReason::NoFreeSlot | RefusalReason::NotEnoughFree | RefusalReason::Spread
            if taken.is_some() && is_given_up =>
        {
            RefusalReason::NotEnoughInAll
        }
        RefusalReason::QueueMaximum | RefusalReason::QueueStopped | RefusalReason::NotEnoughInAll
            if trial.avoided.contains(id) =>
        {
            RefusalReason::StartFailures
        }
        reason => reason,
    }
}

/// Counts by reason.
#[derive(Default)]
struct Tally(BTreeMap<RefusalReason, u32>);

impl Tally {
    fn add(&mut self, reason: RefusalReason, count: u32) {
        let entry = self.0.entry(reason).or_insert(0);
        *entry = entry.saturating_add(count);
    }

    fn move_one(&mut self, from: RefusalReason, to: RefusalReason) {
        if let Some(count) = self.0.get_mut(&from) {
            *count = count.saturating_sub(1);
        }
        self.add(to, 1);
    }

    fn counts(self) -> Vec<RefusalCount> {
        let counted = self.0.into_iter().filter(|(_, count)| *count > 0);
        counted.map(|(reason, task_managers)| RefusalCount { reason, task_managers }).collect()
    }
}
