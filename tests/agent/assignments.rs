//! Which allocations the agent takes, in which order it acts on them, and what it reports.

use crate::stage::{Stage, allocation, id, running, until};

#[tokio::test]
async fn new_work_is_started_and_confirmed_and_withdrawn_work_is_stopped() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let agent = stage.settled_agent().await;
    stage.assign(vec![allocation(1, 0), allocation(2, 1)]);
    until("the second is confirmed", || stage.confirmed().contains(&id(2))).await;
    stage.assign(vec![allocation(2, 1)]);
    until("the first is stopped", || stage.hooks.has("stopped 1")).await;
    until("one runs", || running(&agent.view()) == 1).await;
    assert_eq!(stage.hooks.calls(), ["start 1", "start 2", "stop 1 withdrawn", "stopped 1"]);
}

#[tokio::test]
async fn in_one_slot_the_stop_is_over_before_the_next_start_begins() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let _agent = stage.settled_agent().await;
    stage.assign(vec![allocation(2, 0)]);
    until("the second runs", || stage.confirmed().contains(&id(2))).await;
    assert_eq!(stage.hooks.calls(), ["start 1", "stop 1 withdrawn", "stopped 1", "start 2"]);
}

#[tokio::test]
async fn an_older_generation_by_long_poll_is_refused() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let agent = stage.settled_agent().await;
    // A replica that lags behind: the long poll shows what was, while heartbeats go by the leader.
    stage.change(|script| {
        script.heartbeat_generation = Some(script.generation);
        script.generation = 9;
        script.allocations = vec![];
    });
    let polls = || stage.server.count("GET /v1/task-managers/tm-1/allocations");
    let had = polls();
    until("the old list was told some times", || polls() >= had + 3).await;
    stage.more_heartbeats(3).await;
    assert_eq!(running(&agent.view()), 1);
    assert_eq!(stage.hooks.calls(), ["start 1"]);
}

#[tokio::test]
async fn a_lower_fencing_token_is_refused_and_reported() {
    let stage = Stage::with(vec![allocation(7, 0)]).await;
    let _agent = stage.settled_agent().await;
    stage.assign(vec![]);
    until("the first is stopped", || stage.hooks.has("stopped 7")).await;
    stage.assign(vec![allocation(5, 0)]);
    until("the refusal is reported", || stage.failure(5).is_some()).await;
    assert!(stage.failure(5).unwrap().contains("fencing token 5 is not above 7"));
    assert!(!stage.hooks.has("start 5"));
}

#[tokio::test]
async fn a_failed_start_is_cleared_away_and_reported_with_its_reason() {
    let stage = Stage::with(vec![]).await;
    let agent = stage.settled_agent().await;
    stage.hooks.fail_start(1);
    stage.assign(vec![allocation(1, 0), allocation(2, 1)]);
    until("the failure is reported", || stage.failure(1).is_some()).await;
    assert_eq!(stage.failure(1).unwrap(), "no such program");
    until("what may be left is cleared away", || stage.hooks.has("stop 1 start_failed")).await;
    until("the other one runs", || stage.confirmed().contains(&id(2)) && running(&agent.view()) == 1).await;
    assert!(!stage.confirmed().contains(&id(1)));
}

#[tokio::test]
async fn a_start_under_way_is_broken_off_when_its_work_is_withdrawn() {
    let stage = Stage::with(vec![]).await;
    let _agent = stage.settled_agent().await;
    stage.hooks.hang_start(1);
    stage.assign(vec![allocation(1, 0)]);
    until("it starts", || stage.hooks.has("start 1")).await;
    stage.assign(vec![allocation(2, 0)]);
    until("the next one runs", || stage.confirmed().contains(&id(2))).await;
    assert_eq!(stage.hooks.calls(), ["start 1", "stop 1 withdrawn", "stopped 1", "start 2"]);
}

#[tokio::test]
async fn a_slot_that_can_not_be_cleaned_takes_nothing_new_until_a_later_stop_succeeds() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let _agent = stage.settled_agent().await;
    stage.hooks.fail_stop(1, true);
    stage.assign(vec![allocation(2, 0)]);
    until("the new one is given back", || stage.failure(2).is_some()).await;
    assert!(stage.failure(2).unwrap().contains("slot 0 is not clean"));
    stage.hooks.fail_stop(1, false);
    until("the stop is tried again", || stage.hooks.has("stopped 1")).await;
    stage.assign(vec![allocation(3, 0)]);
    until("the slot serves again", || stage.confirmed().contains(&id(3))).await;
    assert!(!stage.hooks.has("start 2"));
}
