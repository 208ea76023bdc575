//! The leader's stamps: the wall clock, as far as the state's own clock may follow it.
//!
//! What it promises: between any two stamps of a session, logical time runs at 3/4 to 5/4 of the monotonic clock, whatever
//! the wall clock does, and slews towards the wall clock within these bounds. Each stamp is bounded by the one before it and
//! not by the beginning of the session: a leader that had to follow a wrong wall clock for an hour would otherwise make up
//! for it in one step, or let time stand still for as long, once the clock is set right. It never falls, whoever asks: all
//! callers share one reading. `apply` takes every stamp as it is; its own clamp guards against leaders that err. What it
//! must not do: wait, or know what the time is needed for. Tested below.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::domain::{LogicalTime, limits};

/// The clock of one leadership session.
#[derive(Debug)]
pub(super) struct StateClock {
    clock: Arc<dyn Clock>,
    last: Mutex<Reading>,
}

/// A stamp and when it was given. Finer than what is stamped, so that many stamps in one millisecond do not hold time up.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    since_epoch: Duration,
}

impl StateClock {
    /// Goes on from `reached`, the time of the state in which the session begins. It was stamped before this call, so
    /// counting from now can only be late.
    pub(super) fn begin(clock: Arc<dyn Clock>, reached: LogicalTime) -> Self {
        let last = Reading { at: clock.now(), since_epoch: Duration::from_millis(reached.0) };
        Self { clock, last: Mutex::new(last) }
    }

    /// The stamp for a round on a state at `recorded`. Never more than one step of `apply` beyond that: the rest
    /// would not be taken, and the next rounds would make up for it at once.
    pub(super) fn stamp(&self, recorded: LogicalTime) -> LogicalTime {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that readings follow each other as the stamps do.
        let at = self.clock.now();
        let elapsed = at.saturating_duration_since(last.at);
        let acceptable = Duration::from_millis(recorded.after(limits::TIME_STEP_MAX_MS).0);
        let most = (last.since_epoch + elapsed + elapsed / 4).min(acceptable).max(last.since_epoch);
        let least = (last.since_epoch + elapsed - elapsed / 4).min(most);
        let wall = Duration::from_millis(self.clock.wall_ms());
        *last = Reading { at, since_epoch: wall.clamp(least, most) };
        LogicalTime(u64::try_from(last.since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    /// How far the wall clock is ahead of `stamp`, in seconds.
    pub(super) fn offset_seconds(&self, stamp: LogicalTime) -> f64 {
        let wall_ms = self.clock.wall_ms();
        let ahead = Duration::from_millis(wall_ms.saturating_sub(stamp.0));
        let behind = Duration::from_millis(stamp.0.saturating_sub(wall_ms));
        ahead.as_secs_f64() - behind.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const START_MS: u64 = 1_700_000_000_000;
    const HOUR_MS: u64 = 3_600_000;

    /// A wall clock that reads `wall_ms` when the state is at `START_MS`, and the time that was recorded last.
    struct Rig {
        clock: Arc<ManualClock>,
        state: StateClock,
        recorded: LogicalTime,
    }

    impl Rig {
        fn new(wall_ms: u64) -> Self {
            let clock = Arc::new(ManualClock::new(wall_ms));
            let recorded = LogicalTime(START_MS);
            Self { state: StateClock::begin(clock.clone(), recorded), clock, recorded }
        }

        /// How far logical time is after `steps` of `step`, each with a round.
        fn run(&mut self, steps: u32, step: Duration) -> u64 {
            for _ in 0..steps {
                self.clock.advance(step);
                let stamp = self.state.stamp(self.recorded);
                assert!(stamp >= self.recorded, "time fell");
                self.recorded = stamp;
            }
            self.recorded.0 - START_MS
        }
    }

    #[test]
    fn the_wall_clock_is_followed_as_it_is_while_it_is_right() {
        assert_eq!(Rig::new(START_MS).run(100, Duration::from_millis(10)), 1_000);
    }

    #[test]
    fn a_wall_clock_that_is_ahead_or_behind_moves_time_by_a_quarter_at_most() {
        assert_eq!(Rig::new(START_MS + HOUR_MS).run(100, Duration::from_millis(100)), 12_500);
        assert_eq!(Rig::new(START_MS - HOUR_MS).run(100, Duration::from_millis(100)), 7_500);
    }

    #[test]
    fn many_stamps_in_one_millisecond_do_not_hold_time_up() {
        assert_eq!(Rig::new(START_MS + HOUR_MS).run(100_000, Duration::from_micros(10)), 1_250);
        assert_eq!(Rig::new(START_MS - HOUR_MS).run(100_000, Duration::from_micros(10)), 750);
    }

    #[test]
    fn what_a_wrong_wall_clock_did_is_made_up_for_slowly() {
        let mut rig = Rig::new(START_MS + HOUR_MS);
        assert_eq!(rig.run(100, Duration::from_secs(1)), 125_000);
        rig.clock.set_wall_ms(START_MS + 100_000);
        assert_eq!(rig.run(10, Duration::from_secs(1)), 132_500, "it goes on, and more slowly");
        assert_eq!(rig.run(190, Duration::from_secs(1)), 300_000, "and is right in the end");
        rig.clock.set_wall_ms(START_MS);
        assert_eq!(rig.run(100, Duration::from_secs(1)), 375_000);
        rig.clock.set_wall_ms(START_MS + 400_000);
        assert_eq!(rig.run(10, Duration::from_secs(1)), 387_500, "no burst");
    }

    #[test]
    fn no_stamp_is_beyond_what_the_state_accepts() {
        let mut rig = Rig::new(START_MS);
        assert_eq!(rig.run(1, Duration::from_secs(3_600)), limits::TIME_STEP_MAX_MS);
        assert_eq!(rig.run(1, Duration::from_secs(1)), limits::TIME_STEP_MAX_MS + 1_250, "no burst either");
    }

    #[test]
    fn the_offset_has_a_sign() {
        let rig = Rig::new(START_MS - 1_500);
        assert!((rig.state.offset_seconds(LogicalTime(START_MS)) + 1.5).abs() < 1e-9);
        assert!((rig.state.offset_seconds(LogicalTime(START_MS - 3_000)) - 1.5).abs() < 1e-9);
    }
}
