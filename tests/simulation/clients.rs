//! Jobs: each client speaks for one, asks for slots and gives them back, and tries every write under one key until it
//! knows what came of it.

use std::collections::BTreeSet;

use slotkeeper::domain::{
    AllocationId, AllocationMode, Command, IdempotencyKey, JobId, JobMasterId, Outcome, PlacementRules,
    PutRequirements, QueueName, QueuePhase, Rejection, Reply, RequestKey, Requirement, RequirementName,
    RequirementVersion, ResourceLimit, Revision, SettingsPatch,
};
use slotkeeper::leader::{AllocationRequest, HeartbeatError, Intent, Submission, SubmitError};

use crate::agents::{GRACE_MS, INTERVAL_MS, TIMEOUT_MS};
use crate::calls::{Answer, CallId, Calls, Request, place_of};
use crate::draw::Draw;
use crate::oracle::Oracle;
use crate::trace;

/// A client gives a try up after so long at most and tries again.
const PATIENCE_MAX_MS: u64 = 2_500;

pub struct Client {
    name: String,
    draw: Draw,
    job: JobId,
    /// What it does before it puts its job.
    first: Option<Command>,
    life: u32,
    is_put: bool,
    master: Option<JobMasterId>,
    lease_ms: Option<u64>,
    version: u64,
    keys: u64,
    held: BTreeSet<AllocationId>,
    patience_ms: u64,
    place: usize,
    pending: Option<Pending>,
    /// A write that is known, sent once more on purpose.
    echo: Option<(CallId, IdempotencyKey, u64)>,
    reading: Option<(CallId, Revision, u64)>,
    beating: Option<(CallId, u64)>,
    next_at_ms: u64,
    next_beat_ms: u64,
    /// New writes are begun.
    pub is_active: bool,
    pub acknowledged: u64,
}

struct Pending {
    key: IdempotencyKey,
    submission: Submission,
    call: Option<(CallId, u64)>,
    tries: u32,
    next_try_ms: u64,
}

impl Client {
    pub fn new(number: usize, places: usize, mut draw: Draw) -> Self {
        let has_master = draw.percent(50);
        let mut client = Self {
            name: format!("client-{number}"),
            job: JobId::new(&format!("job-{number}-0")).unwrap(),
            first: first_command(number, &mut draw),
            life: 0,
            is_put: false,
            master: has_master.then(|| JobMasterId::new(&format!("master-{number}")).unwrap()),
            lease_ms: has_master.then(|| draw.within(1_500..=4_000)),
            version: 0,
            keys: 0,
            held: BTreeSet::new(),
            patience_ms: draw.within(300..=PATIENCE_MAX_MS),
            place: 0,
            pending: None,
            echo: None,
            reading: None,
            beating: None,
            next_at_ms: draw.within(0..=500),
            next_beat_ms: 0,
            is_active: true,
            acknowledged: 0,
            draw,
        };
        client.place = client.draw.index(places);
        client
    }

    /// Whether it waits for the outcome of a write.
    pub fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    pub fn describe(&self) -> String {
        match &self.pending {
            Some(pending) => {
                format!("{} waits for {:?} after {} tries", self.name, pending.key, pending.tries)
            }
            None => format!("{} waits for nothing", self.name),
        }
    }

    pub fn step(&mut self, now_ms: u64, calls: &mut Calls, oracle: &mut Oracle) {
        self.take_answers(now_ms, calls, oracle);
        self.beat(now_ms, calls);
        let Some(pending) = &mut self.pending else {
            if self.is_active && now_ms >= self.next_at_ms {
                self.begin(now_ms, calls, oracle);
            }
            return;
        };
        if let Some((_, sent_ms)) = pending.call
            && now_ms >= sent_ms + self.patience_ms
        {
            pending.call = None;
            self.place = *self.draw.one_of(&calls.addresses);
        }
        if pending.call.is_none() && now_ms >= pending.next_try_ms {
            pending.tries += 1;
            let call = calls.send(now_ms, self.place, Request::Submit(Box::new(pending.submission.clone())));
            pending.call = Some((call, now_ms));
        }
    }

    /// A job with a lease has to say that it lives.
    fn beat(&mut self, now_ms: u64, calls: &mut Calls) {
        if self.lease_ms.is_none() || !self.is_put || now_ms < self.next_beat_ms {
            return;
        }
        self.next_beat_ms = now_ms + 300;
        let request = Request::JobHeartbeat(self.job.clone(), self.master.clone());
        self.beating = Some((calls.send(now_ms, self.place, request), now_ms));
    }

