//! Calls about jobs.

use super::call::Client;
use super::error::ClientError;
use super::request::{Method, Request, Target};
use crate::api::Page;
use crate::api::jobs::{Job, JobDeleted, JobHeartbeat, JobHeartbeatAnswer, JobState, PutJob};

/// Which jobs to list, and which page of them.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only those in this queue.
    pub queue: Option<String>,
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Items of a page, 1 to 1000; the server's default if missing.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

impl Client {
    /// Puts a job: creates it, or changes it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn put_job(&self, job_id: &str, job: &PutJob) -> Result<Job, ClientError> {
        let target = Target::new(&["v1", "jobs", job_id])?;
        self.call(Request::new(Method::Put, target).with_body(job)?).await
    }

    /// Tells that the leader of a job is alive. Heartbeats have no key: two do no more than one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn job_heartbeat(
        &self,
        job_id: &str,
        heartbeat: &JobHeartbeat,
    ) -> Result<JobHeartbeatAnswer, ClientError> {
        let target = Target::new(&["v1", "jobs", job_id, "heartbeat"])?;
        self.call(Request::new(Method::Post, target).with_body(heartbeat)?.unkeyed()).await
    }

    /// One page of the jobs.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Page<Job>, ClientError> {
        let limit = filter.limit.map(|limit| limit.to_string());
        let state = filter.state.map(|state| match state {
            JobState::Running => "running",
            JobState::Finished => "finished",
        });
        let target = Target::new(&["v1", "jobs"])?
            .query_if("queue", filter.queue.as_deref())
            .query_if("state", state)
            .query_if("limit", limit.as_deref())
            .query_if("cursor", filter.cursor.as_deref());
        self.call(Request::new(Method::Get, target)).await
    }

    /// All jobs that `filter` lets through, page after page.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn all_jobs(&self, mut filter: JobFilter) -> Result<Vec<Job>, ClientError> {
        let mut all = Vec::new();
        loop {
            let page = self.jobs(&filter).await?;
            all.extend(page.items);
            match page.next_cursor {
                Some(cursor) => filter.cursor = Some(cursor),
                None => return Ok(all),
            }
        }
    }

    /// One job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn job(&self, job_id: &str) -> Result<Job, ClientError> {
        let target = Target::new(&["v1", "jobs", job_id])?;
        self.call(Request::new(Method::Get, target)).await
    }

    /// Ends a job; everything it held is released.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_job(&self, job_id: &str) -> Result<JobDeleted, ClientError> {
        let target = Target::new(&["v1", "jobs", job_id])?;
        self.call(Request::new(Method::Delete, target)).await
    }
}
