//! Replicated settings, changeable while the cluster runs.
//!
//! What it promises: each setting has a default, a range and a meaning here; a `SettingsPatch` is checked as a whole
//! before any of it is taken. What it must not do: hold what differs between nodes (that is the server's
//! configuration).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{LogicalTime, Revision, StrategyName};

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The strategy for requests that name none. Default `least_utilization`.
    pub strategy: StrategyName,
    /// How often TaskManagers are told to report. Default 1 s; 50 ms to 1 min.
    pub heartbeat_interval_ms: u64,
    /// How long a silent TaskManager keeps its slots. Default 5 s; at least three intervals, at most 1 h.
    pub heartbeat_timeout_ms: u64,
    /// What a new leader adds to the first full timeout of every lease. Default 5 s; up to 10 min.
    pub lease_grace_ms: u64,
    /// Lost TaskManagers declared in one second at most. Default 10; at least 1.
    pub expiries_per_second_max: u32,
    /// If more than this share of all TaskManagers is due at once, none is declared lost and an alarm is raised.
    /// Percent, default 30; 1 to 100 (100 switches the guard off).
    pub mass_loss_share_percent: u32,
    /// How long a grant may stay unconfirmed. Default `None`: for ever; at least 1 s, because what ends as soon as it
    /// is granted is granted again at once.
    pub confirm_timeout_ms: Option<u64>,
    /// How long lost TaskManagers and finished jobs stay listed. Default 1 h.
    pub tombstone_retention_ms: u64,
    /// How long the answer to an idempotency key is kept. Default and least: 15 min.
    pub idempotency_retention_ms: u64,
    /// Answers kept at once. When as many are younger than the retention, writes with a new key are refused with
    /// `idempotency_table_full`. Default 1,000,000.
    pub idempotency_keys_max: u64,
    /// The revision of the last change.
    pub changed_in: Revision,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strategy: StrategyName::new("least_utilization").expect("the default strategy has a valid name"),
            heartbeat_interval_ms: 1_000,
            heartbeat_timeout_ms: 5_000,
            lease_grace_ms: 5_000,
            expiries_per_second_max: 10,
            mass_loss_share_percent: 30,
            confirm_timeout_ms: None,
            tombstone_retention_ms: 3_600_000,
            idempotency_retention_ms: 900_000,
            idempotency_keys_max: 1_000_000,
            changed_in: Revision(0),
        }
    }
}

/// A longer heartbeat timeout of before, which TaskManagers may still count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerTimeout {
    /// How long they were told to go on.
    pub timeout_ms: u64,
    /// When the last of them has stopped counting on it.
    pub until: LogicalTime,
}

/// The revision of the last change of each setting that was ever changed, by its name in the API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChanges(BTreeMap<String, Revision>);

impl SettingChanges {
    /// The revision of the last change of a setting; 0 if it was never changed.
    pub fn revision_of(&self, setting: &str) -> Revision {
        self.0.get(setting).copied().unwrap_or_default()
    }

    /// Whether nothing was ever changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn note(&mut self, setting: &str, revision: Revision) {
        self.0.insert(setting.to_owned(), revision);
    }
}

/// What to change; `None` leaves a setting as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsPatch {
    /// See [`Settings::strategy`].
    pub strategy: Option<StrategyName>,
    /// See [`Settings::heartbeat_interval_ms`].
    pub heartbeat_interval_ms: Option<u64>,
    /// See [`Settings::heartbeat_timeout_ms`].
    pub heartbeat_timeout_ms: Option<u64>,
    /// See [`Settings::lease_grace_ms`].
    pub lease_grace_ms: Option<u64>,
    /// See [`Settings::expiries_per_second_max`].
    pub expiries_per_second_max: Option<u32>,
    /// See [`Settings::mass_loss_share_percent`].
    pub mass_loss_share_percent: Option<u32>,
    /// See [`Settings::confirm_timeout_ms`]; `Some(None)` switches it off.
    pub confirm_timeout_ms: Option<Option<u64>>,
    /// See [`Settings::tombstone_retention_ms`].
    pub tombstone_retention_ms: Option<u64>,
    /// See [`Settings::idempotency_retention_ms`].
    pub idempotency_retention_ms: Option<u64>,
    /// See [`Settings::idempotency_keys_max`].
    pub idempotency_keys_max: Option<u64>,
}

/// A setting out of its range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("`{setting}` must be {range}")]
pub struct SettingError {
    /// The setting's name in the API.
    pub setting: String,
    /// The range in words.
    pub range: String,
}

impl Settings {
    /// These settings with `patch` on top.
    ///
    /// # Errors
    /// The first setting that would leave its range; nothing is changed then.
    pub fn patched(&self, patch: &SettingsPatch) -> Result<Self, SettingError> {
        let mut next = self.clone();
        let patch = patch.clone();
        take(&mut next.strategy, patch.strategy);
        take(&mut next.heartbeat_interval_ms, patch.heartbeat_interval_ms);
        take(&mut next.heartbeat_timeout_ms, patch.heartbeat_timeout_ms);
        take(&mut next.lease_grace_ms, patch.lease_grace_ms);
        take(&mut next.expiries_per_second_max, patch.expiries_per_second_max);
        take(&mut next.mass_loss_share_percent, patch.mass_loss_share_percent);
        take(&mut next.confirm_timeout_ms, patch.confirm_timeout_ms);
        take(&mut next.tombstone_retention_ms, patch.tombstone_retention_ms);
        take(&mut next.idempotency_retention_ms, patch.idempotency_retention_ms);
        take(&mut next.idempotency_keys_max, patch.idempotency_keys_max);
        next.check()?;
        Ok(next)
    }

