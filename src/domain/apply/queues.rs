//! Queues: putting and deleting them.
//!
//! What it promises: no queue ever holds more than its maximum, so a maximum below what it holds is refused; the
//! default queue stays. What it must not do: order jobs.

use super::Transaction;
use super::shape::{check_length, check_room};
use crate::domain::event::Event;
use crate::domain::ids::QueueName;
use crate::domain::limits;
use crate::domain::outcome::{Rejection, Reply};
use crate::domain::queue::{Queue, QueuePhase};
use crate::domain::resources::ResourceLimit;
use crate::domain::state::DEFAULT_QUEUE;

impl Transaction<'_> {
    pub(super) fn put_queue(
        &mut self,
        name: &QueueName,
        maximum: &ResourceLimit,
        phase: QueuePhase,
    ) -> Result<Reply, Rejection> {
        check_length("maximum", maximum.extended.len(), limits::EXTENDED_RESOURCES_MAX)?;
        let known = self.state.queues.get(name);
        let created = known.is_none();
        if created {
            check_room("queues", self.state.queues.len(), limits::QUEUES_MAX)?;
        }
        let mut queue = known.cloned().unwrap_or_default();
        if !maximum.admits(&queue.used) {
            return Err(Rejection::QueueAboveMaximum(name.clone()));
        }
        queue = Queue { maximum: maximum.clone(), phase, changed_in: self.revision, ..queue };
        self.state.queues.insert(name.clone(), queue.clone());
        self.events.push(Event::QueuePut { name: name.clone() });
        Ok(Reply::QueuePut { created, queue: Box::new(queue) })
    }

    pub(super) fn delete_queue(&mut self, name: &QueueName) -> Result<Reply, Rejection> {
        let queue = self.state.queues.get(name).ok_or_else(|| Rejection::UnknownQueue(name.clone()))?;
        if name.as_str() == DEFAULT_QUEUE {
            return Err(Rejection::QueueProtected(name.clone()));
        }
        if queue.jobs > 0 {
            return Err(Rejection::QueueInUse(name.clone()));
        }
        self.state.queues.remove(name);
        self.events.push(Event::QueueDeleted { name: name.clone() });
        Ok(Reply::Done)
    }
}
