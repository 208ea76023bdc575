//! Calls about the replicated settings.

use super::call::Client;
use super::error::ClientError;
use super::request::{Method, Request, Target};
use crate::api::settings::{PatchSettings, Settings};

impl Client {
    /// All settings, with their defaults and ranges.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn settings(&self) -> Result<Settings, ClientError> {
        self.call(Request::new(Method::Get, Target::new(&["v1", "settings"])?)).await
    }

    /// Changes settings; what is missing stays as it is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn patch_settings(&self, patch: &PatchSettings) -> Result<Settings, ClientError> {
        let target = Target::new(&["v1", "settings"])?;
        self.call(Request::new(Method::Patch, target).with_body(patch)?).await
    }
}
