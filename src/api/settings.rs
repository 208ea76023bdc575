//! Replicated settings: what holds, what was the default, and what is allowed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::units::DurationText;
use crate::domain::ids::{Revision, StrategyName};

/// The values of all settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingValues {
    /// The placement strategy for requests that name none.
    #[schema(value_type = String)]
    pub strategy: StrategyName,
    /// How often TaskManagers are told to report.
    #[schema(value_type = String)]
    pub heartbeat_interval: DurationText,
    /// How long a silent TaskManager keeps its slots.
    #[schema(value_type = String)]
    pub heartbeat_timeout: DurationText,
    /// What a new leader adds to the first full timeout of every lease.
    #[schema(value_type = String)]
    pub lease_grace: DurationText,
    /// Lost TaskManagers declared in one second at most.
    pub expiries_per_second_max: u32,
    /// If more than this share of all TaskManagers is due at once, none is declared lost. Percent.
    pub mass_loss_share_percent: u32,
    /// How long a grant may stay unconfirmed; null is for ever.
    #[schema(value_type = Option<String>)]
    pub confirm_timeout: Option<DurationText>,
    /// How long lost TaskManagers and finished jobs stay listed.
    #[schema(value_type = String)]
    pub tombstone_retention: DurationText,
    /// How long the answer to an idempotency key is kept.
    #[schema(value_type = String)]
    pub idempotency_retention: DurationText,
    /// Answers kept at once; when as many are younger than the retention, writes with a new key are refused.
    pub idempotency_keys_max: u64,
}

/// All settings, with their defaults and ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// What holds.
    #[serde(flatten)]
    pub values: SettingValues,
    /// The revision of the last change of any setting; 0 if nothing was ever changed.
    #[schema(value_type = u64)]
    pub changed_in_revision: Revision,
    /// The revision of the last change of each setting, by setting; 0 if it was never changed. Empty in answers of servers
    /// that do not tell.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, u64>)]
    pub changed_in_revisions: BTreeMap<String, Revision>,
    /// What holds where nothing was changed.
    pub defaults: SettingValues,
    /// What is allowed, in words, by setting.
    pub ranges: BTreeMap<String, String>,
}

/// What to change; a missing setting stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"strategy": "least_utilization", "heartbeat_timeout": "10s"}))]
pub struct PatchSettings {
    /// See [`SettingValues::strategy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub strategy: Option<StrategyName>,
    /// See [`SettingValues::heartbeat_interval`].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub heartbeat_interval: Option<DurationText>,
    /// See [`SettingValues::heartbeat_timeout`].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub heartbeat_timeout: Option<DurationText>,
    /// See [`SettingValues::lease_grace`].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub lease_grace: Option<DurationText>,
    /// See [`SettingValues::expiries_per_second_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiries_per_second_max: Option<u32>,
    /// See [`SettingValues::mass_loss_share_percent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mass_loss_share_percent: Option<u32>,
    /// See [`SettingValues::confirm_timeout`]; null switches it off.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub confirm_timeout: Option<Option<DurationText>>,
    /// See [`SettingValues::tombstone_retention`].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub tombstone_retention: Option<DurationText>,
    /// See [`SettingValues::idempotency_retention`].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub idempotency_retention: Option<DurationText>,
    /// See [`SettingValues::idempotency_keys_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_keys_max: Option<u64>,
}

/// Tells a member that is null from one that is missing.
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_switches_a_timeout_off_and_missing_leaves_it() {
        let patch: PatchSettings = serde_json::from_str(r#"{"confirm_timeout":null}"#).unwrap();
        assert_eq!(patch.confirm_timeout, Some(None));
        let patch: PatchSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(patch, PatchSettings::default());
        let patch: PatchSettings = serde_json::from_str(r#"{"confirm_timeout":"30s"}"#).unwrap();
        assert_eq!(patch.confirm_timeout, Some(Some(DurationText { ms: 30_000 })));
    }
}
