//! Runs the hooks of an agent, each in a task of its own.
//!
//! Promises: the stop of a piece of work begins only after its start has ended or was broken off; each end is told to the
//! loop. Must not: decide what runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tracing::{info, warn};
use uuid::Uuid;

use super::hooks::Hooks;
use super::message::Message;
use super::slots::Effect;
use super::work::{StopReason, Work};

/// The hooks that run now.
pub(super) struct Runner {
    hooks: Arc<dyn Hooks>,
    messages: mpsc::Sender<Message>,
    stop_retry_pause: Duration,
    starts: BTreeMap<Uuid, JoinHandle<()>>,
    /// Dropped with the runner, which breaks off every stop that is under way.
    stops: JoinSet<()>,
}

impl Runner {
    pub(super) fn new(
        hooks: Arc<dyn Hooks>,
        messages: mpsc::Sender<Message>,
        stop_retry_pause: Duration,
    ) -> Self {
        Self { hooks, messages, stop_retry_pause, starts: BTreeMap::new(), stops: JoinSet::new() }
    }

    /// Does what the decision core asks for.
    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Start(work) => self.start(work),
                Effect::Stop(work, reason) => self.stop(work, reason, Duration::ZERO),
                Effect::StopAgain(work, reason) => self.stop(work, reason, self.stop_retry_pause),
            }
        }
        while self.stops.try_join_next().is_some() {}
    }

    /// The start of `id` has ended.
    pub(super) fn forget_start(&mut self, id: Uuid) {
        self.starts.remove(&id);
    }

    fn start(&mut self, work: Arc<Work>) {
        let (hooks, messages, id) = (Arc::clone(&self.hooks), self.messages.clone(), work.allocation_id);
        info!(allocation = %id, job = work.job_id, slot = work.slot_index, token = work.fencing_token, "starting work");
        let task = tokio::spawn(async move {
            let result = hooks.start(&work).await.map_err(|failure| failure.to_string());
            if let Err(reason) = &result {
                warn!(allocation = %id, reason, "work did not start");
            }
            // A closed channel means that the agent has ended.
            let _ = messages.send(Message::StartFinished { id, result }).await;
        });
        self.starts.insert(id, task);
    }

    fn stop(&mut self, work: Arc<Work>, reason: StopReason, pause: Duration) {
        let (hooks, messages, id) = (Arc::clone(&self.hooks), self.messages.clone(), work.allocation_id);
        info!(allocation = %id, job = work.job_id, slot = work.slot_index, %reason, "stopping work");
        let start = self.starts.remove(&id);
        self.stops.spawn(async move {
            if let Some(start) = start {
                start.abort();
                // The error says that it was broken off.
                let _ = start.await;
            }
            tokio::time::sleep(pause).await;
            let result = hooks.stop(&work, reason).await.map_err(|failure| failure.to_string());
            if let Err(problem) = &result {
                warn!(allocation = %id, problem, "work did not stop; the slot takes nothing new until it has");
            }
            let _ = messages.send(Message::StopFinished { id, result }).await;
        });
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.starts.values().map(JoinHandle::abort_handle).for_each(|start: AbortHandle| start.abort());
    }
}
