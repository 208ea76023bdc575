//! Changing the settings.
//!
//! What it promises: a patch is taken as a whole or not at all; a heartbeat timeout that is lowered is remembered for as
//! long as somebody may count on it. What it must not do: know ranges; `domain/settings.rs`
//! does.

use super::Transaction;
use crate::domain::event::Event;
use crate::domain::limits;
use crate::domain::outcome::{Rejection, Reply};
use crate::domain::settings::{FormerTimeout, Settings, SettingsPatch};

/// How long after the stamp of a round that lowers the timeout a leader may still promise the former one: it decides the
/// round, waits for its outcome, and ends its session if none comes. No round takes as long to decide as to wait for.
const PROMISED_AFTER_STAMP_MS: u64 = 2 * limits::PROPOSAL_TIMEOUT_MAX_MS;

impl Transaction<'_> {
    pub(super) fn patch_settings(&mut self, patch: &SettingsPatch) -> Result<Reply, Rejection> {
        let mut settings = self.state.settings.patched(patch).map_err(Rejection::InvalidSetting)?;
        settings.changed_in = self.revision;
        self.take_settings(settings.clone());
        Ok(Reply::SettingsPatched(Box::new(settings)))
    }

    pub(super) fn change_settings(&mut self, patch: &SettingsPatch) -> Result<Reply, Rejection> {
        let mut settings = self.state.settings.patched(patch).map_err(Rejection::InvalidSetting)?;
        let changed: Vec<_> = self.state.settings.differing(&settings).collect();
        if !changed.is_empty() {
            for setting in changed {
                self.state.setting_changes.note(setting, self.revision);
            }
            settings.changed_in = self.revision;
            self.take_settings(settings.clone());
        }
        let changes = Box::new(self.state.setting_changes.clone());
        Ok(Reply::SettingsChanged { settings: Box::new(settings), changes })
    }

    fn take_settings(&mut self, settings: Settings) {
        let timeout_ms = self.state.settings.heartbeat_timeout_ms;
        if settings.heartbeat_timeout_ms < timeout_ms {
            let until = self.state.now.after_at_least(timeout_ms.saturating_add(PROMISED_AFTER_STAMP_MS));
            let lowered = FormerTimeout { timeout_ms, until };
            let former = self.state.former_timeout.filter(|former| self.state.now <= former.until);
            self.state.former_timeout = Some(former.map_or(lowered, |former| FormerTimeout {
                timeout_ms: former.timeout_ms.max(timeout_ms),
                until: former.until.max(until),
            }));
        }
        self.state.settings = settings;
        self.events.push(Event::SettingsChanged);
    }
}
