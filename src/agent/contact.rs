//! The tasks of an agent that talk to the cluster: registering and heartbeats, the long poll, reports.
//!
//! Promises: every lease counts from a time that was read before the message was sent; the cluster is asked again, after a
//! pause with jitter, for as long as the agent lives. Must not: decide what an answer means; the loop in `actor` does.
//! Tested in `tests/agent/`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::config::Surroundings;
use super::message::{Message, Position};
use super::slots::{GivenUp, Registration, Report};
use crate::api::ProblemCode;
use crate::api::ids::{AllocationId, Epoch, Generation};
use crate::api::task_managers::{
    Confirm, FailedAllocation, Heartbeat, RegisterTaskManager, TaskManagerRegistered,
};
use crate::client::{Client, ClientError};

/// How long one long poll waits for a change.
const POLL_WAIT: Duration = Duration::from_secs(30);
/// The pause after a call that failed, before jitter.
const PAUSE: Duration = Duration::from_millis(250);

/// What all three tasks need.
#[derive(Clone)]
pub(super) struct Contact {
    pub(super) surroundings: Surroundings,
    pub(super) registration: Arc<RegisterTaskManager>,
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) position: watch::Receiver<Position>,
}

impl Contact {
    fn id(&self) -> &str {
        self.registration.task_manager_id.as_str()
    }

    /// Sends to the loop; false once it has ended.
    async fn tell(&self, message: Message) -> bool {
        self.messages.send(message).await.is_ok()
    }

    /// Waits between half and all of `pause`.
    async fn rest(&self, pause: Duration) {
        tokio::time::sleep(self.jittered(pause, 50)).await;
    }

    /// Between `percent` percent and all of `duration`.
    fn jittered(&self, duration: Duration, percent: u32) -> Duration {
        let share = u32::try_from((self.surroundings.random)() % u64::from(101 - percent)).unwrap_or(0);
        duration * (percent + share) / 100
    }

    /// Registers, sends heartbeats, and registers again whenever the cluster asks for it. Ends with the loop.
    pub(super) async fn stay_registered(mut self) {
        loop {
            let Some(answer) = self.register().await else { return };
            let epoch = answer.epoch.0;
            let interval = Duration::from_millis(answer.heartbeat_interval_ms);
            let timeout = Duration::from_millis(answer.heartbeat_timeout_ms);
            let taken = self.position.wait_for(|position| epoch_of(position) == Some(epoch)).await.is_ok();
            if !taken || !self.keep_alive(epoch, interval, timeout).await {
                return;
            }
            // A cluster that forgets a registration at once is asked again at a bearable rate.
            self.rest(PAUSE).await;
        }
    }

    async fn register(&self) -> Option<TaskManagerRegistered> {
        let client = self.surroundings.client.with_limits(Duration::from_secs(10), Duration::from_secs(2));
        let mut outage = Outage::default();
        loop {
            let sent_at = self.surroundings.clock.now();
            match client.register_task_manager(&self.registration).await {
                Ok(answer) => {
                    outage.over("registered again after an outage");
                    let message = Message::Registered { sent_at, answer: answer.clone() };
                    return self.tell(message).await.then_some(answer);
                }
                Err(ClientError::Refused(problem)) if problem.code == ProblemCode::InvalidRequest => {
                    self.tell(Message::RegistrationRefused(problem)).await;
                    return None;
                }
                Err(error) => outage.goes_on("registering fails", &error),
            }
            if self.messages.is_closed() {
                return None;
            }
            self.rest(PAUSE).await;
        }
    }

    /// Sends heartbeats until the registration is gone (true) or the loop has ended (false).
    async fn keep_alive(&mut self, epoch: u64, interval: Duration, timeout: Duration) -> bool {
        let client = heartbeat_client(&self.surroundings.client, timeout);
        let mut outage = Outage::default();
        loop {
            let pause = self.jittered(interval, 90);
            let lost = self.position.wait_for(|position| epoch_of(position) != Some(epoch));
            match tokio::time::timeout(pause, lost).await {
                Ok(Ok(_lost)) => return true,
                Ok(Err(_ended)) => return false,
                Err(_elapsed) => {}
            }
            let position = self.position.borrow().clone();
            let Some(registration) = position.registration.filter(|now| now.epoch == epoch) else {
                return true;
            };
            let heartbeat = heartbeat(registration, &position);
            let sent_at = self.surroundings.clock.now();
            match client.heartbeat(self.id(), &heartbeat).await {
                Ok(answer) => {
                    outage.over("heartbeats are answered again");
                    if !self.tell(Message::HeartbeatAnswered { registration, sent_at, answer }).await {
                        return false;
                    }
                }
                Err(error) if disowns(&error) => {
                    info!(epoch, %error, "the cluster asks for a new registration");
                    return self.tell(Message::Disowned { epoch }).await;
                }
                Err(error) => outage.goes_on("heartbeats are not answered", &error),
            }
        }
    }

