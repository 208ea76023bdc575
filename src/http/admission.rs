//! Turning work away before it waits too long.
//!
//! A server that takes more than it can do answers everybody late, and no bounded queue alone helps: what waits may wait anywhere,
//! also between the leader's answer and the thread that writes it. So what counts is how many writes are between their first look
//! and their answer, and by Little's law that is what ends in a second times how long each takes.
//!
//! What it promises: while there is more to do than can be done, no more writes are in progress than end in the time that
//! [`in_progress_target`](super::options::HttpOptions::in_progress_target) allows; what is turned away is told when to come again,
//! each a little later than the one before, so that those who listen do not come all at once; what gives back, keeps alive or
//! manages is counted and never turned away. What it must not do: turn away anything while everything ends in time.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;

/// How often the limit follows what ends.
const WINDOW: Duration = Duration::from_millis(100);
/// Writes that may be in progress while nobody has to be turned away.
const LIMIT_AT_FIRST: u64 = 1_024;
const LIMIT_MAX: u64 = 1 << 20;
/// What is reckoned to end in a second at least. Where each write takes much longer than the target, by the way that it has to go, fewer
/// in progress would mean that fewer end, and so on down.
const ENDED_PER_SECOND_MIN: u64 = 16_000;
/// For so many writes that end, one may be turned away: each takes about a quarter of the time of a write that is served.
const ENDED_PER_TURNED_AWAY: u64 = 8;
/// Times the target after which a write that may wait is taken to wait.
const WAITS_AFTER_TARGETS: u32 = 4;
const RETRY_AFTER_MIN: Duration = Duration::from_millis(500);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Who is let in.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    clock: Arc<dyn Clock>,
    target: Duration,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug)]
struct Counts {
    in_progress: u64,
    limit: u64,
    window_began: Instant,
    ended: u64,
    turned_away: u64,
    /// When the next one that is turned away is to come again.
    next_return: Instant,
    /// Between two of those.
    return_spacing: Duration,
}

/// A write in progress, counted until it is dropped.
#[derive(Debug)]
pub(super) struct InProgress(Admission);

impl Drop for InProgress {
    fn drop(&mut self) {
        let now = self.0.clock.now();
        let mut counts = self.0.counts();
        counts.in_progress = counts.in_progress.saturating_sub(1);
        counts.ended += 1;
        counts.follow(now, self.0.target);
    }
}

impl Admission {
    /// Nobody is in yet.
    pub(super) fn new(clock: Arc<dyn Clock>, target: Duration) -> Self {
        let now = clock.now();
        let counts = Counts {
            in_progress: 0,
            limit: LIMIT_AT_FIRST,
            window_began: now,
            ended: 0,
            turned_away: 0,
            next_return: now,
            return_spacing: spacing(LIMIT_AT_FIRST, target),
        };
        Self { clock, target, counts: Arc::new(Mutex::new(counts)) }
    }

    /// Counts a write in that is never turned away.
    pub(super) fn enter(&self) -> InProgress {
        self.counts().in_progress += 1;
        InProgress(self.clone())
    }

    /// Counts a write in if there is room; if not, says after how long it is to come again.
    pub(super) fn admit(&self) -> Result<InProgress, Duration> {
        let now = self.clock.now();
        let mut counts = self.counts();
        counts.follow(now, self.target);
        if counts.in_progress >= counts.limit {
            return Err(counts.turn_away(now));
        }
        counts.in_progress += 1;
        Ok(InProgress(self.clone()))
    }

