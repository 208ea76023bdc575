//! Registering, and registering again.

use serde_json::json;
use slotkeeper::agent::{AgentEnd, AgentState};

use crate::stage::{LEASE, Mood, Stage, allocation, id, running, until};

#[tokio::test]
async fn a_registration_that_is_gone_is_made_again_with_the_same_session() {
    for (status, code) in [(404, "unknown_task_manager"), (409, "stale_epoch")] {
        let stage = Stage::with(vec![allocation(1, 0)]).await;
        let agent = stage.settled_agent().await;
        stage.change(|script| {
            script.mood = Mood::Disowning(status, code);
            script.epoch = 2;
        });
        until("it registers again", || stage.registrations() == 2 && agent.view().epoch == Some(2)).await;
        let asked = stage.server.asked();
        let sessions: Vec<_> =
            asked.iter().filter(|asked| asked.line() == "POST /v1/task-managers").collect();
        assert_eq!(sessions[0].body["session_id"], sessions[1].body["session_id"]);
        stage.more_heartbeats(2).await;
        assert_eq!(running(&agent.view()), 1, "the cluster still wants the work, so it went on");
        assert_eq!(stage.hooks.calls(), ["start 1"]);
    }
}

#[tokio::test]
async fn a_new_registration_without_the_old_work_stops_it() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let _agent = stage.settled_agent().await;
    stage.change(|script| {
        script.mood = Mood::Disowning(409, "stale_epoch");
        script.epoch = 2;
        script.allocations = vec![];
    });
    until("the old work is stopped", || stage.hooks.has("stop 1 withdrawn")).await;
}

#[tokio::test]
async fn a_cluster_that_went_back_in_time_is_asked_by_registering() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let agent = stage.settled_agent().await;
    stage.change(|script| {
        script.generation = 4;
        script.allocations = vec![allocation(100, 0)];
    });
    until("it registers again", || stage.registrations() == 2).await;
    until("it takes what holds now", || agent.view().generation == Some(4) && stage.hooks.has("start 100"))
        .await;
}

#[tokio::test]
async fn without_a_cluster_the_agent_waits_and_registers_when_one_is_there() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    stage.change(|script| script.mood = Mood::NoLeader);
    let agent = stage.agent().await;
    until("it has tried", || stage.registrations() >= 2).await;
    assert_eq!(agent.view().state, AgentState::Registering);
    stage.clock.advance(LEASE * 10);
    stage.change(|script| script.mood = Mood::Serving);
    until("it runs the work", || running(&agent.view()) == 1).await;
}

#[tokio::test]
async fn a_registration_that_can_not_be_valid_ends_the_agent_with_the_reason() {
    let stage = Stage::with(vec![]).await;
    stage.change(|script| script.mood = Mood::RefusingRegistration);
    let mut agent = stage.agent().await;
    let AgentEnd::Refused(problem) = agent.ended().await else { panic!("it ends with the refusal") };
    assert_eq!(problem.code.as_str(), "invalid_request");
}

#[tokio::test]
async fn what_is_held_is_told_with_every_heartbeat() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let _agent = stage.settled_agent().await;
    stage.more_heartbeats(1).await;
    let had = stage.heartbeats();
    stage.more_heartbeats(3).await;
    let asked = stage.server.asked().into_iter().filter(|asked| asked.path.ends_with("/heartbeat"));
    for heartbeat in asked.skip(had) {
        assert_eq!(heartbeat.body["held"], json!([id(1)]));
    }
}
