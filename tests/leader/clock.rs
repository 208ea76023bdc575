//! The state's clock under leaders whose wall clocks are right, wrong, or set while they lead.

use std::time::Duration;

use slotkeeper::domain::LogicalTime;
use slotkeeper::leader::Intent;

use crate::rig::{Rig, eventually, keyed, put_job};

/// The wall clock when a manual rig begins.
const START_MS: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 3_600_000;
/// Longer than what is not written down of the time in a session without a round.
const QUIET: Duration = Duration::from_secs(120);

fn now_ms(rig: &Rig) -> u64 {
    rig.replica.read().now().0 - START_MS
}

#[tokio::test]
async fn the_first_record_takes_the_wall_clock_as_it_is_and_later_beginnings_move_no_clock() {
    let rig = Rig::manual().await;
    assert_eq!(now_ms(&rig), 0);
    rig.clock.set_wall_ms(START_MS + HOUR_MS);
    rig.log.follow(None);
    eventually("the session is over", || !rig.leader.is_serving()).await;
    rig.serve(2).await;
    assert_eq!(now_ms(&rig), 0);
}

#[tokio::test]
async fn a_wall_clock_that_is_set_forward_makes_nobody_forget_a_key() {
    let rig = Rig::manual().await;
    let request = || keyed("key", 1, Intent::Command(put_job("job", 0, None)));
    assert!(!rig.leader.submit(request()).await.unwrap().replayed);
    rig.clock.set_wall_ms(START_MS + HOUR_MS);
    for number in 0..40 {
        rig.submit(put_job(&format!("job-{number}"), 0, None)).await;
    }
    assert!(rig.leader.submit(request()).await.unwrap().replayed);
    assert_eq!(now_ms(&rig), 0, "no time has passed");
    assert!((rig.metrics.rounds.clock_offset_seconds.get() - 3_600.0).abs() < 1e-9);
}

#[tokio::test]
async fn time_goes_on_at_three_to_five_quarters_whatever_the_wall_clock_shows() {
    let rig = Rig::manual().await;
    rig.clock.set_wall_ms(START_MS - HOUR_MS);
    rig.clock.advance(Duration::from_secs(1));
    rig.job("behind", 0).await;
    assert_eq!(now_ms(&rig), 750);
    rig.clock.set_wall_ms(START_MS + HOUR_MS);
    rig.clock.advance(Duration::from_secs(1));
    rig.job("ahead", 0).await;
    assert_eq!(now_ms(&rig), 2_000);
}

/// On a clock that leaps to the next timer; the wall clock of the machine stands still beside it.
#[tokio::test(start_paused = true)]
async fn the_time_is_recorded_also_while_nothing_is_decided() {
    let rig = Rig::new().await;
    let before = rig.replica.read().now();
    let (began, mut revisions) = (tokio::time::Instant::now(), rig.replica.watch());
    while rig.replica.read().now() < LogicalTime(before.0 + 60_000) {
        revisions.mark_unchanged();
        tokio::time::timeout(QUIET, revisions.changed()).await.expect("the time is recorded").unwrap();
    }
    assert!(rig.leader.is_serving());
    let (passed, rounds) = (began.elapsed(), rig.rounds().len());
    assert!(passed <= QUIET, "60 s of the state's clock took {passed:?}");
    assert!(rounds <= 4, "{rounds} rounds only to record the time");
}
