//! A real `slotkeeper agent` that stands still past its deadline: what it says late is refused, its slot goes on under a newer
//! token, and when it wakes it has ended its work itself before anything new starts.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::cluster::{Cluster, SETTLE};
use super::drill::{must, turn};
use super::faults::lost_task_managers;
use super::http::{Answer, Caller};

/// An agent with one slot, whose hooks write down what they are asked for.
struct Agent {
    child: Child,
    journal: PathBuf,
}

impl Agent {
    fn start(cluster: &Cluster) -> Self {
        let journal = cluster.folder().join("journal");
        let write = |what: &str| {
            format!("echo {what} $SLOTKEEPER_FENCING_TOKEN $SLOTKEEPER_REASON >> {}", journal.display())
        };
        let log = std::fs::File::create(cluster.folder().join("agent.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_slotkeeper"))
            .args(["agent", "--id", "sleeper", "--slots", "1"])
            .args(["--on-start", &write("start"), "--on-stop", &write("stop")])
            .env("SLOTKEEPER_SERVERS", cluster.api_addrs().join(","))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, journal }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn journal(&self) -> String {
        std::fs::read_to_string(&self.journal).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

async fn until(what: &str, cluster: &Cluster, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SETTLE;
    while !condition().await {
        let said = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let agent = said(&cluster.folder().join("agent.log"));
        let journal = said(&cluster.folder().join("journal"));
        assert!(
            Instant::now() < deadline,
            "waited in vain until {what}\n{journal}\n{agent}\n{}",
            cluster.all_logs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A slot for the job, once one is free.
async fn allocate(caller: &mut Caller, key: &str) -> Value {
    let body = json!({"slots": 1, "wait": "30s"});
    let answer = must(caller, ("POST", "/v1/jobs/job/allocations"), key, &body).await;
    answer.body["allocations"][0].clone()
}

async fn late_call(caller: &mut Caller, call: &str, body: Value) -> Answer {
    let path = format!("/v1/task-managers/sleeper/{call}");
    caller.unkeyed("POST", &path, &body, SETTLE).await.expect("the cluster answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_slept_past_its_deadline_is_fenced_and_ends_its_work_itself() {
    let _turn = turn().await;
    let cluster = Cluster::start(env!("CARGO_BIN_EXE_slotkeeper").as_ref(), 3, &[]).await;
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    must(&mut caller, ("PUT", "/v1/jobs/job"), "job", &json!({})).await;
    let agent = Agent::start(&cluster);
    let first = allocate(&mut caller, "first").await;
    let (first_id, first_token) = (&first["allocation_id"], first["fencing_token"].as_u64().unwrap());
    let started = format!("start {first_token} granted\n");
    until("the work runs", &cluster, async || agent.journal() == started).await;

    agent.signal(Signal::STOP);
    until("it is lost", &cluster, async || lost_task_managers(&cluster).await == 1).await;
    let ended =
        caller.read(&format!("/v1/allocations/{}", first_id.as_str().unwrap()), SETTLE).await.unwrap();
    assert!(ended.body["reason"].is_string(), "the slot was not taken back: {}", ended.body);
    // What it may have on its way, or says before it has looked at its clock.
    for (call, body) in [
        ("heartbeat", json!({"epoch": 1, "generation": 1})),
        ("confirm", json!({"epoch": 1, "allocation_ids": [first_id]})),
    ] {
        let late = late_call(&mut caller, call, body).await;
        assert_eq!((late.status, late.code()), (409, "stale_epoch"), "{call}: {}", late.body);
    }

    agent.signal(Signal::CONT);
    let stopped = format!("{started}stop {first_token} lease_expired\n");
    until("it has ended its work", &cluster, async || agent.journal().starts_with(&stopped)).await;
    let second = allocate(&mut caller, "second").await;
    let second_token = second["fencing_token"].as_u64().unwrap();
    assert!(second_token > first_token, "the slot's token did not grow: {first_token}, {second_token}");
    let all = format!("{stopped}start {second_token} granted\n");
    until("the new work runs, after the old one", &cluster, async || agent.journal() == all).await;
}
