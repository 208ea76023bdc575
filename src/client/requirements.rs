//! Calls about what a job declares to want.

use super::call::Client;
use super::error::ClientError;
use super::request::{Method, Request, Target};
use crate::api::requirements::{PutRequirements, Requirements};

impl Client {
    /// Declares all that a job wants; replaces the last declaration.
    ///
    /// # Errors
    /// See [`ClientError`]; `stale_version` if a higher version stands.
    pub async fn put_requirements(
        &self,
        job_id: &str,
        requirements: &PutRequirements,
    ) -> Result<Requirements, ClientError> {
        let target = Target::new(&["v1", "jobs", job_id, "requirements"])?;
        self.call(Request::new(Method::Put, target).with_body(requirements)?).await
    }

    /// What a job wants and what it has of it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn requirements(&self, job_id: &str) -> Result<Requirements, ClientError> {
        let target = Target::new(&["v1", "jobs", job_id, "requirements"])?;
        self.call(Request::new(Method::Get, target)).await
    }
}
