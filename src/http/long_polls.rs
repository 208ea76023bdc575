//! Who waits for a change of which TaskManager.
//!
//! What it promises: what is applied wakes only those who wait for the TaskManagers that it touches, so thousands of
//! long polls cost a busy cluster nothing; whoever registers before it looks at the state misses no change. What it
//! must not do: know generations; who is woken looks for itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::futures::Notified;

use crate::domain::{Applied, Event, Revision, TaskManagerId};
use crate::replica::Replica;

/// How often to look for revisions that came without a record, as a snapshot from the leader brings them.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// All that wait. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct LongPolls {
    waiting: Arc<Mutex<BTreeMap<TaskManagerId, Waiting>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    notify: Arc<Notify>,
    polls: usize,
}

/// One that waits, until it is dropped.
#[derive(Debug)]
pub(super) struct LongPoll {
    polls: LongPolls,
    id: TaskManagerId,
    notify: Arc<Notify>,
}

impl LongPoll {
    /// Resolves when the TaskManager is touched after this future was enabled.
    pub(super) fn touched(&self) -> Notified<'_> {
        self.notify.notified()
    }
}

impl Drop for LongPoll {
    fn drop(&mut self) {
        let mut waiting = self.polls.waiting();
        if let Some(entry) = waiting.get_mut(&self.id) {
            entry.polls -= 1;
            if entry.polls == 0 {
                waiting.remove(&self.id);
            }
        }
    }
}

impl LongPolls {
    /// Waits for changes of `id` from now on.
    pub(super) fn register(&self, id: &TaskManagerId) -> LongPoll {
        let mut waiting = self.waiting();
        let entry = waiting.entry(id.clone()).or_default();
        entry.polls += 1;
        LongPoll { polls: self.clone(), id: id.clone(), notify: Arc::clone(&entry.notify) }
    }

    /// Wakes whom `replica`'s changes concern. Runs until it is dropped.
    pub(super) async fn follow(self, replica: Replica) {
        let mut applied = replica.subscribe();
        let mut seen = replica.revision();
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            tokio::select! {
                received = applied.recv() => match received {
                    Ok(record) => {
                        self.wake(&record, seen);
                        seen = record.revision;
                    }
                    Err(RecvError::Lagged(_)) => self.wake_all(),
                    Err(RecvError::Closed) => return,
                },
                _ = looks.tick() => {
                    if applied.is_empty() && replica.revision() > seen {
                        seen = replica.revision();
                        self.wake_all();
                    }
                }
            }
        }
    }

    fn wake(&self, record: &Applied, before: Revision) {
        if record.revision != before.next() {
            return self.wake_all();
        }
        let waiting = self.waiting();
        if waiting.is_empty() {
            return;
        }
        for id in record.events.iter().filter_map(touched) {
            if let Some(entry) = waiting.get(id) {
                entry.notify.notify_waiters();
            }
        }
    }

    fn wake_all(&self) {
        self.waiting().values().for_each(|entry| entry.notify.notify_waiters());
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<TaskManagerId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The TaskManager whose allocations an event may have changed.
fn touched(event: &Event) -> Option<&TaskManagerId> {
    match event {
        Event::TaskManagerRegistered { id, .. }
        | Event::TaskManagerChanged { id, .. }
        | Event::TaskManagerRemoved { id }
        | Event::AllocationGranted { task_manager: id, .. }
        | Event::AllocationEnded { task_manager: id, .. } => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn id(name: &str) -> TaskManagerId {
        TaskManagerId::new(name).unwrap()
    }

    fn removal(name: &str, revision: u64) -> Applied {
        let events = vec![Event::TaskManagerRemoved { id: id(name) }];
        Applied { revision: Revision(revision), events, ..Applied::default() }
    }

    #[test]
    fn only_those_whom_it_concerns_are_woken() {
        let polls = LongPolls::default();
        let (one, other) = (polls.register(&id("one")), polls.register(&id("other")));
        let (mut woken, mut asleep) = (Box::pin(one.touched()), Box::pin(other.touched()));
        woken.as_mut().enable();
        asleep.as_mut().enable();
        polls.wake(&removal("one", 2), Revision(1));
        assert!(woken.now_or_never().is_some());
        assert!(asleep.as_mut().now_or_never().is_none());
        polls.wake(&removal("one", 5), Revision(2));
        assert!(asleep.now_or_never().is_some(), "a gap may have touched anybody");
    }

    #[test]
    fn who_no_longer_waits_leaves_nothing_behind() {
        let polls = LongPolls::default();
        let (first, second) = (polls.register(&id("one")), polls.register(&id("one")));
        drop(first);
        assert_eq!(polls.waiting().len(), 1);
        drop(second);
        assert!(polls.waiting().is_empty());
    }
}
