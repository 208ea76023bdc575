//! The handle that the rest of the node holds: submitting, planning, heartbeats.
//!
//! What it promises: it exists on every node; without a session it says who leads instead. Everything it accepts is
//! answered within the submission's deadline, its wait included. Cloning is cheap. What it must not do: decide.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::alarms::{Alarm, Alarms};
use super::duties::Duties;
use super::fault::LeaderFault;
use super::held;
use super::intent::{AllocationRequest, Intent, Submission, SubmitError, WAIT_MAX_MS};
use super::keeper::{Heartbeat, HeartbeatAnswer};
use super::lanes::{LaneEnds, Lanes};
use super::planning;
use super::queue::{PlanQuestion, Queued, RETRY_AFTER_MS, Work, asker};
use super::rounds::RoundLoop;
use super::session::Session;
use super::shared::{LeaderOptions, LeaderSeams, Shared};
use crate::domain::{
    AllocationId, Command, JobId, JobMasterId, Outcome, RefusalCount, Rejection, RequirementName, State,
    TaskManagerId,
};
use crate::scheduler::{Avoidance, Plan, Registry};

/// When to try again at a full disk: another node may lead by then.
const DISK_FULL_RETRY_AFTER_MS: u64 = 2_000;

/// The leader's duties of this node, whether it leads or not. Clones share them.
#[derive(Clone)]
pub struct Leader {
    shared: Arc<Shared>,
    lanes: LaneEnds,
    stop: CancellationToken,
}

/// A [`Leader`] that does not keep alive what is behind it.
#[derive(Clone)]
pub(super) struct WeakLeader {
    shared: Weak<Shared>,
    lanes: LaneEnds,
    stop: CancellationToken,
}

impl WeakLeader {
    /// The handle, if the node has not gone.
    pub(super) fn upgrade(&self) -> Option<Leader> {
        let shared = self.shared.upgrade()?;
        Some(Leader { shared, lanes: self.lanes.clone(), stop: self.stop.clone() })
    }
}

/// The task behind a [`Leader`].
#[derive(Debug)]
pub struct LeaderTask {
    task: JoinHandle<()>,
}

impl LeaderTask {
    /// Waits until the round loop has ended and everybody who waited is answered.
    pub async fn ended(self) {
        // A panic of the loop has ended the process through the panic hook.
        let _ = self.task.await;
    }
}

/// Why a heartbeat was not answered with "go on".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    /// The sender is not, or no longer, what it says it is: it has to register again.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// This node can not tell now.
    #[error(transparent)]
    Unavailable(#[from] SubmitError),
}