    /// Waits for changes of what should be held, for as long as the agent lives.
    pub(super) async fn follow_assignments(mut self) {
        loop {
            let Ok(registration) = self.registered(|_| true).await else { return };
            let poll =
                self.surroundings.client.assigned_allocations(self.id(), registration.generation, POLL_WAIT);
            let mut moved = self.position.clone();
            let answer = tokio::select! {
                answer = poll => answer,
                // A heartbeat brought the news, or the registration went: the question is out of date.
                _ = moved.wait_for(|position| position.registration != Some(registration)) => continue,
            };
            let news = match answer {
                Ok(assigned) if assigned.generation.0 == registration.generation => continue,
                Ok(assigned) => Message::Assigned(assigned),
                Err(error) => {
                    // Also when the registration seems to be unknown: a replica that lags behind may answer long polls,
                    // so only heartbeats and reports, which the leader answers, decide about that.
                    debug!(%error, "the long poll failed");
                    self.rest(PAUSE).await;
                    continue;
                }
            };
            if !self.tell(news).await {
                return;
            }
            // What the loop refuses (an older generation) would be answered again at once.
            let taken = self.position.wait_for(|position| position.registration != Some(registration));
            let _ = tokio::time::timeout(PAUSE, taken).await;
        }
    }

    /// Tells the cluster what runs and what does not, whenever there is something to tell.
    pub(super) async fn send_reports(mut self) {
        loop {
            let Ok(registration) = self.registered(|position| !position.report.is_empty()).await else {
                return;
            };
            let report = self.position.borrow().report.clone();
            let news =
                match self.surroundings.client.confirm(self.id(), &confirm(registration, &report)).await {
                    Ok(_) => Message::Reported { epoch: registration.epoch, report: report.clone() },
                    Err(error) if disowns(&error) => Message::Disowned { epoch: registration.epoch },
                    Err(error) => {
                        warn!(%error, cause = error.cause(), "a report is not taken");
                        self.rest(PAUSE * 4).await;
                        continue;
                    }
                };
            if !self.tell(news).await {
                return;
            }
            let taken = self.position.wait_for(|position| {
                position.report != report || position.registration != Some(registration)
            });
            let _ = tokio::time::timeout(PAUSE, taken).await;
        }
    }

    /// Waits until there is a registration and `ready` holds.
    async fn registered(
        &mut self,
        ready: impl Fn(&Position) -> bool,
    ) -> Result<Registration, watch::error::RecvError> {
        let position =
            self.position.wait_for(|position| position.registration.is_some() && ready(position)).await?;
        Ok(position.registration.expect("it was waited for"))
    }
}

fn epoch_of(position: &Position) -> Option<u64> {
    position.registration.map(|registration| registration.epoch)
}

/// Limits that leave time for a second and a third try within the lease.
fn heartbeat_client(client: &Client, timeout: Duration) -> Client {
    let within = |share: u32, least_ms, most_ms| {
        (timeout / share).clamp(Duration::from_millis(least_ms), Duration::from_millis(most_ms))
    };
    client.with_limits(within(2, 400, 10_000), within(5, 200, 3_000))
}

/// A heartbeat that says what is held as of the generation that it names.
fn heartbeat(registration: Registration, position: &Position) -> Heartbeat {
    Heartbeat {
        epoch: Epoch(registration.epoch),
        generation: Generation(registration.generation),
        held: Some(position.held.iter().copied().map(AllocationId).collect()),
    }
}

fn confirm(registration: Registration, report: &Report) -> Confirm {
    let failed = report.failed.iter().map(|(id, GivenUp { cause, reason })| FailedAllocation {
        allocation_id: AllocationId(*id),
        reason: reason.clone(),
        cause: *cause,
    });
    Confirm {
        epoch: Epoch(registration.epoch),
        allocation_ids: report.started.iter().copied().map(AllocationId).collect(),
        failed: failed.collect(),
    }
}

/// Whether the answer asks for a new registration.
pub(super) fn disowns(error: &ClientError) -> bool {
    matches!(error.code(), Some(ProblemCode::UnknownTaskManager | ProblemCode::StaleEpoch))
}

/// Logs the first failure of a row and its end, not every repetition.
#[derive(Default)]
struct Outage {
    lasts: bool,
}

impl Outage {
    fn goes_on(&mut self, what: &str, error: &ClientError) {
        let cause = error.cause();
        if self.lasts {
            debug!(%error, cause, "{what}");
        } else {
            warn!(%error, cause, "{what}");
        }
        self.lasts = true;
    }

    fn over(&mut self, what: &str) {
        if std::mem::take(&mut self.lasts) {
            info!("{what}");
        }
    }
}
