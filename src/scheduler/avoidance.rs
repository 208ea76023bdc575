//! Where jobs should not be placed for the time being, although there is room.
//!
//! What it promises: plain sets; asking costs O(log n), and a plan pays for the TaskManagers that its own job avoids and
//! for those that everybody avoids. What it must not do: know why or for how long; whoever fills it does
//! (`leader/start_failures.rs`).

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{JobId, TaskManagerId};

/// TaskManagers to avoid, for one job or for all.
#[derive(Debug, Clone, Default)]
pub struct Avoidance {
    by_job: BTreeMap<JobId, BTreeSet<TaskManagerId>>,
    for_all: BTreeSet<TaskManagerId>,
    changes: u64,
}

/// What one job avoids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avoided<'a> {
    for_job: Option<&'a BTreeSet<TaskManagerId>>,
    for_all: &'a BTreeSet<TaskManagerId>,
}

impl Avoidance {
    /// Keeps `job`, or everybody, away from a TaskManager.
    pub fn avoid(&mut self, task_manager: &TaskManagerId, job: Option<&JobId>) {
        self.changes += 1;
        match job {
            Some(job) => self.by_job.entry(job.clone()).or_default().insert(task_manager.clone()),
            None => self.for_all.insert(task_manager.clone()),
        };
    }

    /// Undoes [`Self::avoid`].
    pub fn allow(&mut self, task_manager: &TaskManagerId, job: Option<&JobId>) {
        self.changes += 1;
        let Some(job) = job else {
            self.for_all.remove(task_manager);
            return;
        };
        if let Some(avoided) = self.by_job.get_mut(job) {
            avoided.remove(task_manager);
            if avoided.is_empty() {
                self.by_job.remove(job);
            }
        }
    }

    /// The TaskManagers that `job` avoids and that not everybody avoids, if there are any.
    pub fn by(&self, job: &JobId) -> Option<&BTreeSet<TaskManagerId>> {
        self.by_job.get(job)
    }

    /// Grows with every change.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn of(&self, job: &JobId) -> Avoided<'_> {
        Avoided { for_job: self.by_job.get(job), for_all: &self.for_all }
    }
}

impl<'a> Avoided<'a> {
    pub(super) fn contains(&self, id: &TaskManagerId) -> bool {
        self.for_all.contains(id) || self.for_job.is_some_and(|avoided| avoided.contains(id))
    }

    /// Each once.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a TaskManagerId> + use<'a> {
        let for_all = self.for_all;
        let of_job = self.for_job.into_iter().flatten().filter(|id| !for_all.contains(*id));
        for_all.iter().chain(of_job)
    }
}