impl Leader {
    /// Starts the round loop of this node. It waits until this node leads.
    pub fn start(seams: LeaderSeams, options: LeaderOptions) -> (Self, LeaderTask) {
        let (lanes, ends) = Lanes::new(options.queue_length);
        let duties = Duties { lane: ends.duties.clone(), clock: seams.clock.clone() };
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            leadership: seams.log.leadership(),
            session: tokio::sync::watch::channel(None).0,
            alarms: Alarms::default(),
            is_disk_full: AtomicBool::new(false),
            fault: tokio::sync::watch::channel(None).0,
            seams,
            options,
        });
        let rounds = RoundLoop { shared: shared.clone(), lanes, duties, stop: stop.clone() };
        let task = tokio::spawn(rounds.run());
        (Self { shared, lanes: ends, stop }, LeaderTask { task })
    }

    /// Has `submission` decided, committed and applied, and gives what came of it.
    ///
    /// # Errors
    /// [`SubmitError`] says what it means each time.
    pub async fn submit(&self, submission: Submission) -> Result<Outcome, SubmitError> {
        self.check_leads()?;
        if self.shared.is_disk_full.load(Ordering::Relaxed) && !submission.intent.is_release() {
            return Err(SubmitError::DiskFull { retry_after_ms: DISK_FULL_RETRY_AFTER_MS });
        }
        let wait_ms = match &submission.intent {
            Intent::Allocate(request) => request.wait_ms.min(WAIT_MAX_MS),
            Intent::Command(_) | Intent::PutRequirements(_) => 0,
        };
        let patience = self.shared.options.submission_deadline + Duration::from_millis(wait_ms);
        let (asker, pending) = asker();
        let arrived = self.shared.seams.clock.now();
        self.enqueue(Work::Submit(Queued { submission, asker, arrived }))?;
        pending.wait(patience).await
    }

    /// What would be decided on `request` now, by the very planner that decides; nothing is done.
    ///
    /// # Errors
    /// A refusal of the planner (unknown job or strategy), or why this node can not tell.
    pub async fn plan(&self, request: AllocationRequest) -> Result<Result<Plan, Rejection>, SubmitError> {
        self.shared.session()?.barriers.pass().await?;
        let (answer, answered) = oneshot::channel();
        self.enqueue(Work::Plan(PlanQuestion { request, answer }))?;
        let patience = self.shared.options.submission_deadline;
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(plan)) => plan,
            Ok(Err(_)) => Err(SubmitError::LeadershipLost),
            Err(_) => Err(SubmitError::Overloaded { retry_after_ms: RETRY_AFTER_MS }),
        }
    }

    /// Takes in a TaskManager's heartbeat. It is answered only after this node has proved, later than it arrived, that
    /// it leads.
    ///
    /// # Errors
    /// The sender has to register again, or this node can not tell.
    pub async fn heartbeat(&self, heartbeat: Heartbeat) -> Result<HeartbeatAnswer, HeartbeatError> {
        let metrics = &self.shared.seams.metrics.leases;
        let arrived = self.shared.seams.clock.now();
        // Before the barrier, so that no confirmation counts which was on its way when the heartbeat arrived.
        let left_out = held::left_out(&self.shared.seams.replica.read(), &heartbeat);
        let answer = self
            .prove_then(async |session: &Session| {
                let answer = session.leases.heartbeat(&heartbeat, arrived).await?;
                let now = self.shared.seams.clock.now();
                self.end(&heartbeat, session.leases.not_held(&heartbeat, left_out, arrived, now));
                Ok(answer)
            })
            .await;
        match &answer {
            Ok(_) => metrics.heartbeats.inc(),
            Err(_) => metrics.heartbeats_refused.inc(),
        };
        answer
    }

    /// Has what the sender of `heartbeat` does not hold ended. If that is refused, its next heartbeats say it again.
    fn end(&self, heartbeat: &Heartbeat, not_held: Vec<AllocationId>) {
        if not_held.is_empty() {
            return;
        }
        let (id, epoch) = (heartbeat.id.clone(), heartbeat.epoch);
        tracing::warn!(task_manager = %id, allocations = not_held.len(), "confirmed work is not held any more");
        let duties = Duties { lane: self.lanes.duties.clone(), clock: self.shared.seams.clock.clone() };
        tokio::spawn(async move {
            let _ = duties.submit(Command::EndNotHeld { id, epoch, allocations: not_held }).await;
        });
    }

    /// Takes in the heartbeat of a job's leader, as [`Leader::heartbeat`] does. A caller that names no
    /// `job_master_id` speaks for the job.
    ///
    /// # Errors
    /// The job has ended or another leader speaks for it, or this node can not tell.
    pub async fn job_heartbeat(
        &self,
        job: &JobId,
        job_master_id: Option<&JobMasterId>,
    ) -> Result<(), HeartbeatError> {
        let arrived = self.shared.seams.clock.now();
        self.prove_then(async |session: &Session| {
            session.leases.job_heartbeat(job, job_master_id, arrived).await
        })
        .await
    }

    /// How long ago the last heartbeat of `id` arrived at this node; `None` if none did in this session.
    pub fn last_heartbeat_ago_ms(&self, id: &TaskManagerId) -> Option<u64> {
        let session = self.shared.session().ok()?;
        let silence = session.leases.silent_for(id, self.shared.seams.clock.now())?;
        u64::try_from(silence.as_millis()).ok()
    }

    /// What needs a person.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.shared.alarms.raised()
    }

    /// Whether this node serves a leadership session.
    pub fn is_serving(&self) -> bool {
        self.shared.session.borrow().is_some()
    }

    /// Resolves when this node serves a session.
    pub async fn serving(&self) {
        let mut session = self.shared.session.subscribe();
        // The sender lives as long as this handle.
        let _ = session.wait_for(Option::is_some).await;
    }

    /// Why the declared lines of `job` that lack slots in `state` lack them, per line. What is avoided because work
    /// failed to start there a moment ago only the node that leads knows; elsewhere it seems to have room.
    pub fn explain(&self, state: &State, job: &JobId) -> BTreeMap<RequirementName, Vec<RefusalCount>> {
        let strategies = &self.shared.seams.strategies;
        match self.shared.session() {
            Ok(session) => planning::explain(state, job, strategies, session.start_failures().avoidance()),
            Err(_) => planning::explain(state, job, strategies, &Avoidance::default()),
        }
    }

    /// How placements are chosen, for explanations.
    pub fn strategies(&self) -> &Registry {
        &self.shared.seams.strategies
    }

    /// Resolves when this node has found something that it must not live with.
    pub async fn fault(&self) -> LeaderFault {
        let mut fault = self.shared.fault.subscribe();
        let found = fault.wait_for(Option::is_some).await.map(|found| found.clone());
        found.ok().flatten().expect("the sender lives as long as this handle, and it was waited for")
    }

    /// Says whether this node's disk is full. As long as it is, clients' writes are refused with `DiskFull`, except what
    /// only ends things; the leader's own duties go on.
    pub fn note_disk_full(&self, is_full: bool) {
        self.shared.is_disk_full.store(is_full, Ordering::Relaxed);
    }

    /// This handle without its share in what is behind it, for what lives below the leader.
    pub(super) fn downgrade(&self) -> WeakLeader {
        WeakLeader {
            shared: Arc::downgrade(&self.shared),
            lanes: self.lanes.clone(),
            stop: self.stop.clone(),
        }
    }

    /// Ends the round loop: everybody who waits is answered, nothing more is accepted.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    fn check_leads(&self) -> Result<(), SubmitError> {
        if self.stop.is_cancelled() {
            return Err(SubmitError::Stopped);
        }
        match self.shared.leadership.borrow().term {
            Some(_) => Ok(()),
            None => Err(self.shared.not_serving()),
        }
    }

    fn enqueue(&self, work: Work) -> Result<(), SubmitError> {
        self.lanes.work.try_send(work).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => {
                self.shared.seams.metrics.rounds.overloaded.inc();
                SubmitError::Overloaded { retry_after_ms: RETRY_AFTER_MS }
            }
            mpsc::error::TrySendError::Closed(_) => SubmitError::Stopped,
        })
    }

    /// Passes a barrier that begins now and then asks `question`, all within the session that is open now.
    async fn prove_then<T>(
        &self,
        question: impl AsyncFnOnce(&Session) -> Result<T, Rejection>,
    ) -> Result<T, HeartbeatError> {
        let session = self.shared.session()?;
        let answer = async {
            session.barriers.pass().await?;
            Ok(question(&session).await?)
        };
        tokio::select! {
            biased;
            () = session.end.cancelled() => Err(SubmitError::LeadershipLost.into()),
            answer = answer => answer,
        }
    }
}
