//! The cluster in a few numbers.

use super::call::Client;
use super::error::ClientError;
use super::request::{Method, Request, Target};
use crate::api::overview::Overview;

impl Client {
    /// Counts over the whole state.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn overview(&self) -> Result<Overview, ClientError> {
        self.call(Request::new(Method::Get, Target::new(&["v1", "overview"])?)).await
    }
}
