//! TaskManagers: they register, report, hold what they are told to hold, and stop by their own clock when nobody answers.

use std::collections::BTreeMap;

use slotkeeper::domain::{
    Command, Epoch, FencingToken, Generation, Grant, IdempotencyKey, Offer, Reply, RequestKey,
    ResourceProfile, TaskManagerId, TaskManagerSession,
};
use slotkeeper::leader::{Heartbeat, HeartbeatError, Intent, Submission, SubmitError};

use crate::calls::{Answer, CallId, Calls, Request, place_of};
use crate::draw::Draw;
use crate::oracle::Oracle;
use crate::trace;

/// The settings that the simulated clusters begin with.
pub const INTERVAL_MS: u64 = 300;
pub const TIMEOUT_MS: u64 = 1_500;
pub const GRACE_MS: u64 = 1_000;
const PATIENCE_MS: u64 = 900;

pub struct Agent {
    pub id: TaskManagerId,
    draw: Draw,
    slots: u32,
    process: u32,
    keys: u32,
    place: usize,
    registering: Option<Registering>,
    epoch: Option<Epoch>,
    generation: Generation,
    /// Until when it was told to go on, by its own clock.
    pub deadline_ms: u64,
    /// For how long it was told to go on, the longest of all times.
    granted_ms: u64,
    /// When it last said anything.
    pub last_sent_ms: u64,
    held: BTreeMap<u32, Grant>,
    highest: BTreeMap<u32, FencingToken>,
    beating: Option<(CallId, u64, slotkeeper::domain::Revision)>,
    next_at_ms: u64,
    stopped_until_ms: u64,
}

struct Registering {
    key: IdempotencyKey,
    first_sent_ms: u64,
    call: Option<(CallId, u64)>,
}

impl Agent {
    pub fn new(number: usize, places: usize, mut draw: Draw) -> Self {
        Self {
            id: TaskManagerId::new(&format!("tm-{number}")).unwrap(),
            slots: u32::from(draw.byte() % 4) + 1,
            process: 1,
            keys: 0,
            place: draw.index(places),
            registering: None,
            epoch: None,
            generation: Generation(0),
            deadline_ms: 0,
            granted_ms: 0,
            last_sent_ms: 0,
            held: BTreeMap::new(),
            highest: BTreeMap::new(),
            beating: None,
            next_at_ms: draw.within(0..=INTERVAL_MS),
            stopped_until_ms: 0,
            draw,
        }
    }

    pub fn is_registered(&self) -> bool {
        self.epoch.is_some()
    }

    /// Stands still, as a process under SIGSTOP.
    pub fn stop_until(&mut self, until_ms: u64) {
        self.stopped_until_ms = until_ms;
    }

    /// The process dies and another one takes its place.
    pub fn restart(&mut self) {
        trace::note(&format!("{} is another process", self.id));
        self.process += 1;
        self.let_go();
        self.deadline_ms = 0;
    }

    fn let_go(&mut self) {
        (self.epoch, self.registering, self.beating) = (None, None, None);
        self.generation = Generation(0);
        self.held.clear();
    }

    /// The verdict fell that it is lost. It must have given up by then; nothing makes up for a leader whose clock is fast.
    /// Gives the time from which on the verdict was right.
    pub fn check_lost(&self, now_ms: u64, fast_percent: u64) -> u64 {
        let right_from_ms = self.deadline_ms.saturating_sub(self.granted_ms * fast_percent / 100);
        assert!(
            now_ms >= right_from_ms,
            "{} was declared lost at {now_ms} although it was told to go on until {}",
            self.id,
            self.deadline_ms
        );
        right_from_ms
    }

    pub fn step(&mut self, now_ms: u64, calls: &mut Calls, oracle: &mut Oracle) {
        if now_ms < self.stopped_until_ms {
            return;
        }
        if now_ms >= self.deadline_ms && !self.held.is_empty() {
            trace::note(&format!("{} stops by itself", self.id));
            self.held.clear();
            // It asks for the whole picture when it is heard again.
            self.generation = Generation(0);
        }
        self.take_answers(now_ms, calls, oracle);
        if now_ms >= self.next_at_ms {
            self.next_at_ms = now_ms + INTERVAL_MS;
            match self.epoch {
                Some(epoch) if self.beating.is_none() => self.beat(now_ms, epoch, calls, oracle),
                Some(_) => {}
                None => self.register(now_ms, calls),
            }
        }
    }

    fn beat(&mut self, now_ms: u64, epoch: Epoch, calls: &mut Calls, oracle: &Oracle) {
        let heartbeat = Heartbeat { id: self.id.clone(), epoch, generation: self.generation, held: None };
        let call = calls.send(now_ms, self.place, Request::Heartbeat(heartbeat));
        self.beating = Some((call, now_ms, oracle.told()));
        self.last_sent_ms = now_ms;
    }

