//! How an agent ends, and what it shows on its local socket.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use slotkeeper::agent::{Agent, AgentEnd, AgentStartError, AgentState};

use crate::stage::{Mood, Stage, TASK_MANAGER, allocation, until};

const DEREGISTERS: &str = "DELETE /v1/task-managers/tm-1";

#[tokio::test]
async fn a_leaving_agent_stops_its_work_and_deregisters_its_own_registration() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let agent = stage.settled_agent().await;
    assert_eq!(agent.leave().await, AgentEnd::Left);
    let left: Vec<_> = stage.server.asked().into_iter().filter(|asked| asked.line() == DEREGISTERS).collect();
    assert_eq!(left.len(), 1);
    assert!(left[0].query.starts_with("epoch=1"), "{}", left[0].query);
    assert_eq!(stage.hooks.calls(), ["start 1", "stop 1 leaving", "stopped 1"]);
    let heartbeats = stage.heartbeats();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((stage.heartbeats(), stage.registrations()), (heartbeats, 1), "nothing talks any more");
}

#[tokio::test]
async fn a_leaving_agent_keeps_its_registration_until_its_work_has_stopped() {
    let stage = Stage::with(vec![allocation(1, 0), allocation(2, 1)]).await;
    let agent = stage.settled_agent().await;
    stage.hooks.fail_stop(1, true);
    let leaving = tokio::spawn(agent.leave());
    until("the other one is given back", || stage.failure(2).is_some()).await;
    assert_eq!(stage.failure(2).unwrap(), "the TaskManager is leaving");
    stage.more_heartbeats(2).await;
    assert_eq!(stage.server.count(DEREGISTERS), 0, "its work still runs");
    stage.assign(vec![allocation(1, 0), allocation(3, 1)]);
    until("what is granted late is given back", || stage.failure(3).is_some()).await;
    assert!(!stage.hooks.has("start 3") && stage.failure(1).is_none());
    stage.hooks.fail_stop(1, false);
    assert_eq!(leaving.await.unwrap(), AgentEnd::Left);
    assert_eq!(stage.server.count(DEREGISTERS), 1);
}

#[tokio::test]
async fn a_leaving_agent_whose_registration_is_gone_does_not_register_again() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let agent = stage.settled_agent().await;
    stage.hooks.fail_stop(1, true);
    let view = agent.watch();
    let leaving = tokio::spawn(agent.leave());
    until("it is leaving", || view.borrow().state == AgentState::Leaving).await;
    stage.change(|script| script.mood = Mood::Disowning(409, "stale_epoch"));
    until("it knows", || view.borrow().epoch.is_none()).await;
    stage.hooks.fail_stop(1, false);
    assert_eq!(leaving.await.unwrap(), AgentEnd::Left);
    assert_eq!((stage.registrations(), stage.server.count(DEREGISTERS)), (1, 0));
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
    clock.advance(Duration::from_millis(29_999));
    stage.more_heartbeats(1).await;
    assert_eq!(stage.server.count(DEREGISTERS), 0, "there is time left");
    clock.advance(Duration::from_millis(1));
    assert_eq!(leaving.await.unwrap(), AgentEnd::WorkRemains { slots: 1 });
    assert_eq!(stage.server.count(DEREGISTERS), 1, "the cluster knows all the same");
}

#[tokio::test]
async fn an_abandoned_agent_tells_nobody_as_if_it_had_died() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    drop(stage.settled_agent().await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(stage.hooks.calls(), ["start 1"]);
    assert_eq!(stage.server.count(DEREGISTERS), 0);
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
