//! How an agent ends, and what it shows on its local socket.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use slotkeeper::agent::{Agent, AgentEnd, AgentStartError};

use crate::stage::{Mood, Stage, TASK_MANAGER, allocation, until};

#[tokio::test]
async fn a_leaving_agent_deregisters_and_stops_its_work() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let agent = stage.settled_agent().await;
    assert_eq!(agent.leave().await, AgentEnd::Left);
    assert_eq!(stage.server.count(&format!("DELETE /v1/task-managers/{TASK_MANAGER}")), 1);
    assert_eq!(stage.hooks.calls(), ["start 1", "stop 1 leaving", "stopped 1"]);
    let heartbeats = stage.heartbeats();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((stage.heartbeats(), stage.registrations()), (heartbeats, 1), "nothing talks any more");
}

#[tokio::test]
async fn without_a_cluster_the_work_is_stopped_all_the_same() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let agent = stage.settled_agent().await;
    stage.change(|script| script.mood = Mood::NoLeader);
    assert_eq!(agent.leave().await, AgentEnd::Left);
    assert!(stage.hooks.has("stopped 1"));
}

#[tokio::test]
async fn work_that_can_not_be_stopped_in_time_is_counted() {
    let stage = Stage::with(vec![allocation(1, 0), allocation(2, 1)]).await;
    let agent = stage.settled_agent().await;
    stage.hooks.fail_stop(1, true);
    let clock = stage.clock.clone();
    let leaving = tokio::spawn(agent.leave());
    until("the other one is stopped", || stage.hooks.has("stopped 2")).await;
    clock.advance(Duration::from_secs(30));
    assert_eq!(leaving.await.unwrap(), AgentEnd::WorkRemains { slots: 1 });
}

#[tokio::test]
async fn an_abandoned_agent_tells_nobody_as_if_it_had_died() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    drop(stage.settled_agent().await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(stage.hooks.calls(), ["start 1"]);
    assert_eq!(stage.server.count(&format!("DELETE /v1/task-managers/{TASK_MANAGER}")), 0);
}

#[tokio::test]
async fn the_local_socket_shows_the_current_view_and_goes_with_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    // What an agent that was killed leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let stage = Stage::with(vec![allocation(3, 1)]).await;
    let mut config = stage.config();
    config.socket = Some(path.clone());
    let agent = Agent::start(config.clone(), stage.surroundings(), stage.hooks.clone()).await.unwrap();
    until("the work runs", || stage.confirmed().len() == 1).await;

    let view = read_view(&path).await;
    assert_eq!(view["task_manager_id"], TASK_MANAGER);
    assert_eq!(view["state"], "registered");
    assert_eq!((&view["epoch"], &view["generation"]), (&1.into(), &10.into()));
    assert!(view["lease_remaining_ms"].as_u64().unwrap() > 0);
    let slot = &view["slots"][0];
    assert_eq!(
        (&slot["slot_index"], &slot["state"], &slot["fencing_token"]),
        (&1.into(), &"running".into(), &3.into())
    );
    assert_eq!(slot["profile"]["cpu_cores"], 1.5);

    let second = Agent::start(config, stage.surroundings(), stage.hooks.clone()).await;
    assert!(
        matches!(second, Err(AgentStartError::Socket { .. })),
        "the socket of a living agent is not taken over"
    );
    agent.leave().await;
    assert!(!path.exists());
}

async fn read_view(path: &Path) -> Value {
    let path = path.to_owned();
    let text = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        UnixStream::connect(path).unwrap().read_to_string(&mut text).unwrap();
        text
    });
    let text = text.await.unwrap();
    assert_eq!(text.lines().count(), 1, "one document on one line");
    serde_json::from_str(&text).unwrap()
}