    /// The names of the settings in which `other` differs, as the API names them.
    pub fn differing(&self, other: &Self) -> impl Iterator<Item = &'static str> + use<> {
        let settings: [(bool, &'static str); 10] = [
            (self.strategy != other.strategy, "strategy"),
            (self.heartbeat_interval_ms != other.heartbeat_interval_ms, "heartbeat_interval"),
            (self.heartbeat_timeout_ms != other.heartbeat_timeout_ms, "heartbeat_timeout"),
            (self.lease_grace_ms != other.lease_grace_ms, "lease_grace"),
            (self.expiries_per_second_max != other.expiries_per_second_max, "expiries_per_second_max"),
            (self.mass_loss_share_percent != other.mass_loss_share_percent, "mass_loss_share_percent"),
            (self.confirm_timeout_ms != other.confirm_timeout_ms, "confirm_timeout"),
            (self.tombstone_retention_ms != other.tombstone_retention_ms, "tombstone_retention"),
            (self.idempotency_retention_ms != other.idempotency_retention_ms, "idempotency_retention"),
            (self.idempotency_keys_max != other.idempotency_keys_max, "idempotency_keys_max"),
        ];
        settings.into_iter().filter(|(differs, _)| *differs).map(|(_, setting)| setting)
    }

    fn check(&self) -> Result<(), SettingError> {
        let least_timeout_ms = self.heartbeat_interval_ms.saturating_mul(3);
        let rules: [(bool, &str, &str); 8] = [
            ((50..=60_000).contains(&self.heartbeat_interval_ms), "heartbeat_interval", "50ms to 1m"),
            (
                (least_timeout_ms..=3_600_000).contains(&self.heartbeat_timeout_ms),
                "heartbeat_timeout",
                "at least three heartbeat intervals and at most 1h",
            ),
            (self.lease_grace_ms <= 600_000, "lease_grace", "at most 10m"),
            (self.expiries_per_second_max >= 1, "expiries_per_second_max", "at least 1"),
            ((1..=100).contains(&self.mass_loss_share_percent), "mass_loss_share_percent", "1 to 100"),
            (
                self.confirm_timeout_ms.is_none_or(|timeout_ms| timeout_ms >= 1_000),
                "confirm_timeout",
                "at least 1s, or none",
            ),
            (self.idempotency_retention_ms >= 900_000, "idempotency_retention", "at least 15m"),
            (
                (1_000..=4_000_000).contains(&self.idempotency_keys_max),
                "idempotency_keys_max",
                "1000 to 4000000",
            ),
        ];
        match rules.iter().find(|(holds, _, _)| !holds) {
            None => Ok(()),
            Some((_, setting, range)) => {
                Err(SettingError { setting: (*setting).to_owned(), range: (*range).to_owned() })
            }
        }
    }
}

fn take<T>(current: &mut T, wanted: Option<T>) {
    if let Some(value) = wanted {
        *current = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(patch: SettingsPatch) -> Option<String> {
        Settings::default().patched(&patch).err().map(|error| error.setting)
    }

    #[test]
    fn every_setting_has_a_name_under_which_its_changes_are_noted() {
        let other = Settings {
            strategy: StrategyName::new("other").unwrap(),
            heartbeat_interval_ms: 1,
            heartbeat_timeout_ms: 1,
            lease_grace_ms: 1,
            expiries_per_second_max: 1,
            mass_loss_share_percent: 1,
            confirm_timeout_ms: Some(1),
            tombstone_retention_ms: 1,
            idempotency_retention_ms: 1,
            idempotency_keys_max: 1,
            changed_in: Revision(1),
        };
        assert_eq!(Settings::default().differing(&other).count(), 10);
        assert_eq!(other.differing(&other).count(), 0);
    }

    #[test]
    fn the_defaults_are_in_their_ranges() {
        assert_eq!(refused(SettingsPatch::default()), None);
    }

    #[test]
    fn the_timeout_leaves_room_for_three_heartbeats_also_when_only_the_interval_moves() {
        let interval = SettingsPatch { heartbeat_interval_ms: Some(2_000), ..Default::default() };
        assert_eq!(refused(interval.clone()).as_deref(), Some("heartbeat_timeout"));
        assert_eq!(refused(SettingsPatch { heartbeat_timeout_ms: Some(6_000), ..interval }), None);
    }

    #[test]
    fn no_grant_ends_as_soon_as_it_is_made() {
        let timeout =
            |timeout_ms| SettingsPatch { confirm_timeout_ms: Some(timeout_ms), ..Default::default() };
        assert_eq!(refused(timeout(Some(0))).as_deref(), Some("confirm_timeout"));
        assert_eq!(refused(timeout(Some(1_000))), None);
        assert_eq!(refused(timeout(None)), None);
    }

    #[test]
    fn idempotency_keys_are_kept_for_a_quarter_of_an_hour_at_least() {
        let retention = SettingsPatch { idempotency_retention_ms: Some(899_999), ..Default::default() };
        assert_eq!(refused(retention).as_deref(), Some("idempotency_retention"));
    }
}
