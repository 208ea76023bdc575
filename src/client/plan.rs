//! Asking what would be decided.

use super::call::Client;
use super::error::ClientError;
use super::request::{Method, Request, Target};
use crate::api::plan::{Plan, PlanRequest};

impl Client {
    /// What the leader would decide now about a request, without doing it. Has no key: nothing is remembered.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, ClientError> {
        let target = Target::new(&["v1", "plan"])?;
        self.call(Request::new(Method::Post, target).with_body(request)?.unkeyed()).await
    }
}
