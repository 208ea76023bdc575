//! The loop of an agent: the one place where what happened, the time and the decision core meet.
//!
//! Promises: the lease is looked at before anything else that a message asks for, so that an agent that was paused past
//! its deadline stops its work before it starts any; what an answer extends, it extends first. Must not: talk to the
//! cluster or run hooks itself; `contact` and `runner` do. Tested in `tests/agent/`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::config::{AgentConfig, Surroundings};
use super::contact::disowns;
use super::handle::AgentEnd;
use super::lease::Lease;
use super::message::{Message, Position};
use super::runner::Runner;
use super::slots::{Effect, Registration, Slots, Told};
use super::view::{AgentState, AgentView, slot_views};
use super::work::Work;
use crate::api::allocations::Allocation;
use crate::api::task_managers::{HeartbeatAnswer, TaskManagerRegistered};

/// The longest time between two looks at the lease. The clock may be stopped and moved by others (a suspended machine, a
/// test), so the deadline is not left to one long timer.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long the news that this TaskManager leaves may take to reach the cluster.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(5);

/// The loop and what it owns.
pub(super) struct Actor {
    pub(super) config: Arc<AgentConfig>,
    pub(super) surroundings: Surroundings,
    pub(super) inbox: mpsc::Receiver<Message>,
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) position: watch::Sender<Position>,
    pub(super) view: watch::Sender<AgentView>,
    pub(super) runner: Runner,
    /// The tasks that talk to the cluster.
    pub(super) talking: JoinSet<()>,
    /// The task that serves the local socket, if any.
    pub(super) serving: JoinSet<()>,
    pub(super) state: ActorState,
}

/// What the loop remembers.
#[derive(Default)]
pub(super) struct ActorState {
    slots: Slots,
    lease: Lease,
    timeout: Duration,
    /// Whether the lease held at the last look.
    held: bool,
    leaving: Option<Leaving>,
}

struct Leaving {
    /// Until when the work may take to stop.
    until: Instant,
    step: LeavingStep,
    end: AgentEnd,
}

/// What a leaving agent waits for, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeavingStep {
    /// Its work to stop. It keeps its registration meanwhile, so that nobody else gets what still runs.
    Stopping,
    /// The cluster to take the news.
    Deregistering,
    /// Nothing.
    Gone,
}

impl Actor {
    /// Runs until the agent has left.
    pub(super) async fn run(mut self) -> AgentEnd {
        loop {
            self.go_on_leaving();
            self.publish();
            if let Some(end) = self.end() {
                // Waited for, so that the socket file is gone when the agent has ended.
                self.serving.shutdown().await;
                return end;
            }
            let now = self.surroundings.clock.now();
            let look = if self.state.held {
                self.state.lease.remaining(now).min(LOOK_INTERVAL)
            } else {
                LOOK_INTERVAL
            };
            tokio::select! {
                message = self.inbox.recv() => {
                    let message = message.expect("the loop itself holds a sender");
                    self.handle(message);
                }
                () = tokio::time::sleep(look) => self.look_at_lease(),
            }
        }
    }

    fn handle(&mut self, message: Message) {
        let now = self.surroundings.clock.now();
        match &message {
            Message::Registered { sent_at, answer } => {
                self.state.timeout = Duration::from_millis(answer.heartbeat_timeout_ms);
                self.state.lease.answered(*sent_at, self.state.timeout, now);
            }
            Message::HeartbeatAnswered { sent_at, answer, .. } => {
                self.state.lease.answered(*sent_at, Duration::from_millis(answer.deadline_ms), now);
            }
            _ => {}
        }
        self.look_at_lease();
        let effects = self.decide(message);
        self.runner.perform(effects);
    }

    fn decide(&mut self, message: Message) -> Vec<Effect> {
        let slots = &mut self.state.slots;
        match message {
            Message::Registered { answer, .. } => self.registered(&answer),
            Message::HeartbeatAnswered { registration, answer, .. } => {
                self.heartbeat_answered(registration, &answer)
            }
            Message::Assigned(assigned) => {
                let told = Registration { epoch: assigned.epoch.0, generation: assigned.generation.0 };
                self.told(told, &assigned.allocations)
            }
            Message::Disowned { epoch } => {
                slots.disowned(epoch);
                Vec::new()
            }
            Message::Reported { epoch, report } => {
                slots.reported(epoch, report);
                Vec::new()
            }
            Message::StartFinished { id, result } => {
                self.runner.forget_start(id);
                slots.start_finished(id, result)
            }
            Message::StopFinished { id, result } => slots.stop_finished(id, result),
            Message::RegistrationRefused(problem) => self.leave(AgentEnd::Refused(problem)),
            Message::Leave => self.leave(AgentEnd::Left),
            Message::Deregistered => {
                if let Some(leaving) = &mut self.state.leaving {
                    leaving.step = LeavingStep::Gone;
                }
                Vec::new()
            }
        }
    }

    fn registered(&mut self, answer: &TaskManagerRegistered) -> Vec<Effect> {
        let registration = Registration { epoch: answer.epoch.0, generation: answer.generation.0 };
        info!(
            epoch = registration.epoch,
            generation = registration.generation,
            allocations = answer.allocations.len(),
            "registered"
        );
        self.state.slots.registered(registration, works(&answer.allocations))
    }

