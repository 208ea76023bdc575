//! The TaskManagers of a run: registered, kept alive, removed.
//!
//! Promises: while the fleet is kept, every TaskManager sends a heartbeat three times in its timeout, also while others are
//! still being registered; a heartbeat that fails is sent again. Must not: count towards what is measured.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::caller::{Caller, Miss};
use super::leader::LeaderView;
use super::options::{BenchOptions, Workload};
use crate::api::task_managers::TaskManagerRegistered;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::client::LaneRequest;
use crate::clock::{Clock as _, SystemClock};

/// Connections for registering and for heartbeats.
const KEEPERS: u32 = 16;
/// How long one request of the fleet may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The pause after a heartbeat or a registration that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Failures in a row after which a registration is given up.
const RETRIES_MAX: u32 = 100;

/// A registered TaskManager.
#[derive(Debug, Clone)]
pub(super) struct Registered {
    pub(super) id: String,
    epoch: u64,
    /// The version of its allocations that it was told last; as with a real one, only a newer list is sent to it.
    generation: u64,
    timeout: Duration,
}

impl Registered {
    /// Where its heartbeats go.
    pub(super) fn heartbeat_target(&self) -> String {
        format!("/v1/task-managers/{}/heartbeat", self.id)
    }

    /// What a heartbeat says.
    pub(super) fn heartbeat_body(&self) -> String {
        format!("{{\"epoch\":{},\"generation\":{}}}", self.epoch, self.generation)
    }
}

/// What is read of the answer to a heartbeat.
#[derive(Debug, Deserialize)]
struct Beaten {
    generation: u64,
}

/// The TaskManagers of this run.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) task_managers: Arc<Vec<Registered>>,
    /// Sends heartbeats; ends when it is dropped.
    _keepers: JoinSet<()>,
}

impl Fleet {
    /// Registers all TaskManagers and begins to keep them alive.
    ///
    /// # Errors
    /// Why one can not be registered.
    pub(super) async fn start(
        run: &str,
        leader: &LeaderView,
        options: &BenchOptions,
    ) -> Result<Self, Failure> {
        let done = Arc::new(Mutex::new(Vec::new()));
        let (mut keepers, mut waiting) = (JoinSet::new(), Vec::new());
        for keeper in 0..KEEPERS.min(options.task_managers) {
            let numbers = (keeper..options.task_managers).step_by(KEEPERS as usize);
            let (told, registered) = tokio::sync::oneshot::channel();
            waiting.push(registered);
            keepers.spawn(
                Keeper {
                    caller: Caller::new(leader.clone(), LIMIT),
                    run: run.to_owned(),
                    slots: options.task_manager_slots,
                    waiting: numbers.collect(),
                    due: VecDeque::new(),
                    done: Arc::clone(&done),
                    keeps: options.workload != Workload::Heartbeats,
                }
                .run(told),
            );
        }
        for registered in waiting {
            let ended = || Failure::new(Exit::Bug, "a keeper of TaskManagers has ended");
            registered.await.map_err(|_| ended())?.map_err(|miss| {
                let message = format!("the TaskManagers can not be registered ({})", miss.code);
                Failure::new(Exit::Unavailable, message)
            })?;
        }
        let task_managers = std::mem::take(&mut *done.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Self { task_managers: Arc::new(task_managers), _keepers: keepers })
    }
}

/// A part of the fleet on one connection.
struct Keeper {
    caller: Caller,
    run: String,
    slots: u32,
    /// Numbers of those that are not registered.
    waiting: VecDeque<u32>,
    /// The others, by when the next heartbeat is due.
    due: VecDeque<(Instant, Registered)>,
    done: Arc<Mutex<Vec<Registered>>>,
    keeps: bool,
}

type Told = tokio::sync::oneshot::Sender<Result<(), Miss>>;

impl Keeper {
    async fn run(mut self, told: Told) {
        let registered = self.register_all().await;
        let goes_on = registered.is_ok() && self.keeps;
        // Nobody waits any more if another part has failed.
        let _ = told.send(registered);
        if goes_on {
            loop {
                self.beat().await;
            }
        }
    }

    async fn register_all(&mut self) -> Result<(), Miss> {
        let mut failures = 0;
        while let Some(number) = self.waiting.front().copied() {
            if self.is_beat_due() {
                self.beat().await;
                continue;
            }
            match self.register(number).await {
                Ok(registered) => {
                    failures = 0;
                    self.waiting.pop_front();
                    self.done.lock().unwrap_or_else(PoisonError::into_inner).push(registered.clone());
                    self.due.push_back((SystemClock.now() + registered.timeout / 3, registered));
                }
                Err(miss) if failures >= RETRIES_MAX => return Err(miss),
                Err(miss) => {
                    failures += 1;
                    tokio::time::sleep(miss.pause.max(RETRY_PAUSE)).await;
                }
            }
        }
        Ok(())
    }

    async fn register(&mut self, number: u32) -> Result<Registered, Miss> {
        let id = format!("bench-{}-{number}", self.run);
        let body = json!({"task_manager_id": id, "session_id": self.run, "address": id, "slots": self.slots});
        let body = body.to_string();
        let request =
            LaneRequest { method: "POST", target: "/v1/task-managers", key: None, body: body.as_bytes() };
        let answer = self.caller.call(request).await?;
        let registered: TaskManagerRegistered = serde_json::from_slice(answer)
            .map_err(|_| Miss { code: "unreadable".to_owned(), pause: Duration::ZERO })?;
        let timeout = Duration::from_millis(registered.heartbeat_timeout_ms);
        Ok(Registered { id, epoch: registered.epoch.0, generation: registered.generation.0, timeout })
    }

    fn is_beat_due(&self) -> bool {
        self.keeps && self.due.front().is_some_and(|(due, _)| *due <= SystemClock.now())
    }

    /// Waits for the next heartbeat that is due, and sends it.
    async fn beat(&mut self) {
        let Some((due, mut task_manager)) = self.due.pop_front() else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(due.into()).await;
        let (target, body) = (task_manager.heartbeat_target(), task_manager.heartbeat_body());
        let request = LaneRequest { method: "POST", target: &target, key: None, body: body.as_bytes() };
        match self.caller.call(request).await {
            Ok(answer) => {
                if let Ok(beaten) = serde_json::from_slice::<Beaten>(answer) {
                    task_manager.generation = beaten.generation;
                }
                let next = SystemClock.now() + task_manager.timeout / 3;
                self.due.push_back((next, task_manager));
            }
            // Lost or removed: nothing that a heartbeat could change.
            Err(miss) if matches!(miss.code.as_str(), "unknown_task_manager" | "stale_epoch") => {}
            Err(miss) => {
                tokio::time::sleep(miss.pause.max(RETRY_PAUSE)).await;
                self.due.push_front((due, task_manager));
            }
        }
    }
}
