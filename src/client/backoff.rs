//! How long to pause before the next try.
//!
//! Promises: pauses grow twofold up to the maximum, are spread over half their length so that many clients do not come
//! back at one moment, and are never shorter than what the server asked for. Must not: sleep or draw randomness; both
//! are the caller's. Tested below.

use std::time::Duration;

/// The pauses of one call.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Starts at `start`, never pauses longer than `max` by itself.
    pub(super) fn new(start: Duration, max: Duration) -> Self {
        Self { next: start.min(max), max }
    }

    /// The next pause: between half and all of the current step, and at least `asked` (what the server told).
    pub(super) fn pause(&mut self, random: u64, asked: Option<Duration>) -> Duration {
        let step = self.next;
        self.next = step.saturating_mul(2).min(self.max);
        let half = step / 2;
        let spread_nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(random % spread_nanos.saturating_add(1));
        let own = half + jitter;
        asked.map_or(own, |asked| asked.max(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_millis(20);
    const MAX: Duration = Duration::from_millis(100);

    #[test]
    fn pauses_double_up_to_the_maximum_and_stay_within_half_to_all_of_the_step() {
        let mut backoff = Backoff::new(START, MAX);
        for step_ms in [20, 40, 80, 100, 100] {
            let step = Duration::from_millis(step_ms);
            let pause = backoff.clone().pause(u64::MAX / 3, None);
            assert!(pause >= step / 2 && pause <= step, "{pause:?} for {step:?}");
            assert_eq!(backoff.pause(0, None), step / 2);
        }
    }

    #[test]
    fn the_server_can_ask_for_more_but_not_for_less() {
        let mut backoff = Backoff::new(START, MAX);
        assert_eq!(backoff.pause(0, Some(Duration::from_secs(2))), Duration::from_secs(2));
        assert_eq!(backoff.pause(0, Some(Duration::ZERO)), Duration::from_millis(20));
    }

    #[test]
    fn a_start_of_zero_is_a_pause_of_zero() {
        assert_eq!(Backoff::new(Duration::ZERO, MAX).pause(7, None), Duration::ZERO);
    }
}
