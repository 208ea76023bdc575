//! The agent's own deadline.

use std::time::Duration;

use slotkeeper::agent::AgentState;

use crate::stage::{LEASE, Mood, Stage, allocation, running, until};

#[tokio::test]
async fn past_its_deadline_the_agent_stops_all_work_by_itself_and_says_so() {
    let stage = Stage::with(vec![allocation(1, 0), allocation(2, 1)]).await;
    let agent = stage.settled_agent().await;
    stage.change(|script| script.mood = Mood::NoLeader);
    stage.more_heartbeats(2).await;
    stage.clock.advance(LEASE);
    until("the work is stopped", || stage.hooks.has("stopped 1") && stage.hooks.has("stopped 2")).await;
    assert!(stage.hooks.has("stop 1 lease_expired") && stage.hooks.has("stop 2 lease_expired"));
    until("the view says so", || agent.view().state == AgentState::Fenced && running(&agent.view()) == 0)
        .await;

    stage.change(|script| script.mood = Mood::Serving);
    until("the cluster is told", || stage.failure(1).is_some() && stage.failure(2).is_some()).await;
    assert!(stage.failure(1).unwrap().contains("lease ran out"));
    until("it serves again", || agent.view().state == AgentState::Registered).await;
    stage.assign(vec![allocation(3, 0)]);
    until("new work starts", || stage.hooks.has("start 3")).await;
    assert_eq!(
        stage.hooks.calls().iter().filter(|call| *call == "start 1").count(),
        1,
        "the old work stays stopped"
    );
}

#[tokio::test]
async fn an_outage_shorter_than_the_deadline_stops_nothing() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let agent = stage.settled_agent().await;
    for mood in [Mood::NoLeader, Mood::Hanging, Mood::NoLeader] {
        stage.more_heartbeats(1).await;
        stage.change(|script| script.mood = mood);
        stage.clock.advance(LEASE - Duration::from_millis(1));
        // Several looks at the lease pass, and they find that it holds.
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(running(&agent.view()), 1);
        stage.change(|script| script.mood = Mood::Serving);
        stage.more_heartbeats(2).await;
        until("the lease is renewed", || {
            agent
                .view()
                .lease_ends_at
                .is_some_and(|end| end > slotkeeper::clock::Clock::now(&*stage.clock) + LEASE / 2)
        })
        .await;
    }
    assert_eq!(stage.hooks.calls(), ["start 1"]);
    assert_eq!(stage.registrations(), 1);
}

#[tokio::test]
async fn the_deadline_counts_from_the_sending_of_a_heartbeat_however_late_its_answer_comes() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let agent = stage.settled_agent().await;
    stage.change(|script| script.heartbeat_delay = Duration::from_millis(300));
    stage.more_heartbeats(2).await;
    // One answer is on its way; nothing that is asked after this moment is answered.
    stage.change(|script| script.mood = Mood::NoLeader);
    stage.clock.advance(LEASE - Duration::from_millis(1));
    stage.more_heartbeats(2).await;
    assert_eq!(running(&agent.view()), 1, "the lease holds for another millisecond");
    stage.clock.advance(Duration::from_millis(1));
    until("the lease is over", || stage.hooks.has("stop 1 lease_expired")).await;
}

#[tokio::test]
async fn answered_heartbeats_carry_the_work_through_any_length_of_time() {
    let stage = Stage::with(vec![allocation(1, 0)]).await;
    let agent = stage.settled_agent().await;
    for _ in 0..20 {
        stage.more_heartbeats(2).await;
        stage.clock.advance(LEASE / 2);
    }
    stage.more_heartbeats(2).await;
    assert_eq!(stage.hooks.calls(), ["start 1"]);
    assert_eq!(running(&agent.view()), 1);
}

#[tokio::test]
async fn work_that_was_granted_before_a_long_pause_does_not_start_after_it() {
    let stage = Stage::with(vec![]).await;
    let agent = stage.settled_agent().await;
    until("it is registered", || agent.view().state == AgentState::Registered).await;
    // The whole process sleeps past its deadline; the news of an allocation arrives meanwhile by long poll only.
    stage.change(|script| script.heartbeat_generation = Some(10));
    stage.more_heartbeats(2).await;
    stage.change(|script| script.mood = Mood::Hanging);
    stage.clock.advance(LEASE);
    until("the lease is over", || agent.view().state == AgentState::Fenced).await;
    stage.assign(vec![allocation(1, 0)]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(stage.hooks.calls(), [""; 0]);
    stage.change(|script| (script.mood, script.heartbeat_generation) = (Mood::Serving, None));
    until("it starts once the lease holds again", || stage.hooks.has("start 1")).await;
}
