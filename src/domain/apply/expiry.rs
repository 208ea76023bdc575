//! What ends by the state's own clock: drains at their deadline, grants that nobody confirms, tombstones.
//!
//! What it promises: bounded per command; what is left over stays due, so `State::due_at` asks for another command.
//! What it must not do: judge liveness of TaskManagers and jobs, which needs heartbeats.

use super::Transaction;
use crate::domain::allocation::EndReason;
use crate::domain::ids::{JobId, TaskManagerId};
use crate::domain::limits;
use crate::domain::outcome::{Rejection, Reply};

impl Transaction<'_> {
    pub(super) fn expire_due(&mut self) -> Result<Reply, Rejection> {
        let mut count = 0;
        while count < limits::EXPIRED_PER_COMMAND_MAX && self.expire_one() {
            count += 1;
        }
        Ok(Reply::Expired { count: u32::try_from(count).expect("the bound fits 32 bits") })
    }

    /// Ends one thing that is due; `false` if there is none.
    fn expire_one(&mut self) -> bool {
        self.expire_drain() || self.expire_unconfirmed() || self.expire_tombstone()
    }

    fn expire_drain(&mut self) -> bool {
        let now = self.state.now;
        let Some((_, id)) = self.state.indexes.drains.first().filter(|(deadline, _)| *deadline <= now) else {
            return false;
        };
        let record = self.state.task_managers.get(id).expect("a TaskManager that drains is known");
        let (_, allocation) = record.slots.first_key_value().expect("a TaskManager that drains holds a slot");
        self.end_allocation(*allocation, EndReason::DrainDeadline);
        true
    }

    fn expire_unconfirmed(&mut self) -> bool {
        let oldest = self.state.indexes.oldest_unconfirmed(self.state);
        let Some((id, _)) = oldest.filter(|(_, due)| *due <= self.state.now) else { return false };
        self.end_allocation(id, EndReason::ConfirmTimeout);
        true
    }

    fn expire_tombstone(&mut self) -> bool {
        if let Some(id) = self.due_task_manager() {
            self.forget_task_manager(&id);
            return true;
        }
        if let Some(id) = self.due_job() {
            self.forget_job(&id);
            return true;
        }
        false
    }

    fn due_task_manager(&self) -> Option<TaskManagerId> {
        let (since, id) = self.state.indexes.lost.first()?;
        (since.after(self.state.settings.tombstone_retention_ms) <= self.state.now).then(|| id.clone())
    }

    fn due_job(&self) -> Option<JobId> {
        let (at, id) = self.state.indexes.finished.first()?;
        (at.after(self.state.settings.tombstone_retention_ms) <= self.state.now).then(|| id.clone())
    }
}