    fn begin(&mut self, now_ms: u64, calls: &mut Calls, oracle: &Oracle) {
        self.next_at_ms = now_ms + self.draw.within(5..=120);
        if let Some(first) = self.first.take() {
            return self.submit(Intent::Command(first));
        }
        if !self.is_put {
            let priority = i32::from(self.draw.byte() % 3);
            return self.submit(Intent::Command(Command::PutJob {
                id: self.job.clone(),
                queue: QueueName::new("default").unwrap(),
                priority,
                job_master_id: self.master.clone(),
                lease_ms: self.lease_ms,
            }));
        }
        match self.draw.within(0..=99) {
            0..=39 => self.allocate(),
            40..=64 if !self.held.is_empty() => self.release(),
            65..=74 => self.declare(),
            75..=77 => self.submit(Intent::Command(Command::DeleteJob { id: self.job.clone() })),
            78..=79 => self.change_settings(),
            _ => {
                // Whoever does not lead must not answer.
                let place =
                    if self.draw.percent(40) { *self.draw.one_of(&calls.addresses) } else { self.place };
                let call = calls.send(now_ms, place, Request::Read(self.job.clone()));
                self.reading = Some((call, oracle.told(), now_ms));
            }
        }
    }

    fn submit(&mut self, intent: Intent) {
        self.keys += 1;
        let key = IdempotencyKey::new(&format!("{}-{}", self.name, self.keys)).unwrap();
        let request = RequestKey { key: key.clone(), fingerprint: [0; 16] };
        let submission = Submission { key: Some(request), intent };
        self.pending = Some(Pending { key, submission, call: None, tries: 0, next_try_ms: 0 });
    }

    fn allocate(&mut self) {
        let is_all = self.draw.percent(60);
        let slots = u32::from(self.draw.byte() % 3) + 1;
        let wait_ms = self.draw.within(0..=2) * 400;
        self.submit(Intent::Allocate(AllocationRequest {
            job: self.job.clone(),
            job_master_id: self.master.clone(),
            slots,
            profile: None,
            mode: if is_all { AllocationMode::AllOrNothing } else { AllocationMode::BestEffort },
            rules: PlacementRules::default(),
            wait_ms,
        }));
    }

    fn release(&mut self) {
        let held: Vec<AllocationId> = self.held.iter().copied().collect();
        let allocations = vec![*self.draw.one_of(&held)];
        self.submit(Intent::Command(Command::Release { job: self.job.clone(), allocations }));
    }

    fn declare(&mut self) {
        self.version += 1;
        let desired = u32::from(self.draw.byte() % 4);
        let name = RequirementName::new("line").unwrap();
        let line = Requirement { name, profile: None, min: 0, desired, rules: PlacementRules::default() };
        self.submit(Intent::PutRequirements(PutRequirements {
            job: self.job.clone(),
            job_master_id: self.master.clone(),
            version: RequirementVersion(self.version),
            requirements: vec![line],
        }));
    }

    fn change_settings(&mut self) {
        let timeout_ms = *self.draw.one_of(&[3 * INTERVAL_MS, TIMEOUT_MS, 2 * TIMEOUT_MS, 4 * TIMEOUT_MS]);
        let lease_grace_ms = self.draw.within(0..=GRACE_MS);
        self.submit(Intent::Command(Command::ChangeSettings(SettingsPatch {
            heartbeat_timeout_ms: Some(timeout_ms),
            lease_grace_ms: Some(lease_grace_ms),
            ..SettingsPatch::default()
        })));
    }

