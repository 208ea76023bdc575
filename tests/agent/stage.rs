//! A cluster that does as the test says, hooks that record, and an agent between them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use slotkeeper::agent::{
    Agent, AgentConfig, AgentHandle, AgentView, HookFailure, Hooks, SlotState, StopReason, Surroundings, Work,
};
use slotkeeper::client::{Client, ClientOptions, Seams};
use slotkeeper::clock::ManualClock;
use uuid::Uuid;

use crate::scripted_server::{Asked, Reply, ScriptedServer};

pub const TASK_MANAGER: &str = "tm-1";
/// The lease that the scripted cluster gives, on the manual clock.
pub const LEASE: Duration = Duration::from_secs(5);

/// How the cluster answers at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Serving,
    NoLeader,
    Hanging,
    /// Heartbeats are answered with this status and code until the agent has registered again.
    Disowning(u16, &'static str),
    RefusingRegistration,
}

/// What the scripted cluster knows.
pub struct Script {
    pub mood: Mood,
    pub epoch: u64,
    pub generation: u64,
    pub allocations: Vec<Value>,
    /// What heartbeats say in place of `generation`, if anything.
    pub heartbeat_generation: Option<u64>,
    /// How long the answer to a heartbeat is on its way.
    pub heartbeat_delay: Duration,
}

pub fn id(number: u64) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

/// Allocation `number` with its number as fencing token.
pub fn allocation(number: u64, slot_index: u32) -> Value {
    json!({
        "allocation_id": id(number), "job_id": "job", "task_manager_id": TASK_MANAGER, "address": "here:1",
        "slot_index": slot_index, "profile": {"cpu_cores": 1.5}, "fencing_token": number, "state": "pending"
    })
}

/// The cluster, the hooks and the clock of one test.
pub struct Stage {
    pub server: ScriptedServer,
    pub script: Arc<Mutex<Script>>,
    pub hooks: Arc<RecordingHooks>,
    pub clock: Arc<ManualClock>,
}

impl Stage {
    pub async fn with(allocations: Vec<Value>) -> Self {
        let script = Script {
            mood: Mood::Serving,
            epoch: 1,
            generation: 10,
            allocations,
            heartbeat_generation: None,
            heartbeat_delay: Duration::ZERO,
        };
        let script = Arc::new(Mutex::new(script));
        let shared = Arc::clone(&script);
        let server = ScriptedServer::start(move |asked| answer(&mut shared.lock().unwrap(), asked)).await;
        let clock = Arc::new(ManualClock::new(0));
        Self { server, script, hooks: Arc::default(), clock }
    }

    pub fn surroundings(&self) -> Surroundings {
        let counter = AtomicU64::new(0);
        let mut options = ClientOptions::new([self.server.url()]);
        options.backoff_max = Duration::from_millis(20);
        let seams = Seams::new(Instant::now, move || counter.fetch_add(1, Ordering::Relaxed));
        let random = Arc::clone(&seams.random);
        let client = Client::new(options, seams).unwrap();
        Surroundings { client, clock: self.clock.clone(), random }
    }

    pub fn config(&self) -> AgentConfig {
        let registration = json!({
            "task_manager_id": TASK_MANAGER, "session_id": "session", "address": "here:1", "slots": 4
        });
        let mut config = AgentConfig::new(serde_json::from_value(registration).unwrap());
        config.stop_retry_pause = Duration::from_millis(20);
        config
    }

    pub async fn agent(&self) -> AgentHandle {
        Agent::start(self.config(), self.surroundings(), self.hooks.clone()).await.unwrap()
    }

    /// An agent whose allocations all run and are confirmed.
    pub async fn settled_agent(&self) -> AgentHandle {
        let agent = self.agent().await;
        let wanted = self.script.lock().unwrap().allocations.len();
        until("all work runs", || running(&agent.view()) == wanted && self.confirmed().len() == wanted).await;
        agent
    }

    /// Changes what the cluster knows and says.
    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    /// The next generation has these allocations.
    pub fn assign(&self, allocations: Vec<Value>) {
        self.change(|script| {
            script.generation += 1;
            script.allocations = allocations;
        });
    }

    /// Everything that the agent has ever confirmed.
    pub fn confirmed(&self) -> BTreeSet<Uuid> {
        let ids = |asked: &Asked| {
            serde_json::from_value::<Vec<Uuid>>(asked.body["allocation_ids"].clone()).unwrap()
        };
        self.confirms().iter().flat_map(ids).collect()
    }

    /// The reason that the agent has given for the failure of an allocation.
    pub fn failure(&self, number: u64) -> Option<String> {
        let wanted = json!(id(number));
        let failed = |asked: &Asked| asked.body["failed"].as_array().cloned().unwrap_or_default();
        let found = self.confirms().iter().flat_map(failed).find(|failed| failed["allocation_id"] == wanted);
        found.and_then(|failed| failed["reason"].as_str().map(str::to_owned))
    }

    fn confirms(&self) -> Vec<Asked> {
        self.server.asked().into_iter().filter(|asked| asked.path.ends_with("/confirm")).collect()
    }

