//! A leader on an in-memory log, and the commands that the tests send.

use std::sync::Arc;
use std::time::Duration;

use slotkeeper::clock::{Clock, ManualClock, SystemClock};
use slotkeeper::domain::{
    AllocationMode, Command, Epoch, Grant, IdempotencyKey, JobId, Offer, Outcome, PlacementRules,
    PutRequirements, QueueName, Record, Rejection, Reply, RequestKey, Requirement, RequirementName,
    RequirementVersion, ResourceProfile, RoundAfter, SettingsPatch, State, TaskManagerId, TaskManagerSession,
};
use slotkeeper::leader::{
    AllocationRequest, Intent, Leader, LeaderOptions, LeaderSeams, Submission, SubmitError,
};
use slotkeeper::replica::Replica;
use slotkeeper::scheduler::Registry;
use slotkeeper::telemetry::Metrics;

use crate::loopback::LoopbackLog;

/// Long enough for a loaded machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Rig {
    pub leader: Leader,
    pub log: Arc<LoopbackLog>,
    pub clock: Arc<ManualClock>,
    pub replica: Replica,
    pub metrics: Metrics,
}

pub fn options() -> LeaderOptions {
    LeaderOptions {
        tick: Duration::from_millis(5),
        lease_check_interval: Duration::from_millis(5),
        ..LeaderOptions::default()
    }
}

impl Rig {
    /// A leader that serves, on the machine's clock.
    pub async fn new() -> Self {
        Self::with(options()).await
    }

    pub async fn with(options: LeaderOptions) -> Self {
        let rig = Self::following(options, Arc::new(SystemClock));
        rig.serve(1).await;
        rig
    }

    /// A leader that serves, on a clock that the test moves.
    pub async fn manual() -> Self {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let rig = Self { clock: clock.clone(), ..Self::following(options(), clock) };
        rig.serve(1).await;
        rig
    }

    fn following(options: LeaderOptions, clock: Arc<dyn Clock>) -> Self {
        let (replica, metrics) = (Replica::new(), Metrics::new());
        let log = LoopbackLog::new(replica.clone());
        let seams = LeaderSeams {
            log: log.clone(),
            replica: replica.clone(),
            clock,
            strategies: Registry::default(),
            metrics: metrics.clone(),
        };
        let (leader, _task) = Leader::start(seams, options);
        Self { leader, log, clock: Arc::new(ManualClock::new(0)), replica, metrics }
    }

    pub async fn serve(&self, term: u64) {
        self.log.lead(term);
        tokio::time::timeout(DEADLINE, self.leader.serving()).await.expect("a session opens");
    }

    pub async fn submit(&self, command: Command) -> Outcome {
        self.leader.submit(Submission::unkeyed(Intent::Command(command))).await.expect("it is decided")
    }

    /// Submits without waiting for the answer.
    pub fn send(&self, submission: Submission) -> tokio::task::JoinHandle<Result<Outcome, SubmitError>> {
        let leader = self.leader.clone();
        tokio::spawn(async move { leader.submit(submission).await })
    }

    pub fn send_command(&self, command: Command) -> tokio::task::JoinHandle<Result<Outcome, SubmitError>> {
        self.send(Submission::unkeyed(Intent::Command(command)))
    }

    /// A running job with the given priority.
    pub async fn job(&self, id: &str, priority: i32) {
        let outcome = self.submit(put_job(id, priority, None)).await;
        assert!(outcome.result.is_ok(), "{outcome:?}");
    }

    pub async fn task_manager(&self, id: &str, slots: u32) -> Epoch {
        let outcome = self.submit(register(id, "first", slots)).await;
        match &*outcome.result {
            Ok(Reply::TaskManagerRegistered { epoch, .. }) => *epoch,
            other => panic!("{other:?}"),
        }
    }

    pub async fn patch(&self, patch: SettingsPatch) {
        let outcome = self.submit(Command::PatchSettings(patch)).await;
        assert!(outcome.result.is_ok(), "{outcome:?}");
    }

    /// Waits until `holds` for the applied state.
    pub async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        eventually(what, || holds(&self.replica.read())).await;
    }

    /// The commands of every round that was proposed.
    pub fn rounds(&self) -> Vec<Vec<Command>> {
        let records = self.log.proposed().into_iter();
        records
            .filter_map(|record| match record {
                Record::Round(batch) => Some(batch.commands.into_iter().map(|keyed| keyed.command).collect()),
                Record::RoundAfter(RoundAfter { batch, .. }) => {
                    Some(batch.commands.into_iter().map(|keyed| keyed.command).collect())
                }
                Record::Begin(_) => None,
            })
            .collect()
    }

    pub async fn until_held(&self, count: usize) {
        eventually("rounds are held", || self.log.held() == count).await;
    }
}

/// Waits until `holds`.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub fn job_id(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

pub fn tm_id(id: &str) -> TaskManagerId {
    TaskManagerId::new(id).unwrap()
}

pub fn put_job(id: &str, priority: i32, lease_ms: Option<u64>) -> Command {
    let queue = QueueName::new("default").unwrap();
    Command::PutJob { id: job_id(id), queue, priority, job_master_id: None, lease_ms }
}

pub fn register(id: &str, session: &str, slots: u32) -> Command {
    Command::RegisterTaskManager {
        id: tm_id(id),
        session: TaskManagerSession::new(session).unwrap(),
        address: format!("{id}:1").into(),
        offer: Offer::Static { slots, slot_profile: ResourceProfile::default() },
        labels: Default::default(),
    }
}

pub fn request(job: &str, slots: u32, wait_ms: u64) -> AllocationRequest {
    AllocationRequest {
        job: job_id(job),
        job_master_id: None,
        slots,
        profile: None,
        mode: AllocationMode::AllOrNothing,
        rules: PlacementRules::default(),
        wait_ms,
    }
}

pub fn allocate(job: &str, slots: u32, wait_ms: u64) -> Submission {
    Submission::unkeyed(Intent::Allocate(request(job, slots, wait_ms)))
}

pub fn keyed(key: &str, body: u8, intent: Intent) -> Submission {
    let key = RequestKey { key: IdempotencyKey::new(key).unwrap(), fingerprint: [body; 16] };
    Submission { key: Some(key), intent }
}

pub fn granted(outcome: &Outcome) -> &[Grant] {
    match &*outcome.result {
        Ok(Reply::Allocated { allocations, .. }) => allocations,
        other => panic!("{other:?}"),
    }
}

pub fn is_insufficient(outcome: &Outcome) -> bool {
    matches!(&*outcome.result, Err(Rejection::InsufficientResources { .. }))
}

pub fn declare(job: &str, version: u64, lines: &[(&str, u32, u32)]) -> Submission {
    let requirements = lines.iter().map(|(name, min, desired)| Requirement {
        name: RequirementName::new(name).unwrap(),
        profile: None,
        min: *min,
        desired: *desired,
        rules: Default::default(),
    });
    Submission::unkeyed(Intent::PutRequirements(PutRequirements {
        job: job_id(job),
        job_master_id: None,
        version: RequirementVersion(version),
        requirements: requirements.collect(),
    }))
}

pub fn holds(state: &State, job: &str) -> usize {
    state.jobs().get(&job_id(job)).map_or(0, |job| job.allocations.len())
}