    fn take_answers(&mut self, now_ms: u64, calls: &mut Calls, oracle: &mut Oracle) {
        if let Some((call, _)) = self.pending.as_ref().and_then(|pending| pending.call)
            && let Some(Answer::Submitted(result, _)) = calls.take(call)
        {
            self.submitted(now_ms, result, calls, oracle);
        }
        if let Some((call, told, sent_ms)) = self.reading {
            match calls.take(call) {
                Some(Answer::Read(Ok((revision, held)))) => {
                    oracle.read(&self.name, revision, told);
                    trace::note(&format!("{} reads {revision} with {} held", self.name, held.len()));
                    self.held = held.into_iter().collect();
                    self.reading = None;
                }
                Some(_) => {
                    self.place = *self.draw.one_of(&calls.addresses);
                    self.reading = None;
                }
                None if now_ms > sent_ms + self.patience_ms => self.reading = None,
                None => {}
            }
        }
        if let Some((call, key, sent_ms)) = &self.echo {
            match calls.take(*call) {
                Some(Answer::Submitted(Ok(outcome), _)) => {
                    oracle.acknowledged(key, &outcome);
                    self.echo = None;
                }
                Some(_) => self.echo = None,
                None if now_ms > sent_ms + self.patience_ms => self.echo = None,
                None => {}
            }
        }
        if let Some((call, sent_ms)) = self.beating {
            match calls.take(call) {
                Some(Answer::JobHeartbeat(Err(HeartbeatError::Refused(_)))) => self.end_life(),
                Some(Answer::JobHeartbeat(Err(HeartbeatError::Unavailable(error)))) => {
                    self.look_elsewhere(&error, calls)
                }
                Some(_) => self.beating = None,
                None if now_ms > sent_ms + self.patience_ms => {
                    self.place = *self.draw.one_of(&calls.addresses)
                }
                None => {}
            }
        }
    }

    fn submitted(
        &mut self,
        now_ms: u64,
        result: Result<Outcome, SubmitError>,
        calls: &mut Calls,
        oracle: &mut Oracle,
    ) {
        let pending = self.pending.as_mut().expect("it was just there");
        pending.call = None;
        match result {
            Ok(outcome) => {
                trace::note(&format!("{} is told {:?} of {}", self.name, pending.key, outcome.revision));
                oracle.acknowledged(&pending.key, &outcome);
                self.acknowledged += 1;
                let pending = self.pending.take().expect("it was just there");
                if self.draw.percent(20) {
                    let place = *self.draw.one_of(&calls.addresses);
                    let call = calls.send(now_ms, place, Request::Submit(Box::new(pending.submission)));
                    self.echo = Some((call, pending.key, now_ms));
                }
                self.learn(&outcome);
            }
            Err(error) => {
                pending.next_try_ms = now_ms + self.draw.within(5..=200);
                self.look_elsewhere(&error, calls);
            }
        }
    }

    fn look_elsewhere(&mut self, error: &SubmitError, calls: &Calls) {
        self.place = match error {
            SubmitError::NotLeader { leader } => place_of(&leader.api_addr),
            SubmitError::Overloaded { .. } => self.place,
            _ => *self.draw.one_of(&calls.addresses),
        };
    }

    fn learn(&mut self, outcome: &Outcome) {
        match &*outcome.result {
            Ok(Reply::JobPut { .. }) => self.is_put = true,
            Ok(Reply::Allocated { allocations, .. }) => {
                self.held.extend(allocations.iter().map(|grant| grant.id));
            }
            Ok(Reply::Released { released, unknown }) => {
                for id in released.iter().chain(unknown) {
                    self.held.remove(id);
                }
            }
            Ok(Reply::Done) if self.is_put => self.end_life(),
            Err(Rejection::UnknownJob(_)) => self.end_life(),
            _ => {}
        }
    }

    /// The job has ended; the client goes on with another one.
    fn end_life(&mut self) {
        self.life += 1;
        let base = self.job.to_string();
        let base = base.rsplit_once('-').map_or(base.clone(), |(base, _)| base.to_owned());
        self.job = JobId::new(&format!("{base}-{}", self.life)).unwrap();
        self.is_put = false;
        self.version = 0;
        self.held.clear();
        self.beating = None;
    }
}

/// The first clients set the cluster up.
fn first_command(number: usize, draw: &mut Draw) -> Option<Command> {
    match number {
        0 => Some(Command::PatchSettings(SettingsPatch {
            heartbeat_interval_ms: Some(INTERVAL_MS),
            heartbeat_timeout_ms: Some(TIMEOUT_MS),
            lease_grace_ms: Some(GRACE_MS),
            expiries_per_second_max: Some(*draw.one_of(&[1, 2, 10])),
            mass_loss_share_percent: Some(*draw.one_of(&[30, 50, 100])),
            ..SettingsPatch::default()
        })),
        1 => Some(Command::PutQueue {
            name: QueueName::new("default").unwrap(),
            maximum: ResourceLimit { slots: Some(draw.within(4..=16)), ..ResourceLimit::default() },
            phase: QueuePhase::Running,
        }),
        _ => None,
    }
}
