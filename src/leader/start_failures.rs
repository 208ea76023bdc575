//! Where work failed to start a moment ago, so that the next grants go elsewhere for a while.
//!
//! What it promises: after a failure the job stays away from the TaskManager for a second, and twice as long after each
//! further one, up to five minutes; when several jobs have failed there since anything last started, everybody stays
//! away, for half a minute at most. Then the TaskManager is tried again, so nothing waits for ever. Bounded; a new
//! registration begins with a clean record, a quiet time after the last failure too. What it must not do: refuse
//! anything in the state. It is opinion, kept in the memory of one leadership session: a new leader knows nothing of it
//! and finds out by at most one more failure for each. Tested below and in `tests/leader/start_failures.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::domain::{Event, JobId, State, TaskManagerId};
use crate::scheduler::Avoidance;

/// How long the first failure keeps the job away.
const FIRST_REST: Duration = Duration::from_secs(1);
/// How long a failure keeps one job away at most.
const JOB_REST_MAX: Duration = Duration::from_secs(300);
/// How long failures keep everybody away at most. Shorter, because jobs that are broken themselves can bring it about.
const COMMON_REST_MAX: Duration = Duration::from_secs(30);
/// So many jobs must have failed since the last start that succeeded for everybody to stay away.
const FAILING_JOBS_MIN: usize = 3;
/// How long failures count after the rest that followed them.
const MEMORY: Duration = Duration::from_secs(600);
/// Failures that are remembered at most; beyond it the one that would be forgotten first is.
const REMEMBERED_MAX: usize = 65_536;

/// Who stays away from which TaskManager: one job, or everybody.
type Subject = (TaskManagerId, Option<JobId>);

#[derive(Debug)]
struct Failures {
    count: u32,
    /// When the rest ends, or when the failures are forgotten.
    until: Instant,
    is_resting: bool,
}

/// All failures of one session.
#[derive(Debug, Default)]
pub(super) struct StartFailures {
    failures: BTreeMap<Subject, Failures>,
    by_date: BTreeSet<(Instant, Subject)>,
    /// Jobs that failed on a TaskManager since anything last started there; never more than it takes.
    failing_jobs: BTreeMap<TaskManagerId, BTreeSet<JobId>>,
    avoidance: Avoidance,
    has_allowed: bool,
}

impl StartFailures {
    /// Whom to keep away from where now.
    pub(super) fn avoidance(&self) -> &Avoidance {
        &self.avoidance
    }

    /// When [`Self::pass_time`] has something to do next.
    pub(super) fn next_date(&self) -> Option<Instant> {
        self.by_date.first().map(|(date, _)| *date)
    }

    /// Ends the rests that are over at `now`, and forgets what was long ago.
    pub(super) fn pass_time(&mut self, now: Instant) {
        while self.next_date().is_some_and(|date| date <= now) {
            let (_, subject) = self.by_date.pop_first().expect("it was just seen");
            let failures = self.failures.get_mut(&subject).expect("every date belongs to failures");
            if failures.is_resting {
                failures.is_resting = false;
                failures.until = now + MEMORY;
                self.by_date.insert((failures.until, subject.clone()));
                self.allow(&subject);
            } else {
                self.failures.remove(&subject);
            }
        }
    }

    /// Takes in what happened in a round; `state` is as it is after these events.
    pub(super) fn note(&mut self, events: &[Event], state: &State, now: Instant) {
        for event in events {
            match event {
                Event::AllocationEnded { job, task_manager, reason, .. }
                    if reason.speaks_against_the_place() =>
                {
                    self.failed(job, task_manager, now);
                }
                Event::AllocationActive { id } => {
                    if let Some(allocation) = state.allocations().get(id) {
                        self.started(&allocation.task_manager);
                    }
                }
                Event::TaskManagerRegistered { id, .. } | Event::TaskManagerRemoved { id } => {
                    self.forget_task_manager(id);
                }
                Event::JobFinished { id, .. } => self.forget_job(id),
                _ => {}
            }
        }
    }

    /// Whether somebody was allowed back since this was asked last.
    pub(super) fn take_allowed(&mut self) -> bool {
        std::mem::take(&mut self.has_allowed)
    }

    fn failed(&mut self, job: &JobId, task_manager: &TaskManagerId, now: Instant) {
        self.rest((task_manager.clone(), Some(job.clone())), JOB_REST_MAX, now);
        let failing = self.failing_jobs.entry(task_manager.clone()).or_default();
        if failing.len() < FAILING_JOBS_MIN {
            failing.insert(job.clone());
        }
        if failing.len() >= FAILING_JOBS_MIN {
            self.rest((task_manager.clone(), None), COMMON_REST_MAX, now);
        }
    }

    /// Something started, so not everything fails there.
    fn started(&mut self, task_manager: &TaskManagerId) {
        if self.failing_jobs.remove(task_manager).is_some() {
            self.forget(&(task_manager.clone(), None));
        }
    }

    /// Begins a rest. A failure during a rest is of a grant from before it and does not count.
    fn rest(&mut self, subject: Subject, most: Duration, now: Instant) {
        let known = self.failures.get(&subject);
        if known.is_some_and(|known| known.is_resting) {
            return;
        }
        let count = known.map_or(0, |known| known.count).saturating_add(1);
        self.forget(&subject);
        if self.failures.len() >= REMEMBERED_MAX
            && let Some((_, first)) = self.by_date.first().cloned()
        {
            self.forget(&first);
        }
        let doubled = 2_u32.checked_pow(count - 1).and_then(|times| FIRST_REST.checked_mul(times));
        let until = now + doubled.unwrap_or(most).min(most);
        self.avoidance.avoid(&subject.0, subject.1.as_ref());
        self.by_date.insert((until, subject.clone()));
        self.failures.insert(subject, Failures { count, until, is_resting: true });
    }

