//! The verifying workload: TaskManagers and jobs that hold on to what they were told.
//!
//! What it promises: each client owns one job and knows exactly what that job holds; every write carries a key and is
//! tried until its outcome is known; some are sent again on purpose; linearizable reads must show what the client knows.
//! What it must not do: decide at the end (that is `verdict.rs`, over the whole history).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::history::{GrantedSlot, Happening, Recorder};
use crate::http::{Answer, Caller};
use crate::task_managers::{self, Recruit};

/// How long an operation may take to become known once the faults are over.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The servers' API addresses.
    pub servers: Vec<String>,
    /// When this is set, the clients finish what they are at and end.
    pub stop: Arc<AtomicBool>,
    /// How many clients.
    pub clients: usize,
    /// How many TaskManagers of its own.
    pub task_managers: usize,
    /// After how long one of them goes silent for good; `None`: never.
    pub lose_one_after: Option<Duration>,
    /// Where the history goes.
    pub report: PathBuf,
    /// Seed of the clients' choices.
    pub seed: u64,
}

/// Runs the workload. `Err` is an invalid run, `Ok(n)` a run with `n` violations seen live.
pub async fn run(plan: Plan) -> Result<usize, String> {
    let recorder = Arc::new(Recorder::create(&plan.report).map_err(|error| error.to_string())?);
    let run = format!("run-{}-{}", std::process::id(), plan.seed);
    let jobs: Vec<String> = (0..plan.clients).map(|client| format!("{run}-job-{client}")).collect();
    recorder.record(0, 0, None, Happening::Run { run: run.clone(), jobs: jobs.clone() });
    let over = Arc::new(AtomicBool::new(false));
    let fleet = task_managers::start(&plan.servers, recruits(&plan, &run), &recorder, &over).await?;
    let mut clients = Vec::new();
    for (number, job) in jobs.into_iter().enumerate() {
        let client = Client::new(&plan, number, job, recorder.clone());
        clients.push(tokio::spawn(client.run(plan.stop.clone())));
    }
    let mut violations = 0;
    for client in clients {
        violations += client.await.map_err(|error| format!("a client ended badly: {error}"))??;
    }
    // The fleet goes on: its slots are what the verdict looks at. The caller ends it by ending the process.
    over.store(true, Ordering::SeqCst);
    violations += fleet.finish().await;
    Ok(violations)
}

fn recruits(plan: &Plan, run: &str) -> Vec<Recruit> {
    let recruit = |number| Recruit {
        id: format!("{run}-tm-{number}"),
        session: format!("{run}-session-{number}"),
        labels: json!({}),
        stops_at: plan.lose_one_after.filter(|_| number == 0).map(|after| Instant::now() + after),
    };
    (0..plan.task_managers).map(recruit).collect()
}

struct Client {
    number: usize,
    job: String,
    caller: Caller,
    recorder: Arc<Recorder>,
    random: StdRng,
    /// What the job holds, and the token of each.
    held: BTreeMap<String, GrantedSlot>,
    keys: u64,
    /// The highest revision that an answer to this client carried.
    revision: u64,
    violations: usize,
}

impl Client {
    fn new(plan: &Plan, number: usize, job: String, recorder: Arc<Recorder>) -> Self {
        let random = StdRng::seed_from_u64(plan.seed.wrapping_mul(1000).wrapping_add(number as u64));
        Self {
            number,
            job,
            caller: Caller::new(&plan.servers, number),
            recorder,
            random,
            held: BTreeMap::new(),
            keys: 0,
            revision: 0,
            violations: 0,
        }
    }

    async fn run(mut self, stop: Arc<AtomicBool>) -> Result<usize, String> {
        let path = format!("/v1/jobs/{}", self.job);
        self.write("PUT", &path, &json!({})).await.ok_or("the job could not be put")?;
        while !stop.load(Ordering::SeqCst) {
            match self.random.random_range(0..100) {
                0..50 => self.allocate().await,
                50..85 => self.release().await,
                _ => self.look().await,
            }
        }
        self.look().await;
        Ok(self.violations)
    }

    async fn write(&mut self, method: &str, path: &str, body: &Value) -> Option<(Answer, u64)> {
        self.keys += 1;
        let key = format!("{}-{}", self.job, self.keys);
        let began = self.recorder.now_ms();
        let answer = self.caller.write((method, path), &key, body, PATIENCE).await;
        let Some(answer) = answer else {
            self.recorder.record(began, 0, None, Happening::Unknown { what: format!("{method} {path}") });
            return None;
        };
        self.note_revision(&answer);
        if self.random.random_ratio(1, 10) {
            self.send_again((method, path), &key, body, &answer).await;
        }
        Some((answer, began))
    }

    async fn send_again(&mut self, call: (&str, &str), key: &str, body: &Value, first: &Answer) {
        let began = self.recorder.now_ms();
        let Some(again) = self.caller.write(call, key, body, PATIENCE).await else { return };
        let equal = again.status == first.status && again.body == first.body;
        self.recorder.record(began, again.tries, again.revision, Happening::Replayed { equal });
        if !equal {
            self.violation(format!("the key `{key}` gave `{}` first and `{}` later", first.body, again.body));
        }
    }