    fn register(&mut self, now_ms: u64, calls: &mut Calls) {
        if self.registering.is_none() {
            self.keys += 1;
            let key = IdempotencyKey::new(&format!("{}-{}-{}", self.id, self.process, self.keys)).unwrap();
            self.registering = Some(Registering { key, first_sent_ms: now_ms, call: None });
        }
        let registering = self.registering.as_mut().expect("it was just made");
        if registering.call.is_some() {
            return;
        }
        let command = Command::RegisterTaskManager {
            id: self.id.clone(),
            session: TaskManagerSession::new(&format!("process-{}", self.process)).unwrap(),
            address: format!("{}:1", self.id).into(),
            offer: Offer::Static { slots: self.slots, slot_profile: ResourceProfile::default() },
            labels: Default::default(),
        };
        let key = Some(RequestKey { key: registering.key.clone(), fingerprint: [0; 16] });
        let submission = Submission { key, intent: Intent::Command(command) };
        self.last_sent_ms = now_ms;
        registering.call =
            Some((calls.send(now_ms, self.place, Request::Submit(Box::new(submission))), now_ms));
    }

    fn take_answers(&mut self, now_ms: u64, calls: &mut Calls, oracle: &mut Oracle) {
        if let Some((call, sent_ms, told)) = self.beating {
            match calls.take(call) {
                Some(Answer::Heartbeat(Ok(answer))) => {
                    self.beating = None;
                    oracle.read(self.id.as_str(), answer.revision, told);
                    self.go_on(sent_ms, answer.deadline_ms);
                    if let Some(grants) = answer.allocations
                        && now_ms < self.deadline_ms
                    {
                        self.adopt(answer.generation, grants);
                    }
                }
                Some(Answer::Heartbeat(Err(HeartbeatError::Refused(rejection)))) => {
                    trace::note(&format!("{} has to register again: {rejection}", self.id));
                    self.let_go();
                }
                Some(Answer::Heartbeat(Err(HeartbeatError::Unavailable(error)))) => {
                    self.beating = None;
                    self.look_elsewhere(&error, calls);
                }
                Some(_) => unreachable!("a heartbeat is answered as one"),
                None if now_ms > sent_ms + PATIENCE_MS => {
                    self.beating = None;
                    self.place = *self.draw.one_of(&calls.addresses);
                }
                None => {}
            }
        }
        let Some(registering) = &mut self.registering else { return };
        let Some((call, sent_ms)) = registering.call else { return };
        match calls.take(call) {
            Some(Answer::Submitted(Ok(outcome), timeout_ms)) => {
                oracle.acknowledged(&registering.key, &outcome);
                let first_sent_ms = registering.first_sent_ms;
                self.registering = None;
                if let Ok(Reply::TaskManagerRegistered { epoch, generation, allocations, .. }) = &*outcome.result
                    // An answer that comes late says nothing about now.
                    && now_ms < first_sent_ms + timeout_ms
                {
                    self.epoch = Some(*epoch);
                    self.go_on(first_sent_ms, timeout_ms);
                    self.adopt(*generation, allocations.clone());
                }
            }
            Some(Answer::Submitted(Err(error), _)) => {
                registering.call = None;
                self.look_elsewhere(&error, calls);
            }
            Some(_) => unreachable!("a registration is answered as one"),
            None if now_ms > sent_ms + PATIENCE_MS => {
                registering.call = None;
                self.place = *self.draw.one_of(&calls.addresses);
            }
            None => {}
        }
    }

    fn go_on(&mut self, from_ms: u64, for_ms: u64) {
        self.deadline_ms = self.deadline_ms.max(from_ms + for_ms);
        self.granted_ms = self.granted_ms.max(for_ms);
    }

    fn look_elsewhere(&mut self, error: &SubmitError, calls: &Calls) {
        self.place = match error {
            SubmitError::NotLeader { leader } => place_of(&leader.api_addr),
            _ => *self.draw.one_of(&calls.addresses),
        };
    }

    /// Takes a newer picture of what to hold. A slot never goes back to an older token.
    fn adopt(&mut self, generation: Generation, grants: Vec<Grant>) {
        if generation < self.generation {
            return;
        }
        self.generation = generation;
        self.held.clear();
        for grant in grants {
            let highest = self.highest.entry(grant.slot_index).or_insert(grant.fencing_token);
            assert!(
                *highest <= grant.fencing_token,
                "{} was given {}/{} with {} after {highest}",
                grant.job,
                self.id,
                grant.slot_index,
                grant.fencing_token
            );
            *highest = grant.fencing_token;
            let before = self.held.insert(grant.slot_index, grant);
            assert!(before.is_none(), "{} was told of two owners of one slot", self.id);
        }
    }
}
