//! The health of one server, asked of that server and of no other.

use super::call::Client;
use super::error::{ClientError, Failure};
use super::request::{Method, Request, Target};
use crate::api::cluster::Readiness;

impl Client {
    /// Whether the server that calls start at (with one server: that one) is ready, in its own words. Asks once.
    ///
    /// # Errors
    /// [`ClientError::Unavailable`] if it does not answer, [`ClientError::Unreadable`] if it is no server of the API.
    pub async fn readiness(&self) -> Result<Readiness, ClientError> {
        let request = Request::new(Method::Get, Target::new(&["readyz"])?);
        let (server, exchanged) = self.single_exchange(&request).await;
        let exchanged =
            exchanged.map_err(|trouble| ClientError::Unavailable { tries: 1, last: trouble.failure })?;
        serde_json::from_slice(&exchanged.body).map_err(|error| {
            let (status, problem) = (exchanged.status, error.to_string());
            ClientError::Unreadable(Failure::Foreign { server, status, problem })
        })
    }
}
