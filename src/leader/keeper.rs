//! The leases of one leadership session, kept in step with the applied state, and the answers to heartbeats.
//!
//! What it promises: a heartbeat is answered from the applied state and only while no verdict on its sender is on its
//! way; a lease exists for every TaskManager that is not lost and for every running job with a lease. What it must not
//! do: answer a heartbeat that no read barrier followed (`heartbeats.rs` brings it), or decide how many may be lost at
//! once (`verdicts.rs` does). Locks: leases first, then the state, both for microseconds.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::held::{self, Suspicions};
use super::leases::{Leases, Renewal};
use crate::domain::{
    AllocationId, Epoch, Event, Generation, Grant, Job, JobId, JobMasterId, Rejection, Revision, Settings,
    State, TaskManager, TaskManagerId,
};
use crate::replica::Replica;

/// A TaskManager's report that it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Which.
    pub id: TaskManagerId,
    /// In which registration.
    pub epoch: Epoch,
    /// The last version of its allocations that it has seen.
    pub generation: Generation,
    /// What it holds, if it says so.
    pub held: Option<BTreeSet<AllocationId>>,
}

/// What a TaskManager is told.
#[derive(Debug, Clone, PartialEq)]
pub struct HeartbeatAnswer {
    /// The version of its allocations.
    pub generation: Generation,
    /// How long it may go on without another answer, counted from when it sent the heartbeat.
    pub deadline_ms: u64,
    /// What it should hold, if that changed since the generation that it named, or if it holds more.
    pub allocations: Option<Vec<Grant>>,
    /// The revision of the answer.
    pub revision: Revision,
}

/// What happened to the holders of leases in one round.
#[derive(Debug, Default)]
pub(super) struct Touched {
    task_managers: BTreeSet<TaskManagerId>,
    jobs: BTreeSet<JobId>,
}

impl Touched {
    /// The holders that `events` speak of.
    pub(super) fn by(events: &[Event]) -> Self {
        let mut touched = Self::default();
        for event in events {
            match event {
                Event::TaskManagerRegistered { id, .. }
                | Event::TaskManagerChanged { id, .. }
                | Event::TaskManagerRemoved { id } => {
                    touched.task_managers.insert(id.clone());
                }
                Event::JobPut { id } | Event::JobFinished { id, .. } | Event::JobForgotten { id } => {
                    touched.jobs.insert(id.clone());
                }
                _ => {}
            }
        }
        touched
    }

    fn is_empty(&self) -> bool {
        self.task_managers.is_empty() && self.jobs.is_empty()
    }
}

/// The leases, behind one lock.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) task_managers: Leases<TaskManagerId>,
    pub(super) jobs: Leases<JobId>,
    /// The timeout in force when leases were looked at last.
    timeout: Duration,
}

impl Held {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { task_managers: Leases::new(), jobs: Leases::new(), timeout }
    }

    /// Takes in the timeout that was in force before `now`. The answer to a registration tells the timeout of its own
    /// moment, so that one which has been raised since the registration may be told for a lease that is shorter.
    pub(super) fn note_timeout(&mut self, timeout: Duration, now: Instant) {
        if timeout > self.timeout {
            self.task_managers.spare_all(now + timeout);
        }
        self.timeout = timeout;
    }
}

/// The leases of one session.
#[derive(Debug)]
pub(super) struct LeaseKeeper {
    replica: Replica,
    held: Mutex<Held>,
    suspicions: Mutex<Suspicions>,
    /// Notified when a verdict became known.
    verdict_known: Notify,
}

/// How long a silent TaskManager keeps its slots.
pub(super) fn timeout(settings: &Settings) -> Duration {
    Duration::from_millis(settings.heartbeat_timeout_ms)
}

fn lease_of(job: &Job) -> Option<Duration> {
    job.lease_ms.filter(|_| job.is_running()).map(Duration::from_millis)
}

