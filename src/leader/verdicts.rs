//! Verdicts on holders of leases: who is lost, and how many may be at once.
//!
//! What it promises: nobody is judged before the lease ran out; at most `expiries_per_second_max` TaskManagers, and as
//! many jobs, in any second; nobody at all while more than `mass_loss_share_percent` of all TaskManagers are silent
//! together, because then the fault is more likely on this side; nothing after the process stood still. What it must
//! not do: change the state; a verdict is a command that names the epoch it judged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::alarms::Alarm;
use super::duties::Duties;
use super::keeper::{self, Held};
use super::leases::RateLimit;
use super::session::{Session, Watchdog};
use super::shared::Shared;
use crate::domain::{Command, Epoch, JobId, Settings, TaskManagerId};

/// Fewer silent TaskManagers than this are never taken for a mass loss.
const MASS_LOSS_MIN: usize = 3;

/// Who was judged, in which epoch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    TaskManager(TaskManagerId, Epoch),
    Job(JobId, Epoch),
}

impl Verdict {
    fn command(&self) -> Command {
        match self {
            Self::TaskManager(id, epoch) => Command::ExpireTaskManager { id: id.clone(), epoch: *epoch },
            Self::Job(id, epoch) => Command::ExpireJob { id: id.clone(), epoch: *epoch },
        }
    }

    fn acquit(&self, session: &Session) {
        match self {
            Self::TaskManager(id, epoch) => session.leases.acquit_task_manager(id, *epoch),
            Self::Job(id, epoch) => session.leases.acquit_job(id, *epoch),
        }
    }
}

/// What the judge remembers between two looks.
#[derive(Debug, Default)]
pub(super) struct Judge {
    task_managers: RateLimit,
    jobs: RateLimit,
}

impl Judge {
    /// Who is lost at `now`, and the alarm if too many are silent. The judged are marked in `held`.
    pub(super) fn judge(
        &mut self,
        held: &mut Held,
        settings: &Settings,
        now: Instant,
    ) -> (Vec<Verdict>, Option<Alarm>) {
        held.note_timeout(keeper::timeout(settings), now);
        let mut verdicts = Vec::new();
        let alarm = mass_loss(held, settings, now);
        let rate = settings.expiries_per_second_max;
        if alarm.is_none() {
            while held.task_managers.is_any_due(now) && self.task_managers.admits(now, rate) {
                let judged = held.task_managers.judge_next(now);
                verdicts.extend(judged.map(|(id, epoch)| Verdict::TaskManager(id, epoch)));
            }
        }
        while held.jobs.is_any_due(now) && self.jobs.admits(now, rate) {
            verdicts.extend(held.jobs.judge_next(now).map(|(id, epoch)| Verdict::Job(id, epoch)));
        }
        (verdicts, alarm)
    }
}

/// Those that fell silent together come due over one interval. So all count that must have missed a heartbeat, as soon
/// as the first of them is due; one that reports in time has more than two intervals left.
fn mass_loss(held: &Held, settings: &Settings, now: Instant) -> Option<Alarm> {
    if !held.task_managers.is_any_due(now) {
        return None;
    }
    let within = Duration::from_millis(settings.heartbeat_interval_ms * 3 / 2);
    let (silent, task_managers) = (held.task_managers.due_until(now + within), held.task_managers.len());
    let share_max = settings.mass_loss_share_percent as usize;
    let is_mass = silent >= MASS_LOSS_MIN && silent * 100 > task_managers * share_max;
    is_mass.then_some(Alarm::MassLoss { silent, task_managers })
}

/// Judges until the session ends.
pub(super) async fn run(shared: Arc<Shared>, session: Arc<Session>, duties: Duties) {
    let mut judge = Judge::default();
    let watchdog = Watchdog::new(shared.seams.clock.clone());
    let mut ticks = tokio::time::interval(shared.options.lease_check_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = session.end.cancelled() => break,
            _ = ticks.tick() => {}
        }
        // Before the clock, so that they were in force then.
        let settings = shared.seams.replica.read().settings().clone();
        let now = match watchdog.look() {
            Ok(now) => now,
            Err(gap) => {
                tracing::warn!(
                    gap_ms = gap.as_millis(),
                    "the process stood still; the leadership session ends"
                );
                session.end.cancel();
                break;
            }
        };
        let (verdicts, alarm) = judge.judge(&mut session.leases.held(), &settings, now);
        let metrics = &shared.seams.metrics.leases;
        shared.alarms.set(alarm, metrics);
        metrics.tracked.set(i64::try_from(session.leases.held().task_managers.len()).unwrap_or(i64::MAX));
        for verdict in verdicts {
            tokio::spawn(submit(shared.clone(), session.clone(), duties.clone(), verdict));
        }
    }
    shared.alarms.set(None, &shared.seams.metrics.leases);
}

