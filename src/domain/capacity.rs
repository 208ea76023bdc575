//! Which TaskManagers take new slots.
//!
//! What it promises: only TaskManagers that accept are listed. What it must not do: decide; it only finds.

use std::collections::BTreeSet;

use super::ids::TaskManagerId;
use super::task_manager::TaskManager;

/// The TaskManagers that take new slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    accepting: BTreeSet<TaskManagerId>,
}

impl Capacity {
    /// Lists a TaskManager that was not listed.
    pub fn insert(&mut self, id: &TaskManagerId, task_manager: &TaskManager) {
        self.update(id, task_manager);
    }

    /// Takes a TaskManager out.
    pub fn remove(&mut self, id: &TaskManagerId) {
        self.accepting.remove(id);
    }

    /// Lists a TaskManager as it is now.
    pub fn update(&mut self, id: &TaskManagerId, task_manager: &TaskManager) {
        if task_manager.is_accepting() {
            self.accepting.insert(id.clone());
        } else {
            self.accepting.remove(id);
        }
    }
}
