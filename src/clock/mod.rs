//! The only calls to now().
//!
//! Every room that needs the time takes an `Arc<dyn Clock>`, so that a test or a simulation decides what time it is.
//! The monotonic side follows tokio's clock: under a paused runtime it stands still and is advanced like every timer.
//! What it must not do: order or expire anything; durations on the monotonic clock and stamps on the wall clock are
//! the callers' business. Tested below.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The monotonic clock: for durations and deadlines inside this process.
    fn now(&self) -> Instant;

    /// The wall clock, in milliseconds since the Unix epoch: for stamps that people or other processes see. It may
    /// step in both directions.
    fn wall_ms(&self) -> u64;
}

/// The clocks of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn wall_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    reading: Mutex<Reading>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    elapsed: Duration,
    wall_ms: u64,
}

impl ManualClock {
    /// A clock whose wall reading is `wall_ms`.
    pub fn new(wall_ms: u64) -> Self {
        let start = SystemClock.now();
        Self { start, reading: Mutex::new(Reading { elapsed: Duration::ZERO, wall_ms }) }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        self.change(|reading| {
            reading.elapsed += by;
            reading.wall_ms =
                reading.wall_ms.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
        });
    }

    /// Sets the wall clock alone, as an operator or a time service would.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.change(|reading| reading.wall_ms = wall_ms);
    }

    fn change(&self, change: impl FnOnce(&mut Reading)) {
        change(&mut self.reading.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn reading(&self) -> Reading {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.start + self.reading().elapsed
    }

    fn wall_ms(&self) -> u64 {
        self.reading().wall_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(1_000);
        let start = clock.now();
        assert_eq!(clock.now(), start);
        clock.advance(Duration::from_millis(250));
        assert_eq!(clock.now() - start, Duration::from_millis(250));
        assert_eq!(clock.wall_ms(), 1_250);
    }

    #[test]
    fn a_step_of_the_wall_clock_does_not_move_the_monotonic_clock() {
        let clock = ManualClock::new(1_000);
        let start = clock.now();
        clock.set_wall_ms(10);
        assert_eq!(clock.wall_ms(), 10);
        assert_eq!(clock.now(), start);
    }

    #[test]
    fn the_system_clock_never_runs_backwards() {
        let first = SystemClock.now();
        assert!(SystemClock.now() >= first);
        assert!(SystemClock.wall_ms() > 1_700_000_000_000);
    }
}