impl LeaseKeeper {
    /// Leases for everybody in `state`, with full time and grace from `now`; also for those who were told a longer time
    /// than the one in force by a leader before.
    pub(super) fn begin(replica: Replica, state: &State, now: Instant) -> Self {
        let grace = Duration::from_millis(state.settings().lease_grace_ms);
        let promised = Duration::from_millis(state.promised_timeout_ms());
        let mut held = Held::new(timeout(state.settings()));
        for (id, task_manager) in state.task_managers() {
            if !task_manager.is_lost() {
                held.task_managers.start(id, task_manager.epoch, now + promised + grace);
            }
        }
        for (id, job) in state.jobs() {
            if let Some(lease) = lease_of(job) {
                held.jobs.start(id, job.epoch, now + lease + grace);
            }
        }
        Self { replica, held: Mutex::new(held), suspicions: Mutex::default(), verdict_known: Notify::new() }
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn suspicions(&self) -> MutexGuard<'_, Suspicions> {
        self.suspicions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not held after all, now that a heartbeat which left it out is answered; as `Suspicions::note`.
    pub(super) fn not_held(
        &self,
        heartbeat: &Heartbeat,
        left_out: BTreeSet<AllocationId>,
        arrived: Instant,
        now: Instant,
    ) -> Vec<AllocationId> {
        self.suspicions().note(heartbeat, left_out, arrived, now)
    }

    /// Takes over what a round changed, after it was applied.
    pub(super) fn follow(&self, touched: &Touched, now: Instant) {
        if touched.is_empty() {
            return;
        }
        let mut held = self.held();
        let state = self.replica.read();
        for id in &touched.task_managers {
            self.suspicions().forget(id);
            match state.task_managers().get(id).filter(|task_manager| !task_manager.is_lost()) {
                Some(present) => held.task_managers.start(id, present.epoch, now + timeout(state.settings())),
                None => held.task_managers.end(id),
            }
        }
        for id in &touched.jobs {
            match state.jobs().get(id).and_then(|job| Some((job.epoch, lease_of(job)?))) {
                Some((epoch, lease)) => held.jobs.start(id, epoch, now + lease),
                None => held.jobs.end(id),
            }
        }
        drop(state);
        drop(held);
        self.verdict_known.notify_waiters();
    }

    /// A registration is about to enter the log: it counts as a sign of life, and a verdict on the same epoch that has
    /// not entered the log yet never will.
    pub(super) fn registration_decided(
        &self,
        id: &TaskManagerId,
        epoch: Epoch,
        now: Instant,
        timeout: Duration,
    ) {
        self.held().task_managers.revive(id, epoch, now, timeout);
        self.verdict_known.notify_waiters();
    }

    /// Whether the verdict on `epoch` of `id` still stands. Asked just before it enters the log.
    pub(super) fn verdict_stands(&self, id: &TaskManagerId, epoch: Epoch) -> bool {
        self.held().task_managers.get(id).is_some_and(|lease| lease.epoch == epoch && lease.is_judged)
    }

    /// The verdict on a TaskManager did not become true.
    pub(super) fn acquit_task_manager(&self, id: &TaskManagerId, epoch: Epoch) {
        self.held().task_managers.acquit(id, epoch);
        self.verdict_known.notify_waiters();
    }

    /// The verdict on a job did not become true.
    pub(super) fn acquit_job(&self, id: &JobId, epoch: Epoch) {
        self.held().jobs.acquit(id, epoch);
        self.verdict_known.notify_waiters();
    }

    /// How long ago the last heartbeat of `id` arrived; `None` if none did in this session.
    pub(super) fn silent_for(&self, id: &TaskManagerId, now: Instant) -> Option<Duration> {
        let last_seen = self.held().task_managers.get(id)?.last_seen?;
        Some(now.saturating_duration_since(last_seen))
    }

    /// Answers a heartbeat that arrived at `arrived` and that a read barrier followed. Waits while a verdict on its
    /// sender is on its way.
    pub(super) async fn heartbeat(
        &self,
        heartbeat: &Heartbeat,
        arrived: Instant,
    ) -> Result<HeartbeatAnswer, Rejection> {
        loop {
            let known = self.verdict_known.notified();
            tokio::pin!(known);
            known.as_mut().enable();
            if let Some(answer) = self.try_heartbeat(heartbeat, arrived)? {
                return Ok(answer);
            }
            known.await;
        }
    }

    fn try_heartbeat(
        &self,
        heartbeat: &Heartbeat,
        arrived: Instant,
    ) -> Result<Option<HeartbeatAnswer>, Rejection> {
        let mut held = self.held();
        let state = self.replica.read();
        let task_manager = registered(&state, heartbeat)?;
        let timeout = timeout(state.settings());
        match held.task_managers.renew(&heartbeat.id, heartbeat.epoch, arrived, timeout) {
            Renewal::Judged => Ok(None),
            Renewal::Renewed => Ok(Some(HeartbeatAnswer {
                generation: task_manager.generation,
                deadline_ms: state.settings().heartbeat_timeout_ms,
                allocations: (task_manager.generation != heartbeat.generation
                    || held::holds_too_much(&state, heartbeat))
                .then(|| state.assigned(&heartbeat.id)),
                revision: state.revision(),
            })),
        }
    }

    /// Answers the heartbeat of a job's leader; as [`LeaseKeeper::heartbeat`].
    pub(super) async fn job_heartbeat(
        &self,
        id: &JobId,
        master: Option<&JobMasterId>,
        arrived: Instant,
    ) -> Result<(), Rejection> {
        loop {
            let known = self.verdict_known.notified();
            tokio::pin!(known);
            known.as_mut().enable();
            if self.try_job_heartbeat(id, master, arrived)? {
                return Ok(());
            }
            known.await;
        }
    }

    fn try_job_heartbeat(
        &self,
        id: &JobId,
        master: Option<&JobMasterId>,
        arrived: Instant,
    ) -> Result<bool, Rejection> {
        let mut held = self.held();
        let state = self.replica.read();
        let unknown = || Rejection::UnknownJob(id.clone());
        let job = state.jobs().get(id).filter(|job| job.is_running()).ok_or_else(unknown)?;
        if master.is_some() && job.job_master_id.as_ref() != master {
            return Err(Rejection::StaleJobMaster(id.clone()));
        }
        let Some(lease) = lease_of(job) else {
            return Ok(true);
        };
        Ok(held.jobs.renew(id, job.epoch, arrived, lease) == Renewal::Renewed)
    }
}

fn registered<'a>(state: &'a State, heartbeat: &Heartbeat) -> Result<&'a TaskManager, Rejection> {
    let unknown = || Rejection::UnknownTaskManager(heartbeat.id.clone());
    let present = state.task_managers().get(&heartbeat.id).ok_or_else(unknown)?;
    if present.epoch != heartbeat.epoch {
        return Err(Rejection::StaleEpoch { given: heartbeat.epoch, current: present.epoch });
    }
    if present.is_lost() { Err(unknown()) } else { Ok(present) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_overtakes_a_verdict_that_has_not_entered_the_log() {
        let (replica, now) = (Replica::new(), Instant::now());
        let keeper = LeaseKeeper::begin(replica.clone(), &replica.read(), now);
        let (id, epoch) = (TaskManagerId::new("tm").unwrap(), Epoch(1));
        keeper.held().task_managers.start(&id, epoch, now);
        assert!(!keeper.verdict_stands(&id, epoch), "nobody has judged yet");
        assert_eq!(keeper.held().task_managers.judge_next(now), Some((id.clone(), epoch)));
        assert!(keeper.verdict_stands(&id, epoch));
        keeper.registration_decided(&id, epoch, now, Duration::from_secs(5));
        assert!(!keeper.verdict_stands(&id, epoch));
        assert!(!keeper.held().task_managers.is_any_due(now + Duration::from_millis(4_999)));
        assert!(keeper.held().task_managers.is_any_due(now + Duration::from_secs(5)));
    }

    #[test]
    fn a_verdict_on_an_older_registration_does_not_stand() {
        let (replica, now) = (Replica::new(), Instant::now());
        let keeper = LeaseKeeper::begin(replica.clone(), &replica.read(), now);
        let id = TaskManagerId::new("tm").unwrap();
        keeper.held().task_managers.start(&id, Epoch(1), now);
        keeper.held().task_managers.judge_next(now);
        keeper.registration_decided(&id, Epoch(2), now, Duration::from_secs(5));
        assert!(!keeper.verdict_stands(&id, Epoch(1)));
        assert!(!keeper.verdict_stands(&id, Epoch(2)));
    }
}
