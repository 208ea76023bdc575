//! The workload's own TaskManagers: they register, heartbeat, confirm, and watch their fencing tokens.
//!
//! What it promises: within one epoch the generation never falls, and on one slot the token never falls over the whole
//! run; both are checked at each answer. What it must not do: keep a slot that it was told to give up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::history::{Happening, Recorder};
use crate::http::{Answer, Caller};
use crate::workload::{PATIENCE, granted_slots};

/// Slots of each TaskManager.
pub const SLOTS: u32 = 4;

/// The running TaskManagers.
pub struct Fleet {
    tasks: Vec<JoinHandle<usize>>,
}

impl Fleet {
    /// Waits until each has seen that the run is over; gives the violations that they saw.
    pub async fn finish(self) -> usize {
        let mut violations = 0;
        for task in self.tasks {
            violations += task.await.unwrap_or(1);
        }
        violations
    }
}

/// A TaskManager that is to run.
pub struct Recruit {
    /// Its id.
    pub id: String,
    /// The session of this life of it.
    pub session: String,
    /// Its labels, as a JSON object.
    pub labels: Value,
    /// When it goes silent for good; `None`: never.
    pub stops_at: Option<Instant>,
}

/// Registers all TaskManagers and starts their heartbeats.
pub async fn start(
    servers: &[String],
    recruits: Vec<Recruit>,
    recorder: &Arc<Recorder>,
    over: &Arc<AtomicBool>,
) -> Result<Fleet, String> {
    let mut tasks = Vec::new();
    for (number, recruit) in recruits.into_iter().enumerate() {
        let mut task_manager = Agent {
            id: recruit.id,
            session: recruit.session,
            labels: recruit.labels,
            caller: Caller::new(servers, number),
            recorder: recorder.clone(),
            over: over.clone(),
            stops_at: recruit.stops_at,
            epoch: 0,
            generation: 0,
            tokens: BTreeMap::new(),
            registrations: 0,
            violations: 0,
        };
        task_manager.register().await.ok_or("a TaskManager could not register")?;
        tasks.push(tokio::spawn(task_manager.run()));
    }
    Ok(Fleet { tasks })
}

struct Agent {
    id: String,
    session: String,
    labels: Value,
    caller: Caller,
    recorder: Arc<Recorder>,
    over: Arc<AtomicBool>,
    stops_at: Option<Instant>,
    epoch: u64,
    generation: u64,
    /// The highest token seen per slot.
    tokens: BTreeMap<u64, u64>,
    registrations: u64,
    violations: usize,
}

impl Agent {
    async fn run(mut self) -> usize {
        while !self.over.load(Ordering::SeqCst) {
            if self.stops_at.is_some_and(|at| Instant::now() >= at) {
                let now = self.recorder.now_ms();
                let what = Happening::TaskManagerStopped { task_manager: self.id.clone() };
                self.recorder.record(now, 0, None, what);
                return self.violations;
            }
            self.heartbeat().await;
            // The pace of heartbeats, not a wait for anything.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        self.violations
    }

    async fn register(&mut self) -> Option<()> {
        self.registrations += 1;
        let body = json!({
            "task_manager_id": self.id, "session_id": self.session, "address": "127.0.0.1:1", "slots": SLOTS,
            "labels": self.labels,
        });
        let key = format!("{}-register-{}", self.id, self.registrations);
        let answer = self.caller.write(("POST", "/v1/task-managers"), &key, &body, PATIENCE).await?;
        if !answer.is_done() {
            return None;
        }
        let epoch = answer.body["epoch"].as_u64()?;
        if epoch < self.epoch {
            self.violation(format!("the epoch of `{}` fell from {} to {epoch}", self.id, self.epoch));
        }
        if epoch != self.epoch {
            (self.epoch, self.generation) = (epoch, 0);
        }
        self.reconcile(&answer).await;
        Some(())
    }

    async fn heartbeat(&mut self) {
        let path = format!("/v1/task-managers/{}/heartbeat", self.id);
        let body = json!({"epoch": self.epoch, "generation": self.generation});
        // A heartbeat is not repeated under a key: a late one is worthless.
        let patience = Duration::from_secs(2);
        let Some(answer) = self.caller.unkeyed("POST", &path, &body, patience).await else { return };
        match answer.status {
            200 => self.reconcile(&answer).await,
            404 | 409 => {
                self.register().await;
            }
            _ => {}
        }
    }

    async fn reconcile(&mut self, answer: &Answer) {
        let Some(generation) = answer.body["generation"].as_u64() else { return };
        if generation < self.generation {
            // An answer of an older leader may arrive late; a TaskManager refuses it.
            return;
        }
        self.generation = generation;
        if answer.body["allocations"].is_null() {
            return;
        }
        let slots = granted_slots(&answer.body["allocations"]);
        for slot in &slots {
            let last = self.tokens.insert(slot.slot_index, slot.fencing_token).unwrap_or(0);
            if slot.fencing_token < last {
                let found = slot.fencing_token;
                self.violation(format!(
                    "slot {} of `{}`: token {found} after {last}",
                    slot.slot_index, self.id
                ));
            }
        }
        let ids: Vec<&str> = slots.iter().map(|slot| slot.id.as_str()).collect();
        if ids.is_empty() {
            return;
        }
        let path = format!("/v1/task-managers/{}/confirm", self.id);
        let key = format!("{}-{}-{}", self.id, self.epoch, generation);
        let body = json!({"epoch": self.epoch, "allocation_ids": ids});
        let patience = Duration::from_secs(5);
        let _confirmed_later_if_not_now = self.caller.write(("POST", &path), &key, &body, patience).await;
    }

    fn violation(&mut self, what: String) {
        self.violations += 1;
        tracing::error!(task_manager = self.id, "{what}");
        let now = self.recorder.now_ms();
        self.recorder.record(now, 0, None, Happening::Violation { what });
    }
}