    fn heartbeat_answered(&mut self, asked: Registration, answer: &HeartbeatAnswer) -> Vec<Effect> {
        if answer.generation.0 < asked.generation {
            // The answer was given after the question came, by a proved leader: the state itself has gone back, as after
            // a restore. Only a registration says what holds now.
            warn!(
                had = asked.generation,
                told = answer.generation.0,
                "the cluster went back; registering again"
            );
            self.state.slots.disowned(asked.epoch);
            return Vec::new();
        }
        match &answer.allocations {
            None => Vec::new(),
            Some(allocations) => {
                let told = Registration { epoch: asked.epoch, generation: answer.generation.0 };
                self.told(told, allocations)
            }
        }
    }

    fn told(&mut self, told: Registration, allocations: &[Allocation]) -> Vec<Effect> {
        match self.state.slots.told(told, works(allocations)) {
            Told::Taken(effects) => effects,
            Told::Refused => {
                info!(
                    epoch = told.epoch,
                    generation = told.generation,
                    "an out-of-date list of allocations is refused"
                );
                Vec::new()
            }
        }
    }

    /// Stops everything when the lease is over, and lets work start when it holds again.
    fn look_at_lease(&mut self) {
        let holds = self.state.lease.holds(self.surroundings.clock.now());
        let effects = match (self.state.held, holds) {
            (true, false) => {
                let slots = self.state.slots.held().len();
                warn!(slots, "no heartbeat was answered in time: the work of all slots is stopped");
                self.state.slots.fence()
            }
            (false, true) => self.state.slots.admit(),
            _ => Vec::new(),
        };
        self.state.held = holds;
        self.runner.perform(effects);
    }

    fn leave(&mut self, end: AgentEnd) -> Vec<Effect> {
        if self.state.leaving.is_some() {
            return Vec::new();
        }
        let until = self.surroundings.clock.now() + self.config.leave_deadline;
        info!(slots = self.state.slots.held().len(), "leaving");
        self.state.leaving = Some(Leaving { until, step: LeavingStep::Stopping, end });
        self.state.slots.leave()
    }

    /// Deregisters as soon as the work has stopped, or may not take longer.
    fn go_on_leaving(&mut self) {
        let stopping = self.state.leaving.as_mut().filter(|leaving| leaving.step == LeavingStep::Stopping);
        let Some(leaving) = stopping else { return };
        let registration = self.state.slots.registration();
        if registration.is_none() {
            // Nothing may register again.
            self.talking.abort_all();
        }
        let is_over = self.surroundings.clock.now() >= leaving.until;
        if !self.state.slots.is_clean() && !is_over {
            return;
        }
        self.talking.abort_all();
        match registration {
            None => leaving.step = LeavingStep::Gone,
            Some(Registration { epoch, .. }) => {
                leaving.step = LeavingStep::Deregistering;
                self.deregister(epoch);
            }
        }
    }

    fn deregister(&mut self, epoch: u64) {
        let client = self.surroundings.client.with_deadline(DEREGISTER_TIMEOUT);
        let messages = self.messages.clone();
        let id = self.config.registration.task_manager_id.to_string();
        self.talking.spawn(async move {
            match client.leave_task_manager(&id, epoch).await {
                Ok(_) => info!(epoch, "deregistered"),
                Err(error) if disowns(&error) => info!(epoch, %error, "the registration was over already"),
                Err(error) => {
                    warn!(%error, "the cluster could not be told; it will find out when the lease runs out");
                }
            }
            let _ = messages.send(Message::Deregistered).await;
        });
    }

    /// How the agent ended, if it has.
    fn end(&self) -> Option<AgentEnd> {
        let leaving = self.state.leaving.as_ref()?;
        if leaving.step != LeavingStep::Gone {
            return None;
        }
        let occupied = self.state.slots.occupying().len();
        Some(if occupied == 0 { leaving.end.clone() } else { AgentEnd::WorkRemains { slots: occupied } })
    }

    fn publish(&self) {
        let slots = &self.state.slots;
        let position =
            Position { registration: slots.registration(), report: slots.report(), held: slots.occupying() };
        self.position.send_if_modified(|current| {
            let changed = *current != position;
            if changed {
                *current = position;
            }
            changed
        });
        let now = self.surroundings.clock.now();
        let lease_ends_at = self.state.held.then(|| now + self.state.lease.remaining(now));
        self.view.send_modify(|view| {
            view.state = self.agent_state();
            view.epoch = slots.registration().map(|registration| registration.epoch);
            view.generation = slots.registration().map(|registration| registration.generation);
            view.lease_ends_at = lease_ends_at;
            view.slots = slot_views(slots);
        });
    }

    fn agent_state(&self) -> AgentState {
        let registered = self.state.slots.registration().is_some();
        match (&self.state.leaving, self.state.held, registered) {
            (Some(_), _, _) => AgentState::Leaving,
            (None, true, true) => AgentState::Registered,
            (None, false, _) if self.state.timeout > Duration::ZERO => AgentState::Fenced,
            (None, _, _) => AgentState::Registering,
        }
    }
}

fn works(allocations: &[Allocation]) -> Vec<Work> {
    allocations.iter().map(Work::from).collect()
}
