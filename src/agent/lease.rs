//! The agent's own deadline: until when it may go on without another answer.
//!
//! Promises: the deadline counts from when the answered message was *sent*, so it always lies before any verdict that the
//! cluster can reach; an answer that comes after its own deadline gives no time at all. Must not: read a clock; every
//! function is told the time. Tested below.

use std::time::{Duration, Instant};

/// The lease of the agent on its slots.
#[derive(Debug, Clone, Default)]
pub struct Lease {
    current: Option<Granted>,
}

#[derive(Debug, Clone, Copy)]
struct Granted {
    sent_at: Instant,
    deadline: Instant,
}

impl Lease {
    /// A message that was sent at `sent_at` was answered: the agent may go on for `allowed` from then. An answer to a
    /// message older than the last answered one changes nothing. Returns whether the lease holds at `now`.
    pub fn answered(&mut self, sent_at: Instant, allowed: Duration, now: Instant) -> bool {
        if self.current.is_none_or(|current| sent_at >= current.sent_at) {
            self.current = Some(Granted { sent_at, deadline: sent_at + allowed });
        }
        self.holds(now)
    }

    /// Whether work may run at `now`. Without any answer yet it may not.
    pub fn holds(&self, now: Instant) -> bool {
        self.current.is_some_and(|current| now < current.deadline)
    }

    /// What is left at `now`; zero when it is over or never began.
    pub fn remaining(&self, now: Instant) -> Duration {
        self.current.map_or(Duration::ZERO, |current| current.deadline.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(5);

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_deadline_counts_from_the_send_time_and_not_from_the_answer() {
        let start = Instant::now();
        let mut lease = Lease::default();
        assert!(!lease.holds(start), "nothing may run before the first answer");
        assert!(lease.answered(start, TTL, at(start, 4)));
        assert!(!lease.holds(at(start, 5)));
        assert_eq!(lease.remaining(at(start, 3)), Duration::from_secs(2));
    }

    #[test]
    fn an_answer_after_its_own_deadline_gives_no_time() {
        let start = Instant::now();
        let mut lease = Lease::default();
        assert!(!lease.answered(start, TTL, at(start, 6)));
    }

    #[test]
    fn the_answer_to_an_older_message_changes_nothing() {
        let start = Instant::now();
        let mut lease = Lease::default();
        lease.answered(at(start, 2), TTL, at(start, 2));
        lease.answered(start, Duration::from_secs(60), at(start, 3));
        assert!(lease.holds(at(start, 6)));
        assert!(!lease.holds(at(start, 7)));
    }
}