    pub fn registrations(&self) -> usize {
        self.server.count("POST /v1/task-managers")
    }

    pub fn heartbeats(&self) -> usize {
        self.server.count(&format!("POST /v1/task-managers/{TASK_MANAGER}/heartbeat"))
    }

    /// Waits until `more` heartbeats have been asked from now on.
    pub async fn more_heartbeats(&self, more: usize) {
        let had = self.heartbeats();
        until("more heartbeats come", || self.heartbeats() >= had + more).await;
    }
}

fn answer(script: &mut Script, asked: &Asked) -> Reply {
    match script.mood {
        Mood::NoLeader => return Reply::problem(503, "no_leader", true),
        Mood::Hanging => return Reply::Hang,
        _ => {}
    }
    let registers = asked.line() == "POST /v1/task-managers";
    match (asked.method.as_str(), asked.path.rsplit('/').next().unwrap_or_default()) {
        ("POST", "task-managers") if script.mood == Mood::RefusingRegistration => {
            Reply::problem(400, "invalid_request", false)
        }
        ("POST", "task-managers") => {
            script.mood = Mood::Serving;
            Reply::Json(
                201,
                json!({
                    "task_manager_id": TASK_MANAGER, "epoch": script.epoch, "heartbeat_interval_ms": 20,
                    "heartbeat_timeout_ms": LEASE.as_millis() as u64, "generation": script.generation,
                    "allocations": script.allocations,
                }),
            )
        }
        ("POST", _) if !registers && matches!(script.mood, Mood::Disowning(..)) => {
            let Mood::Disowning(status, code) = script.mood else { unreachable!() };
            Reply::problem(status, code, false)
        }
        ("POST", "heartbeat") => {
            let generation = script.heartbeat_generation.unwrap_or(script.generation);
            let mut answer = json!({"generation": generation, "deadline_ms": LEASE.as_millis() as u64});
            if asked.body["generation"] != json!(generation) {
                answer["allocations"] = json!(script.allocations);
            }
            Reply::After(script.heartbeat_delay, Box::new(Reply::ok(answer)))
        }
        ("GET", "allocations") => {
            let answer = json!({
                "epoch": script.epoch, "generation": script.generation, "allocations": script.allocations
            });
            if asked.query.contains(&format!("generation={}&", script.generation)) {
                return Reply::After(Duration::from_millis(50), Box::new(Reply::ok(answer)));
            }
            Reply::ok(answer)
        }
        ("POST", "confirm") => Reply::ok(json!({"active": 0, "failed": 0, "unknown": 0, "revision": 1})),
        ("DELETE", _) => Reply::ok(json!({"task_manager_id": TASK_MANAGER, "revision": 2})),
        other => panic!("the agent asks for {other:?}"),
    }
}

/// Hooks that record what they are asked for and do as the test says.
#[derive(Default)]
pub struct RecordingHooks {
    calls: Mutex<Vec<String>>,
    failing_starts: Mutex<BTreeSet<Uuid>>,
    failing_stops: Mutex<BTreeSet<Uuid>>,
    hanging_starts: Mutex<BTreeSet<Uuid>>,
}

impl RecordingHooks {
    /// `start N`, `stop N REASON` and `stopped N`, in order.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    pub fn has(&self, call: &str) -> bool {
        self.calls().iter().any(|seen| seen == call)
    }

    pub fn fail_start(&self, number: u64) {
        self.failing_starts.lock().unwrap().insert(id(number));
    }

    pub fn hang_start(&self, number: u64) {
        self.hanging_starts.lock().unwrap().insert(id(number));
    }

    pub fn fail_stop(&self, number: u64, fails: bool) {
        let mut failing = self.failing_stops.lock().unwrap();
        if fails {
            failing.insert(id(number));
        } else {
            failing.remove(&id(number));
        }
    }

    fn record(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }
}

#[async_trait]
impl Hooks for RecordingHooks {
    async fn start(&self, work: &Work) -> Result<(), HookFailure> {
        self.record(format!("start {}", work.fencing_token));
        if self.hanging_starts.lock().unwrap().contains(&work.allocation_id) {
            std::future::pending::<()>().await;
        }
        match self.failing_starts.lock().unwrap().contains(&work.allocation_id) {
            true => Err(HookFailure("no such program".to_owned())),
            false => Ok(()),
        }
    }

    async fn stop(&self, work: &Work, reason: StopReason) -> Result<(), HookFailure> {
        self.record(format!("stop {} {reason}", work.fencing_token));
        // Long enough for a start that does not wait to come before the end of the stop.
        tokio::time::sleep(Duration::from_millis(30)).await;
        if self.failing_stops.lock().unwrap().contains(&work.allocation_id) {
            return Err(HookFailure("it does not die".to_owned()));
        }
        self.record(format!("stopped {}", work.fencing_token));
        Ok(())
    }
}

/// How many slots run.
pub fn running(view: &AgentView) -> usize {
    view.slots.iter().filter(|slot| slot.state == SlotState::Running).count()
}

/// Waits until `condition` holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