    async fn allocate(&mut self) {
        let slots = self.random.random_range(1..=3);
        let wait = if self.random.random_ratio(1, 5) { "500ms" } else { "0s" };
        let mode = if self.random.random_ratio(1, 4) { "best_effort" } else { "all_or_nothing" };
        let body = json!({"slots": slots, "wait": wait, "mode": mode});
        let path = format!("/v1/jobs/{}/allocations", self.job);
        let Some((answer, began)) = self.write("POST", &path, &body).await else { return };
        if !answer.is_done() {
            let code = answer.code().to_owned();
            if !matches!(answer.status, 409 | 429) {
                self.violation(format!("an allocation was refused with {} `{code}`", answer.status));
            }
            return self.recorder.record(began, answer.tries, answer.revision, Happening::Refused { code });
        }
        let granted = granted_slots(&answer.body["allocations"]);
        for slot in &granted {
            if self.held.insert(slot.id.clone(), slot.clone()).is_some() {
                self.violation(format!("allocation `{}` was granted twice", slot.id));
            }
        }
        let what = Happening::Granted { job: self.job.clone(), slots: granted };
        // The body names the revision of the grant; the header may name a later one on a repeated answer.
        let revision = answer.body["revision"].as_u64();
        self.recorder.record(began, answer.tries, revision, what);
    }

    async fn release(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let at = self.random.random_range(0..self.held.len());
        let id = self.held.keys().nth(at).cloned().expect("the index is below the length");
        let path = format!("/v1/jobs/{}/allocations/{id}", self.job);
        let Some((answer, began)) = self.write("DELETE", &path, &Value::Null).await else { return };
        self.held.remove(&id);
        if !answer.is_done() {
            return self
                .violation(format!("releasing `{id}` was refused: {} {}", answer.status, answer.body));
        }
        let what = Happening::Released { job: self.job.clone(), id };
        self.recorder.record(began, answer.tries, answer.revision, what);
    }

    /// A linearizable read of the job must show all that the client holds; what is missing must have a reason.
    async fn look(&mut self) {
        let began = self.recorder.now_ms();
        let path = format!("/v1/jobs/{}/allocations?limit=1000", self.job);
        let Some(answer) = self.caller.read(&path, PATIENCE).await else {
            return self.recorder.record(began, 0, None, Happening::Unknown { what: format!("GET {path}") });
        };
        self.note_revision(&answer);
        let shown: BTreeSet<String> =
            granted_slots(&answer.body["items"]).into_iter().map(|slot| slot.id).collect();
        let missing: Vec<String> = self.held.keys().filter(|id| !shown.contains(*id)).cloned().collect();
        for id in missing {
            self.held.remove(&id);
            match end_reason(&mut self.caller, &id).await {
                Some(reason) if reason != "released" => {}
                other => self.violation(format!("held allocation `{id}` is not shown; its end: {other:?}")),
            }
        }
        let strangers: Vec<String> =
            shown.iter().filter(|id| !self.held.contains_key(*id)).cloned().collect();
        for id in strangers {
            self.violation(format!("job `{}` shows `{id}`, which nobody was told of", self.job));
        }
        let what = Happening::Read { job: self.job.clone(), ids: shown.into_iter().collect() };
        self.recorder.record(began, answer.tries, answer.revision, what);
    }

    fn note_revision(&mut self, answer: &Answer) {
        let Some(revision) = answer.revision.filter(|_| !answer.replayed) else { return };
        if revision < self.revision {
            self.violation(format!(
                "client {} saw revision {} after {}",
                self.number, revision, self.revision
            ));
        }
        self.revision = self.revision.max(revision);
    }

    fn violation(&mut self, what: String) {
        self.violations += 1;
        tracing::error!(client = self.number, "{what}");
        let now = self.recorder.now_ms();
        self.recorder.record(now, 0, None, Happening::Violation { what });
    }
}

/// Why an allocation ended; `None` if it lives or is not known.
pub async fn end_reason(caller: &mut Caller, id: &str) -> Option<String> {
    let answer = caller.read(&format!("/v1/allocations/{id}"), PATIENCE).await?;
    if answer.status == 404 {
        return None;
    }
    answer.body["reason"].as_str().map(str::to_owned)
}

/// The slots in a list of allocations.
pub fn granted_slots(list: &Value) -> Vec<GrantedSlot> {
    let slot = |value: &Value| {
        Some(GrantedSlot {
            id: value["allocation_id"].as_str()?.to_owned(),
            task_manager: value["task_manager_id"].as_str()?.to_owned(),
            slot_index: value["slot_index"].as_u64()?,
            fencing_token: value["fencing_token"].as_u64()?,
        })
    };
    list.as_array().into_iter().flatten().filter_map(slot).collect()
}
