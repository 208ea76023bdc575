//! Notices a disk that hangs.
//!
//! A sync that never returns cannot be interrupted, so a thread beside the writer looks at the step under way. When it
//! has seen the step for longer than the limit, the store has failed: whoever waits gets an error, the fatal channel
//! fires, and should the sync return after all, nothing is acknowledged. A process that stood still (stopped, or its
//! machine suspended) blames no disk: time in which the thread itself did not run does not count. Tested here and in
//! `tests/storage/durability.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::StorageError;
use super::queue::Queue;

/// Watches until the store is closed or has failed.
pub(super) fn watch(queue: &Arc<Queue>, limit: Duration) {
    let pause = (limit / 8).max(Duration::from_millis(1));
    let mut seen = SeenStep::new(pause * 2, Instant::now());
    while queue.wait_while_open(pause) {
        if seen.look(queue.step_began(), Instant::now()) > limit {
            let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let error = StorageError::SyncTooSlow { limit_ms };
            tracing::error!(%error, "the log has failed, nothing is acknowledged any more");
            queue.fail(error, Vec::new());
        }
    }
}

/// How long a step was seen under way.
struct SeenStep {
    /// A longer time between two looks means that this process did not run; no more than this of it counts.
    gap_max: Duration,
    last_look: Instant,
    /// The step, known by its beginning.
    began: Option<Instant>,
    seen: Duration,
}

impl SeenStep {
    fn new(gap_max: Duration, now: Instant) -> SeenStep {
        SeenStep { gap_max, last_look: now, began: None, seen: Duration::ZERO }
    }

    /// Looks at the step that began then, and gives how long it has been seen.
    fn look(&mut self, began: Option<Instant>, now: Instant) -> Duration {
        if began != self.began {
            (self.began, self.seen) = (began, Duration::ZERO);
        }
        if let Some(began) = began {
            self.seen += now.saturating_duration_since(self.last_look.max(began)).min(self.gap_max);
        }
        self.last_look = now;
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(100);

    #[test]
    fn a_step_ages_with_each_look() {
        let start = Instant::now();
        let mut seen = SeenStep::new(PAUSE * 2, start);
        let ages: Vec<Duration> =
            (1..=3).map(|look| seen.look(Some(start + PAUSE / 2), start + PAUSE * look)).collect();
        assert_eq!(ages, [PAUSE / 2, PAUSE * 3 / 2, PAUSE * 5 / 2]);
    }

    #[test]
    fn a_process_that_stood_still_blames_no_disk() {
        let start = Instant::now();
        let mut seen = SeenStep::new(PAUSE * 2, start);
        seen.look(Some(start), start + PAUSE);
        assert_eq!(seen.look(Some(start), start + Duration::from_secs(3_600)), PAUSE * 3);
    }

    #[test]
    fn another_step_begins_at_nothing() {
        let start = Instant::now();
        let mut seen = SeenStep::new(PAUSE * 2, start);
        seen.look(Some(start), start + PAUSE);
        assert_eq!(seen.look(None, start + PAUSE * 2), Duration::ZERO);
        assert_eq!(seen.look(Some(start + PAUSE * 2), start + PAUSE * 3), PAUSE);
    }
}
