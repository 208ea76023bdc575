//! The clients of a storm: each works on one part, and writes down what it asked and what it was told.
//!
//! What it promises: every write has a key of its own and is tried under it until its outcome is known or the client's
//! patience is over, and then its outcome stays unknown; every tenth is sent again on purpose and must give the same
//! answer; an answer that the contract does not allow is a violation. What it must not do: judge an answer that the
//! contract allows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use super::parts;
use crate::http::{Answer, Caller};
use crate::linear::operation::{Action, HistoryWriter, Operation, Outcome, Setting};

/// How long a client tries: longer than most faults. Every fifth gives up soon, so that some outcomes stay unknown.
const PATIENCE: Duration = Duration::from_secs(6);
const SHORT_PATIENCE: Duration = Duration::from_millis(700);
const TRY_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long the last reads are tried, when all faults are over.
const LAST_PATIENCE: Duration = Duration::from_secs(60);
/// Masters that a job may have.
const MASTERS: u32 = 3;

/// What all clients share.
pub struct Shared {
    /// The servers' API addresses.
    pub servers: Vec<String>,
    /// What is fixed.
    pub setting: Setting,
    /// Seed of the choices.
    pub seed: u64,
    /// Where the history goes.
    pub history: HistoryWriter,
    /// Reads may be stale, which the check must find.
    pub stale_reads: bool,
    /// The clients end what they are at and no more.
    pub stop: AtomicBool,
    /// A fault is at work.
    pub in_fault: AtomicBool,
    /// By part: what a client was told of and nobody has given back.
    pub known: Vec<Mutex<Vec<(u8, Uuid)>>>,
    /// What must never happen and did.
    pub violations: Mutex<Vec<String>>,
}

impl Shared {
    fn known(&self, part: u16) -> std::sync::MutexGuard<'_, Vec<(u8, Uuid)>> {
        self.known[usize::from(part)].lock().expect("no client panics while it holds the list")
    }

    fn violation(&self, what: String) {
        tracing::error!("{what}");
        self.violations.lock().expect("no client panics while it holds the list").push(what);
    }
}

/// One client.
pub struct Client {
    number: u16,
    part: u16,
    caller: Caller,
    random: StdRng,
    keys: u64,
    patience: Duration,
    shared: Arc<Shared>,
}

impl Client {
    /// Client `number`, which works on one part.
    pub fn new(shared: &Arc<Shared>, number: u16) -> Self {
        Self {
            number,
            part: number % shared.setting.parts,
            caller: Caller::with_timeout(&shared.servers, usize::from(number), TRY_TIMEOUT),
            random: StdRng::seed_from_u64(shared.seed.wrapping_mul(1_000).wrapping_add(u64::from(number))),
            keys: 0,
            patience: if number % 5 == 3 { SHORT_PATIENCE } else { PATIENCE },
            shared: shared.clone(),
        }
    }

    /// Works until the storm is over.
    pub async fn run(mut self) {
        while !self.shared.stop.load(Ordering::SeqCst) {
            let action = self.draw();
            self.perform(action).await;
        }
    }

    /// Reads everything of every part, when the storm is over.
    pub async fn read_all(mut self) -> Result<(), String> {
        self.patience = LAST_PATIENCE;
        for part in 0..self.shared.setting.parts {
            self.part = part;
            let jobs = (0..self.shared.setting.jobs).map(|job| Action::ReadJob { job });
            for action in jobs.chain([Action::ReadQueue]) {
                if !self.perform(action).await {
                    return Err("the cluster does not answer at the end".to_owned());
                }
            }
        }
        Ok(())
    }

    fn draw(&mut self) -> Action {
        let job = self.random.random_range(0..self.shared.setting.jobs);
        let master = self.random.random_range(0..MASTERS);
        match self.random.random_range(0..100) {
            0..40 => {
                let all = self.random.random_ratio(2, 3);
                Action::Allocate { job, slots: self.random.random_range(1..=3), all }
            }
            40..65 => self.draw_release(job).unwrap_or(Action::ReadJob { job }),
            65..77 => Action::Renew { job, master },
            77..80 => Action::PutMaster { job, master },
            80..90 => Action::ReadJob { job },
            90..95 => Action::ReadQueue,
            _ => Action::PutMaximum { maximum: self.random.random_range(2..=10) },
        }
    }

    /// Up to three slots of one job. Once in a while they stay on the list, so that another client gives them back again.
    fn draw_release(&mut self, job: u8) -> Option<Action> {
        let count = self.random.random_range(1..=3);
        let keeps = self.random.random_ratio(1, 10);
        let mut known = self.shared.known(self.part);
        let ids: Vec<Uuid> =
            known.iter().filter(|(holder, _)| *holder == job).map(|(_, id)| *id).take(count).collect();
        if !keeps {
            known.retain(|(_, id)| !ids.contains(id));
        }
        (!ids.is_empty()).then_some(Action::Release { job, ids })
    }