    /// Gives what `write` gives. One that is not done after some times the target waits for something else than its turn, for
    /// capacity, and is no longer counted.
    pub(super) async fn count<T>(&self, in_progress: InProgress, write: impl Future<Output = T>) -> T {
        let mut write = pin!(write);
        if let Ok(done) = tokio::time::timeout(WAITS_AFTER_TARGETS * self.target, &mut write).await {
            return done;
        }
        drop(in_progress);
        write.await
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// At the end of a window: the limit is what can end in time if somebody had to be turned away, and grows back if nobody had.
    fn follow(&mut self, now: Instant, target: Duration) {
        let elapsed = now.saturating_duration_since(self.window_began);
        if elapsed < WINDOW {
            return;
        }
        if self.turned_away == 0 {
            self.limit = self.limit.max((self.limit + self.limit / 8).min(LIMIT_AT_FIRST));
        } else {
            let ended_min = share_of(ENDED_PER_SECOND_MIN, target, Duration::from_secs(1));
            self.limit = share_of(self.ended, target, elapsed).clamp(ended_min, LIMIT_MAX);
            self.return_spacing = spacing(self.limit, target);
        }
        (self.window_began, self.ended, self.turned_away) = (now, 0, 0);
    }

    fn turn_away(&mut self, now: Instant) -> Duration {
        self.turned_away += 1;
        let earliest = now + RETRY_AFTER_MIN;
        let at = (self.next_return + self.return_spacing).clamp(earliest, now + RETRY_AFTER_MAX);
        self.next_return = at;
        at.saturating_duration_since(now)
    }
}

/// How many of `ended` fall into `part`, if they end evenly in the `whole`.
fn share_of(ended: u64, part: Duration, whole: Duration) -> u64 {
    let share = u128::from(ended) * part.as_micros() / whole.as_micros().max(1);
    u64::try_from(share).unwrap_or(LIMIT_MAX)
}

/// Between two that are turned away if `ended` writes end in `elapsed`.
fn spacing(ended: u64, elapsed: Duration) -> Duration {
    let per_refusal = elapsed.as_nanos() * u128::from(ENDED_PER_TURNED_AWAY) / u128::from(ended.max(1));
    Duration::from_nanos(u64::try_from(per_refusal).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const TARGET: Duration = Duration::from_millis(20);

    fn admission() -> (Arc<ManualClock>, Admission) {
        let clock = Arc::new(ManualClock::new(0));
        (Arc::clone(&clock), Admission::new(clock, TARGET))
    }

    /// Enters for as long as there is room.
    fn fill(admission: &Admission) -> Vec<InProgress> {
        std::iter::from_fn(|| admission.admit().ok()).take(1 << 20).collect()
    }

    #[test]
    fn nobody_is_turned_away_for_as_long_as_what_comes_ends_in_time() {
        let (clock, admission) = admission();
        for _ in 0..100 {
            let room: Vec<_> = (0..LIMIT_AT_FIRST).map(|_| admission.admit()).collect();
            assert!(room.iter().all(Result::is_ok));
            clock.advance(Duration::from_millis(50));
        }
    }

    #[test]
    fn what_is_let_in_is_what_ends_in_time_on_a_slow_machine_and_on_a_fast_one() {
        for in_time in [800, 20_000] {
            let (clock, admission) = admission();
            let mut in_progress = fill(&admission);
            for _ in 0..400 {
                in_progress.drain(..(in_time / 4).min(in_progress.len()));
                clock.advance(TARGET / 4);
                in_progress.extend(fill(&admission));
            }
            assert_eq!(in_progress.len(), in_time);
        }
    }

    #[test]
    fn a_long_way_to_the_other_servers_does_not_make_it_less_and_less() {
        let (clock, admission) = admission();
        let mut in_progress = fill(&admission);
        for _ in 0..100 {
            in_progress.clear();
            clock.advance(10 * TARGET);
            in_progress.extend(fill(&admission));
        }
        assert_eq!(in_progress.len() as u64, share_of(ENDED_PER_SECOND_MIN, TARGET, Duration::from_secs(1)));
    }

    #[test]
    fn a_machine_that_stood_still_lets_in_as_before_when_nobody_is_turned_away_any_more() {
        let (clock, admission) = admission();
        let standing = fill(&admission);
        assert!(admission.admit().is_err());
        drop(admission.enter());
        clock.advance(Duration::from_secs(2));
        assert!(admission.admit().is_err());
        drop(standing);
        for _ in 0..60 {
            clock.advance(WINDOW);
            drop(admission.admit());
        }
        assert_eq!(fill(&admission).len() as u64, LIMIT_AT_FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_capacity_takes_nobodys_place() {
        let (_, admission) = admission();
        let waiting = admission.count(admission.enter(), std::future::pending::<()>());
        let counted = || admission.counts().in_progress;
        let later = async {
            assert_eq!(counted(), 1);
            tokio::time::sleep(WAITS_AFTER_TARGETS * TARGET + TARGET).await;
            counted()
        };
        tokio::select! {
            biased;
            () = waiting => unreachable!("it waits for ever"),
            counted = later => assert_eq!(counted, 0),
        }
        assert_eq!(admission.count(admission.enter(), async { 7 }).await, 7);
        assert_eq!(counted(), 0);
    }

    #[test]
    fn those_who_are_turned_away_come_again_one_after_the_other_and_not_too_late() {
        let (_, admission) = admission();
        let _full = fill(&admission);
        let after: Vec<_> = (0..200_000).map(|_| admission.admit().unwrap_err()).collect();
        let spacing = ENDED_PER_TURNED_AWAY as u32 * TARGET / LIMIT_AT_FIRST as u32;
        assert_eq!(after[..2], [RETRY_AFTER_MIN + spacing, RETRY_AFTER_MIN + 2 * spacing], "one came before");
        assert!(after.is_sorted());
        assert_eq!(after.last(), Some(&RETRY_AFTER_MAX));
    }
}