    fn allow(&mut self, (task_manager, job): &Subject) {
        self.avoidance.allow(task_manager, job.as_ref());
        self.has_allowed = true;
    }

    fn forget(&mut self, subject: &Subject) {
        let Some(failures) = self.failures.remove(subject) else { return };
        self.by_date.remove(&(failures.until, subject.clone()));
        if failures.is_resting {
            self.allow(subject);
        }
    }

    fn forget_task_manager(&mut self, id: &TaskManagerId) {
        self.failing_jobs.remove(id);
        let of_it = self.failures.range((id.clone(), None)..).map(|(subject, _)| subject);
        let of_it: Vec<Subject> = of_it.take_while(|(other, _)| other == id).cloned().collect();
        of_it.iter().for_each(|subject| self.forget(subject));
    }

    /// What the job does not avoid any more is forgotten by time.
    fn forget_job(&mut self, job: &JobId) {
        let avoided: Vec<_> = self.avoidance.by(job).into_iter().flatten().cloned().collect();
        avoided.into_iter().for_each(|task_manager| self.forget(&(task_manager, Some(job.clone()))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tm(id: &str) -> TaskManagerId {
        TaskManagerId::new(id).unwrap()
    }

    fn job(number: usize) -> JobId {
        JobId::new(&format!("job-{number}")).unwrap()
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn avoids(failures: &StartFailures, number: usize, id: &str) -> bool {
        failures.avoidance().by(&job(number)).is_some_and(|avoided| avoided.contains(&tm(id)))
    }

    #[test]
    fn each_further_failure_doubles_the_rest_up_to_the_most() {
        let (mut failures, mut now) = (StartFailures::default(), Instant::now());
        let mut rests = Vec::new();
        for _ in 0..11 {
            failures.failed(&job(1), &tm("a"), now);
            let until = failures.next_date().unwrap();
            rests.push(until.duration_since(now).as_secs());
            assert!(avoids(&failures, 1, "a") && !avoids(&failures, 2, "a") && !avoids(&failures, 1, "b"));
            now = until;
            failures.pass_time(now);
            assert!(failures.take_allowed() && !avoids(&failures, 1, "a"));
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn failures_during_a_rest_do_not_count() {
        let (mut failures, now) = (StartFailures::default(), Instant::now());
        for _ in 0..20 {
            failures.failed(&job(1), &tm("a"), now);
        }
        assert_eq!(failures.next_date(), Some(at(now, 1)));
    }

    #[test]
    fn after_a_quiet_time_the_next_failure_is_the_first() {
        let (mut failures, now) = (StartFailures::default(), Instant::now());
        failures.failed(&job(1), &tm("a"), now);
        failures.pass_time(at(now, 1));
        assert_eq!(failures.next_date(), Some(at(now, 601)));
        failures.pass_time(at(now, 601));
        assert_eq!(failures.next_date(), None);
        failures.failed(&job(1), &tm("a"), at(now, 700));
        assert_eq!(failures.next_date(), Some(at(now, 701)));
    }

    #[test]
    fn everybody_stays_away_from_where_several_jobs_fail_until_something_starts() {
        let (mut failures, now) = (StartFailures::default(), Instant::now());
        let common = |failures: &StartFailures| failures.failures.contains_key(&(tm("a"), None));
        failures.failed(&job(1), &tm("a"), now);
        failures.failed(&job(2), &tm("a"), now);
        failures.failed(&job(2), &tm("a"), now);
        assert!(!common(&failures));
        failures.failed(&job(3), &tm("a"), now);
        assert!(common(&failures));
        failures.take_allowed();
        failures.started(&tm("a"));
        assert!(!common(&failures) && failures.take_allowed());
        assert!(avoids(&failures, 3, "a"), "that something of another job starts says nothing of this one");
        failures.failed(&job(4), &tm("a"), now);
        assert!(!common(&failures), "it takes several jobs again");
    }

    #[test]
    fn everybody_stays_away_for_half_a_minute_at_most() {
        let (mut failures, mut now) = (StartFailures::default(), Instant::now());
        for number in 0..40 {
            failures.failed(&job(number), &tm("a"), now);
            let common = failures.failures.get(&(tm("a"), None));
            assert!(common.is_none_or(|common| common.until <= at(now, 30)));
            now = at(now, 31);
            failures.pass_time(now);
        }
    }

    #[test]
    fn who_registers_anew_and_a_job_that_ends_leave_nothing_to_avoid() {
        let (mut failures, now) = (StartFailures::default(), Instant::now());
        for number in 0..5 {
            failures.failed(&job(number), &tm("a"), now);
            failures.failed(&job(number), &tm("b"), now);
        }
        failures.forget_task_manager(&tm("a"));
        assert!(!avoids(&failures, 1, "a") && avoids(&failures, 1, "b"));
        failures.forget_job(&job(1));
        assert!(!avoids(&failures, 1, "b") && avoids(&failures, 2, "b"));
        failures.forget_task_manager(&tm("b"));
        assert_eq!(failures.next_date(), None);
        assert!(failures.failures.is_empty() && failures.failing_jobs.is_empty());
    }

    #[test]
    fn no_more_than_the_most_is_remembered() {
        let (mut failures, now) = (StartFailures::default(), Instant::now());
        for number in 0..REMEMBERED_MAX + 10 {
            failures.failed(&job(number), &tm("a"), now);
            failures.started(&tm("a"));
        }
        assert_eq!((failures.failures.len(), failures.by_date.len()), (REMEMBERED_MAX, REMEMBERED_MAX));
        assert!(failures.take_allowed());
    }
}