    /// Does one operation and writes it down; whether its outcome is known.
    async fn perform(&mut self, action: Action) -> bool {
        let faulty_before = self.shared.in_fault.load(Ordering::SeqCst);
        let began_ns = self.shared.history.now_ns();
        let answer = self.ask(&action).await;
        let ended_ns = self.shared.history.now_ns();
        let outcome = match &answer {
            None => Outcome::Unknown,
            Some(answer) => self.read(&action, answer).unwrap_or(Outcome::Unknown),
        };
        let is_known = outcome != Outcome::Unknown;
        if let (
            Action::Allocate { job, .. } | Action::ReadJob { job },
            Outcome::Granted { slots } | Outcome::Shown { slots },
        ) = (&action, &outcome)
        {
            let is_read = matches!(action, Action::ReadJob { .. });
            let mut known = self.shared.known(self.part);
            for held in slots {
                // What a read shows is on the list already, unless the answer to its request was lost.
                if !is_read || (self.random.random_ratio(1, 4) && !known.contains(&(*job, held.id))) {
                    known.push((*job, held.id));
                }
            }
        }
        let revision = answer.as_ref().and_then(|answer| {
            let granted = answer.body["revision"].as_u64();
            granted.or(answer.revision)
        });
        self.shared.history.record(&Operation {
            part: self.part,
            client: self.number,
            began_ns,
            ended_ns: is_known.then_some(ended_ns),
            tries: answer.map_or(0, |answer| answer.tries),
            revision: revision.filter(|_| is_known),
            in_fault: faulty_before || self.shared.in_fault.load(Ordering::SeqCst),
            action,
            outcome,
        });
        is_known
    }

    async fn ask(&mut self, action: &Action) -> Option<Answer> {
        let part = self.part;
        let job = |job: &u8| parts::job_path(part, *job);
        match action {
            Action::Allocate { job: number, slots, all } => {
                let path = format!("{}/allocations", job(number));
                self.write("POST", &path, &parts::allocation_body(part, *slots, *all)).await
            }
            Action::Release { job: number, ids } => {
                let path = format!("{}/release", job(number));
                self.write("POST", &path, &json!({"allocation_ids": ids})).await
            }
            Action::ReadJob { job: number } => {
                let path = format!("{}/allocations?limit=1000&{}", job(number), self.freshness());
                self.caller.read(&path, self.patience).await
            }
            Action::PutMaximum { maximum } => {
                let body = json!({"maximum": {"slots": maximum}});
                self.write("PUT", &parts::queue_path(part), &body).await
            }
            Action::ReadQueue => {
                let path = format!("{}?{}", parts::queue_path(part), self.freshness());
                self.caller.read(&path, self.patience).await
            }
            Action::PutMaster { job: number, master } => {
                self.write("PUT", &job(number), &parts::job_body(part, *master)).await
            }
            Action::Renew { job: number, master } => {
                let path = format!("{}/heartbeat", job(number));
                let body = json!({"job_master_id": parts::master_name(*master)});
                self.caller.unkeyed("POST", &path, &body, self.patience).await
            }
        }
    }

    fn freshness(&self) -> &'static str {
        if self.shared.stale_reads { "consistency=stale" } else { "consistency=linearizable" }
    }

    async fn write(&mut self, method: &str, path: &str, body: &Value) -> Option<Answer> {
        self.keys += 1;
        let key = format!("client-{}-{}", self.number, self.keys);
        let answer = self.caller.write((method, path), &key, body, self.patience).await?;
        if answer.is_done() && self.random.random_ratio(1, 10) {
            let again = self.caller.write((method, path), &key, body, self.patience).await;
            if let Some(again) = again.filter(|again| again.body != answer.body) {
                self.shared.violation(format!(
                    "the key `{key}` gave `{}` first and `{}` later",
                    answer.body, again.body
                ));
            }
        }
        Some(answer)
    }

    /// What the answer says. `None`, and a violation, if the contract does not allow it.
    fn read(&self, action: &Action, answer: &Answer) -> Option<Outcome> {
        let outcome =
            if answer.is_done() { done(action, &answer.body) } else { refused(action, answer.code()) };
        if outcome.is_none() {
            self.shared.violation(format!(
                "client {} asked {action:?} and was answered {} {}",
                self.number, answer.status, answer.body
            ));
        }
        outcome
    }
}

fn done(action: &Action, body: &Value) -> Option<Outcome> {
    let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    Some(match action {
        Action::Allocate { .. } => Outcome::Granted { slots: parts::held_slots(&body["allocations"])? },
        Action::Release { .. } => {
            body["unknown"].as_array()?.is_empty().then_some(())?;
            Outcome::Done
        }
        Action::ReadJob { .. } => Outcome::Shown { slots: parts::held_slots(&body["items"])? },
        Action::PutMaximum { .. } | Action::ReadQueue => {
            let (maximum, used) = (number(&body["maximum"]["slots"])?, number(&body["used"]["slots"])?);
            Outcome::Queue { maximum, used }
        }
        Action::PutMaster { .. } => Outcome::Job { slots: number(&body["slots_allocated"])? },
        Action::Renew { .. } => Outcome::Done,
    })
}

fn refused(action: &Action, code: &str) -> Option<Outcome> {
    let is_allowed = matches!(
        (action, code),
        (Action::Allocate { .. }, "insufficient_resources")
            | (Action::PutMaximum { .. }, "queue_above_maximum")
            | (Action::Renew { .. }, "stale_job_master")
    );
    is_allowed.then_some(Outcome::Refused)
}
