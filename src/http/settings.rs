//! `/v1/settings`: the replicated settings.

use axum::extract::State;

use super::answer::Answer;
use super::extract::{JsonBody, Key, QueryParameters};
use super::refusal::Refusal;
use super::{App, answers, requests};
use crate::api::settings::{PatchSettings, Settings};
use crate::domain::{Command, Rejection, Reply, RequestKey, SettingsPatch};
use crate::leader::Intent;

/// The settings in force, with defaults and ranges.
#[utoipa::path(get, path = "/v1/settings", tag = "Settings", responses((status = 200, body = Settings)))]
pub(super) async fn get_settings(
    State(app): State<App>,
    query: QueryParameters,
) -> Result<Answer<Settings>, Refusal> {
    query.finish()?;
    let state = app.state();
    Ok(Answer::read(
        state.revision(),
        answers::settings(
            state.settings(),
            state.setting_changes(),
            app.services.leader.strategies().names(),
        ),
    ))
}

/// Changes settings, all of what is given or nothing. A setting that keeps its value counts as unchanged.
#[utoipa::path(patch, path = "/v1/settings", tag = "Settings", request_body = PatchSettings,
    responses((status = 200, body = Settings)))]
pub(super) async fn patch_settings(
    State(app): State<App>,
    Key(key): Key,
    JsonBody(request): JsonBody<PatchSettings>,
) -> Result<Answer<Settings>, Refusal> {
    app.check_strategy("strategy", request.strategy.as_ref())?;
    let patch = requests::settings_patch(request);
    refuse_early(&app, key.as_ref(), &patch)?;
    let written = app.submit(key, Intent::Command(Command::ChangeSettings(patch))).await?;
    let Reply::SettingsChanged { settings, changes } = &written.reply else {
        return Err(super::app::unexpected(&written.reply));
    };
    let body = answers::settings(settings, changes, app.services.leader.strategies().names());
    Ok(Answer::written(written.revision, written.replayed, body))
}

/// What is out of range now is refused before it costs an entry of the log, unless it has an answer already. Applying
/// checks again.
fn refuse_early(app: &App, key: Option<&RequestKey>, patch: &SettingsPatch) -> Result<(), Refusal> {
    let state = app.state();
    if key.is_some_and(|key| state.replay(key).is_some()) {
        return Ok(());
    }
    let patched = state.settings().patched(patch);
    patched.map(|_| ()).map_err(|error| Refusal::from(&Rejection::InvalidSetting(error)))
}
