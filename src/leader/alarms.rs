//! What the leader wants a person to know.
//!
//! What it promises: an alarm is raised and cleared once per change, with one line in the log each time. What it must
//! not do: act.

use std::sync::{Mutex, PoisonError};

use crate::telemetry::LeaseMetrics;

/// Something that needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// So many TaskManagers are silent at once that none is declared lost: the fault may be on our side. It ends when
    /// enough of them report again, or when `mass_loss_share_percent` is raised.
    MassLoss {
        /// TaskManagers that are silent.
        silent: usize,
        /// TaskManagers that are not lost.
        task_managers: usize,
    },
}

impl Alarm {
    /// The stable name in answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MassLoss { .. } => "mass_loss",
        }
    }
}

impl std::fmt::Display for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MassLoss { silent, task_managers } => write!(
                f,
                "{silent} of {task_managers} TaskManagers are silent; none is declared lost until they report again or \
                 the setting mass_loss_share_percent is raised"
            ),
        }
    }
}

/// The alarms of this node.
#[derive(Debug, Default)]
pub(super) struct Alarms(Mutex<Option<Alarm>>);

impl Alarms {
    /// What is raised.
    pub(super) fn raised(&self) -> Vec<Alarm> {
        self.current().iter().copied().collect()
    }

    /// Sets or clears the alarm.
    pub(super) fn set(&self, alarm: Option<Alarm>, metrics: &LeaseMetrics) {
        let before = std::mem::replace(&mut *self.current(), alarm);
        metrics.mass_loss_guard.set(i64::from(alarm.is_some()));
        match (before, alarm) {
            (None, Some(alarm)) => tracing::warn!(alarm = alarm.code(), "{alarm}"),
            (Some(alarm), None) => tracing::info!(alarm = alarm.code(), "the alarm is over"),
            _ => {}
        }
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<Alarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
