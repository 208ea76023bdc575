//! Leases on the monotonic clock, in the memory of one leadership session.
//!
//! What it promises: a holder that was told "go on for d" is not due earlier than d after its message arrived; a
//! holder that nobody in this session has heard of is not due before the full timeout plus grace; nobody is due while
//! all are spared; a verdict that is on
//! its way to the log is remembered until it is known, so that no heartbeat is answered behind its back. Every operation
//! is O(log n), finding who is due is O(log n + due). What it must not do: read a clock, touch the log, or decide how
//! many may be lost at once (`verdicts.rs` does). Tested below.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::domain::Epoch;

/// One lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    /// The registration that it stands for.
    pub(super) epoch: Epoch,
    /// When it runs out.
    pub(super) due: Instant,
    /// The last message in this session.
    pub(super) last_seen: Option<Instant>,
    /// Whether the verdict is on its way to the log.
    pub(super) is_judged: bool,
}

/// What came of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// The lease goes on.
    Renewed,
    /// The verdict is on its way; whether it stands is not known yet.
    Judged,
}

/// The leases of one kind of holder.
#[derive(Debug)]
pub(super) struct Leases<Holder> {
    leases: BTreeMap<Holder, Lease>,
    /// Leases that are not judged, by due time.
    by_due: BTreeSet<(Instant, Holder)>,
    /// Until when nobody is judged, whatever the leases say.
    spared_until: Option<Instant>,
}

impl<Holder: Ord + Clone> Leases<Holder> {
    pub(super) fn new() -> Self {
        Self { leases: BTreeMap::new(), by_due: BTreeSet::new(), spared_until: None }
    }

    pub(super) fn len(&self) -> usize {
        self.leases.len()
    }

    pub(super) fn get(&self, holder: &Holder) -> Option<&Lease> {
        self.leases.get(holder)
    }

    /// Starts the lease of `holder`, or replaces the one of another epoch. The lease of the same epoch stays as it is.
    pub(super) fn start(&mut self, holder: &Holder, epoch: Epoch, due: Instant) {
        if self.leases.get(holder).is_some_and(|lease| lease.epoch == epoch) {
            return;
        }
        self.end(holder);
        self.by_due.insert((due, holder.clone()));
        self.leases.insert(holder.clone(), Lease { epoch, due, last_seen: None, is_judged: false });
    }

    /// A message of `holder` under `epoch` arrived at `arrived` and is good for `timeout` from there. Starts the lease
    /// if there is none of that epoch.
    pub(super) fn renew(
        &mut self,
        holder: &Holder,
        epoch: Epoch,
        arrived: Instant,
        timeout: Duration,
    ) -> Renewal {
        self.start(holder, epoch, arrived + timeout);
        let lease = self.leases.get_mut(holder).expect("the lease was just started");
        if lease.is_judged {
            return Renewal::Judged;
        }
        lease.last_seen = lease.last_seen.max(Some(arrived));
        let due = lease.due.max(arrived + timeout);
        let before = std::mem::replace(&mut lease.due, due);
        if before != due {
            self.by_due.remove(&(before, holder.clone()));
            self.by_due.insert((due, holder.clone()));
        }
        Renewal::Renewed
    }

    /// Lets nobody be due before `until`.
    pub(super) fn spare_all(&mut self, until: Instant) {
        self.spared_until = self.spared_until.max(Some(until));
    }

    /// Forgets the lease of `holder`.
    pub(super) fn end(&mut self, holder: &Holder) {
        if let Some(lease) = self.leases.remove(holder) {
            self.by_due.remove(&(lease.due, holder.clone()));
        }
    }

    /// How many leases run out until `until`, those that are judged included.
    pub(super) fn due_until(&self, until: Instant) -> usize {
        let judged = self.leases.len() - self.by_due.len();
        self.by_due.iter().take_while(|(due, _)| *due <= until).count() + judged
    }

    /// Whether a lease that is not judged has run out at `now`.
    pub(super) fn is_any_due(&self, now: Instant) -> bool {
        self.spared_until.is_none_or(|until| until <= now)
            && self.by_due.first().is_some_and(|(due, _)| *due <= now)
    }

    /// Judges the lease that ran out first, if one has at `now`.
    pub(super) fn judge_next(&mut self, now: Instant) -> Option<(Holder, Epoch)> {
        if !self.is_any_due(now) {
            return None;
        }
        let (_, holder) = self.by_due.pop_first()?;
        let lease = self.leases.get_mut(&holder).expect("every entry of the order has a lease");
        lease.is_judged = true;
        Some((holder, lease.epoch))
    }