async fn submit(shared: Arc<Shared>, session: Arc<Session>, duties: Duties, verdict: Verdict) {
    let metrics = &shared.seams.metrics.leases;
    match (duties.submit(verdict.command()).await.map(|outcome| outcome.result.is_ok()), &verdict) {
        (Ok(true), Verdict::TaskManager(id, epoch)) => {
            metrics.task_managers_expired.inc();
            tracing::warn!(task_manager = %id, %epoch, "the TaskManager is lost: its lease ran out");
        }
        (Ok(true), Verdict::Job(id, _)) => {
            metrics.jobs_expired.inc();
            tracing::warn!(job = %id, "the job has ended: its lease ran out");
        }
        _ => verdict.acquit(&session),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(task_managers: usize, due: Instant) -> Held {
        let mut held = Held::new(keeper::timeout(&Settings::default()));
        for number in 0..task_managers {
            held.task_managers.start(&TaskManagerId::new(&format!("tm-{number}")).unwrap(), Epoch(1), due);
        }
        held
    }

    fn settings(share: u32, rate: u32) -> Settings {
        Settings { mass_loss_share_percent: share, expiries_per_second_max: rate, ..Settings::default() }
    }

    fn later(now: Instant, ms: u64) -> Instant {
        now + Duration::from_millis(ms)
    }

    #[test]
    fn no_more_than_the_rate_are_judged_in_one_second() {
        let now = Instant::now();
        let (mut judge, mut held) = (Judge::default(), held(25, now));
        let settings = settings(100, 10);
        let mut count = |ms| judge.judge(&mut held, &settings, later(now, ms)).0.len();
        assert_eq!([count(0), count(500), count(1_000), count(1_500), count(2_000)], [10, 0, 10, 0, 5]);
    }

    #[test]
    fn nobody_is_judged_while_too_many_are_silent() {
        let now = Instant::now();
        let (mut judge, mut held) = (Judge::default(), held(10, later(now, 60_000)));
        for number in 0..4 {
            let id = TaskManagerId::new(&format!("silent-{number}")).unwrap();
            held.task_managers.start(&id, Epoch(1), later(now, number * 400));
        }
        // Only one is due, but three more have missed a heartbeat.
        let (verdicts, alarm) = judge.judge(&mut held, &settings(25, 10), now);
        assert_eq!(verdicts, []);
        assert_eq!(alarm, Some(Alarm::MassLoss { silent: 4, task_managers: 14 }));
        let (verdicts, alarm) = judge.judge(&mut held, &settings(30, 10), now);
        assert_eq!((verdicts.len(), alarm), (1, None));
    }

    #[test]
    fn a_small_cluster_can_lose_a_few() {
        let now = Instant::now();
        let (verdicts, alarm) = Judge::default().judge(&mut held(2, now), &settings(30, 10), now);
        assert_eq!((verdicts.len(), alarm), (2, None));
    }

    #[test]
    fn a_timeout_that_is_raised_counts_from_then_on_for_everybody() {
        let now = Instant::now();
        let (mut judge, mut held) = (Judge::default(), held(1, later(now, 5_000)));
        let raised = Settings { heartbeat_timeout_ms: 60_000, ..settings(30, 10) };
        let mut count = |settings: &Settings, ms| judge.judge(&mut held, settings, later(now, ms)).0.len();
        assert_eq!(count(&settings(30, 10), 4_000), 0);
        assert_eq!([count(&raised, 5_000), count(&raised, 64_999), count(&raised, 65_000)], [0, 0, 1]);
    }

    #[test]
    fn jobs_are_judged_also_while_task_managers_are_not() {
        let now = Instant::now();
        let mut held = held(5, now);
        let job = JobId::new("job").unwrap();
        held.jobs.start(&job, Epoch(7), now);
        let (verdicts, alarm) = Judge::default().judge(&mut held, &settings(30, 10), now);
        assert_eq!(verdicts, [Verdict::Job(job, Epoch(7))]);
        assert!(alarm.is_some());
    }
}
