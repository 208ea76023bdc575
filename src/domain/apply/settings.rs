//! Changing the settings.
//!
//! What it promises: a patch is taken as a whole or not at all. What it must not do: know ranges; `domain/settings.rs`
//! does.

use super::Transaction;
use crate::domain::event::Event;
use crate::domain::outcome::{Rejection, Reply};
use crate::domain::settings::SettingsPatch;

impl Transaction<'_> {
    pub(super) fn patch_settings(&mut self, patch: &SettingsPatch) -> Result<Reply, Rejection> {
        let mut settings = self.state.settings.patched(patch).map_err(Rejection::InvalidSetting)?;
        settings.changed_in = self.revision;
        self.state.settings = settings.clone();
        self.events.push(Event::SettingsChanged);
        Ok(Reply::SettingsPatched(settings))
    }

    pub(super) fn change_settings(&mut self, patch: &SettingsPatch) -> Result<Reply, Rejection> {
        let mut settings = self.state.settings.patched(patch).map_err(Rejection::InvalidSetting)?;
        let changed: Vec<_> = self.state.settings.differing(&settings).collect();
        if !changed.is_empty() {
            for setting in changed {
                self.state.setting_changes.note(setting, self.revision);
            }
            settings.changed_in = self.revision;
            self.state.settings = settings.clone();
            self.events.push(Event::SettingsChanged);
        }
        Ok(Reply::SettingsChanged { settings, changes: self.state.setting_changes.clone() })
    }
}