    /// As [`Leases::renew`], and takes back a verdict that has not reached the log: the caller sees to it that it never
    /// does.
    pub(super) fn revive(&mut self, holder: &Holder, epoch: Epoch, arrived: Instant, timeout: Duration) {
        self.acquit(holder, epoch);
        self.renew(holder, epoch, arrived, timeout);
    }

    /// The verdict on `epoch` did not become true; the lease stands and is due at once.
    pub(super) fn acquit(&mut self, holder: &Holder, epoch: Epoch) {
        if let Some(lease) =
            self.leases.get_mut(holder).filter(|lease| lease.epoch == epoch && lease.is_judged)
        {
            lease.is_judged = false;
            self.by_due.insert((lease.due, holder.clone()));
        }
    }
}

/// At most so many events in any second.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    last_second: std::collections::VecDeque<Instant>,
}

impl RateLimit {
    /// Counts one event at `now`, unless `per_second_max` were counted within the second before.
    pub(super) fn admits(&mut self, now: Instant, per_second_max: u32) -> bool {
        while self.last_second.front().is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(1)) {
            self.last_second.pop_front();
        }
        let admitted = self.last_second.len() < per_second_max as usize;
        if admitted {
            self.last_second.push_back(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn epoch(number: u64) -> Epoch {
        Epoch(number)
    }

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_lease_is_due_a_full_timeout_after_its_last_message_arrived() {
        let start = Instant::now();
        let mut leases = Leases::new();
        leases.start(&"a", epoch(1), after(start, 5_000));
        assert_eq!(leases.renew(&"a", epoch(1), after(start, 1_000), TIMEOUT), Renewal::Renewed);
        assert_eq!(leases.judge_next(after(start, 5_999)), None);
        assert_eq!(leases.judge_next(after(start, 6_000)), Some(("a", epoch(1))));
    }

    #[test]
    fn a_message_never_shortens_a_lease() {
        let start = Instant::now();
        let mut leases = Leases::new();
        leases.start(&"a", epoch(1), after(start, 10_000));
        leases.renew(&"a", epoch(1), after(start, 1_000), TIMEOUT);
        assert_eq!(leases.judge_next(after(start, 9_999)), None);
    }

    #[test]
    fn nobody_is_judged_while_all_are_spared() {
        let start = Instant::now();
        let mut leases = Leases::new();
        leases.start(&"a", epoch(1), start);
        leases.spare_all(after(start, 7_000));
        leases.spare_all(after(start, 1_000));
        assert_eq!(leases.judge_next(after(start, 6_999)), None);
        assert_eq!(leases.judge_next(after(start, 7_000)), Some(("a", epoch(1))));
    }

    #[test]
    fn a_judged_lease_is_not_renewed_until_the_verdict_is_known() {
        let start = Instant::now();
        let mut leases = Leases::new();
        leases.start(&"a", epoch(1), start);
        assert!(leases.judge_next(start).is_some());
        assert_eq!(leases.renew(&"a", epoch(1), start, TIMEOUT), Renewal::Judged);
        assert_eq!(leases.judge_next(start), None);
        leases.acquit(&"a", epoch(1));
        assert_eq!(leases.renew(&"a", epoch(1), start, TIMEOUT), Renewal::Renewed);
    }

    #[test]
    fn a_new_registration_replaces_the_lease_of_the_old_one() {
        let start = Instant::now();
        let mut leases = Leases::new();
        leases.start(&"a", epoch(1), start);
        leases.judge_next(start);
        leases.start(&"a", epoch(2), after(start, 5_000));
        leases.acquit(&"a", epoch(1));
        assert_eq!(leases.judge_next(after(start, 4_999)), None);
        assert_eq!(leases.judge_next(after(start, 5_000)), Some(("a", epoch(2))));
    }

    #[test]
    fn those_that_are_due_are_counted_with_those_that_are_judged() {
        let start = Instant::now();
        let mut leases = Leases::new();
        for (holder, due) in [("a", 0), ("b", 10), ("c", 2_000)] {
            leases.start(&holder, epoch(1), after(start, due));
        }
        leases.judge_next(after(start, 10));
        assert_eq!(leases.due_until(after(start, 100)), 2);
        assert_eq!(leases.len(), 3);
        leases.end(&"a");
        assert_eq!(leases.due_until(after(start, 100)), 1);
    }

    #[test]
    fn no_second_has_more_events_than_the_limit() {
        let start = Instant::now();
        let mut limit = RateLimit::default();
        let admitted =
            |limit: &mut RateLimit, ms| (0..50).filter(|_| limit.admits(after(start, ms), 10)).count();
        assert_eq!(admitted(&mut limit, 0), 10);
        assert_eq!(admitted(&mut limit, 999), 0);
        assert_eq!(admitted(&mut limit, 1_000), 10);
    }
}
