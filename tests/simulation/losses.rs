//! How many TaskManagers may be declared lost, and when (C4): so many in a second, and nobody while too many are silent.
//!
//! An observer sees when a verdict is in the log, not when it fell. So it reckons with the earliest time at which a verdict
//! can have fallen, and with the latest time at which the lease of somebody silent can have run out.

use std::collections::{BTreeMap, VecDeque};

use slotkeeper::domain::{SessionNumber, Settings, State, TaskManagerId};

/// Fewer silent TaskManagers are never taken for a mass loss.
const MASS_LOSS_MIN: usize = 3;

/// A leader begins its leases so soon after its session is in the log.
const BEGIN_MS: u64 = 50;

/// A TaskManager was declared lost.
#[derive(Debug)]
pub struct Loss {
    pub id: TaskManagerId,
    pub session: SessionNumber,
    pub settings: Settings,
    /// Who was not lost until then.
    pub tracked: Vec<TaskManagerId>,
}

impl Loss {
    pub fn of(id: &TaskManagerId, before: &State) -> Self {
        let tracked = before.task_managers().iter().filter(|(_, task_manager)| !task_manager.is_lost());
        Self {
            id: id.clone(),
            session: before.session(),
            settings: before.settings().clone(),
            tracked: tracked.map(|(id, _)| id.clone()).collect(),
        }
    }
}

#[derive(Default)]
pub struct Losses {
    rate_off_percent: u64,
    session: SessionNumber,
    begun_at_ms: u64,
    /// For how long the leases are that the session began with, and by when at the latest they have run out.
    first_lease_ms: u64,
    first_due_at_ms: u64,
    /// Since when every message reaches the leader in time: none of those that it has was sent before it stood still.
    steady_since_ms: u64,
    /// The timeouts, and since when each is in force.
    timeouts: Vec<(u64, u64)>,
    rate_max: usize,
    /// When TaskManagers were last registered or changed.
    touched: BTreeMap<TaskManagerId, u64>,
    /// The earliest times of the verdicts of this session.
    verdicts: VecDeque<u64>,
}

impl Losses {
    pub fn new(rate_off_percent: u64) -> Self {
        Self { rate_off_percent, ..Self::default() }
    }

    /// What is in force at `now_ms`.
    pub fn follow(&mut self, now_ms: u64, state: &State) {
        let settings = state.settings();
        let rate = usize::try_from(settings.expiries_per_second_max).unwrap();
        if state.session() != self.session {
            (self.session, self.begun_at_ms, self.rate_max) = (state.session(), now_ms, rate);
            self.first_lease_ms = state.promised_timeout_ms() + settings.lease_grace_ms;
            self.first_due_at_ms = now_ms + BEGIN_MS + self.slow(self.first_lease_ms);
            self.verdicts.clear();
        }
        self.rate_max = self.rate_max.max(rate);
        if self.timeouts.last().is_none_or(|(_, timeout_ms)| *timeout_ms != settings.heartbeat_timeout_ms) {
            self.timeouts.push((now_ms, settings.heartbeat_timeout_ms));
        }
    }

    /// So much time by the slowest clock.
    fn slow(&self, ms: u64) -> u64 {
        ms * 100 / (100 - self.rate_off_percent) + 1
    }

    /// So much time by the fastest clock.
    fn fast(&self, ms: u64) -> u64 {
        ms * 100 / (100 + self.rate_off_percent)
    }

    fn touched_at_ms(&self, id: &TaskManagerId) -> u64 {
        self.touched.get(id).copied().unwrap_or_default()
    }

    /// A server stood still until now, perhaps with messages that had arrived, or while it began its session.
    pub fn stood_still(&mut self, now_ms: u64) {
        self.steady_since_ms = now_ms;
        self.first_due_at_ms = self.first_due_at_ms.max(now_ms + self.slow(self.first_lease_ms));
    }

    pub fn touched(&mut self, now_ms: u64, id: TaskManagerId) {
        self.touched.insert(id, now_ms);
    }

    /// The verdict on a TaskManager that may have used its slots until `deadline_ms` is in the log. `heard_at_ms` says by
    /// when at the latest a message of somebody arrived.
    pub fn check(
        &mut self,
        now_ms: u64,
        loss: &Loss,
        deadline_ms: u64,
        heard_at_ms: impl Fn(&TaskManagerId) -> u64,
    ) {
        if loss.session != self.session {
            return;
        }
        let mut fell_at_ms = deadline_ms;
        if self.touched_at_ms(&loss.id) < self.begun_at_ms {
            fell_at_ms = fell_at_ms.max(self.begun_at_ms + self.fast(self.first_lease_ms));
        }
        if self.verdicts.len() >= self.rate_max {
            let before_ms = self.verdicts[self.verdicts.len() - self.rate_max];
            fell_at_ms = fell_at_ms.max(before_ms + self.fast(1_000));
        }
        assert!(
            now_ms >= fell_at_ms,
            "C4: {} was declared lost at {now_ms}; at {} a second it could not be before {fell_at_ms}",
            loss.id,
            self.rate_max
        );
        self.verdicts.push_back(fell_at_ms);
        let ahead_ms = self.fast(loss.settings.heartbeat_interval_ms * 3 / 2);
        let is_silent = |id: &&TaskManagerId| self.due_at_ms(id, heard_at_ms(id)) <= fell_at_ms + ahead_ms;
        let silent = loss.tracked.iter().filter(is_silent).count();
        let share_percent = silent * 100 / loss.tracked.len().max(1);
        assert!(
            silent < MASS_LOSS_MIN || share_percent <= loss.settings.mass_loss_share_percent as usize,
            "C4: {} was declared lost while {silent} of {} were silent",
            loss.id,
            loss.tracked.len()
        );
    }

    /// By when at the latest the lease of somebody has run out who was last heard at `heard_at_ms`.
    fn due_at_ms(&self, id: &TaskManagerId, heard_at_ms: u64) -> u64 {
        let touched_at_ms = self.touched_at_ms(id);
        let heard_at_ms = heard_at_ms.max(touched_at_ms).max(self.steady_since_ms);
        let ends = self.timeouts.iter().skip(1).map(|(from_ms, _)| *from_ms).chain([u64::MAX]);
        let periods = self.timeouts.iter().zip(ends).filter(|((from_ms, _), _)| *from_ms <= heard_at_ms);
        let renewed =
            periods.map(|((_, timeout_ms), end_ms)| heard_at_ms.min(end_ms) + self.slow(*timeout_ms));
        let first_due_at_ms = if touched_at_ms <= self.begun_at_ms { self.first_due_at_ms } else { 0 };
        renewed.max().unwrap_or(0).max(first_due_at_ms)
    }
}
