//! Calls about allocations: asking for slots, giving them back, looking at them.

use std::time::Duration;

use super::call::Client;
use super::error::ClientError;
use super::request::{Method, Request, Target};
use crate::api::Page;
use crate::api::allocations::{
    Allocation, AllocationDetails, AllocationRequest, AllocationState, AllocationsGranted, Release, Released,
};

/// Which allocations to list, and which page of them.
#[derive(Debug, Clone, Default)]
pub struct AllocationFilter {
    /// Only those on this TaskManager.
    pub task_manager: Option<String>,
    /// Only those of jobs in this queue.
    pub queue: Option<String>,
    /// Only those in this state.
    pub state: Option<AllocationState>,
    /// Items of a page, 1 to 1000; the server's default if missing.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

impl AllocationFilter {
    fn onto(&self, target: Target) -> Target {
        let limit = self.limit.map(|limit| limit.to_string());
        let state = self.state.map(|state| match state {
            AllocationState::Pending => "pending",
            AllocationState::Active => "active",
        });
        target
            .query_if("task_manager", self.task_manager.as_deref())
            .query_if("queue", self.queue.as_deref())
            .query_if("state", state)
            .query_if("limit", limit.as_deref())
            .query_if("cursor", self.cursor.as_deref())
    }
}

impl Client {
    /// Asks for slots. Waits as long as the request says, on top of the deadline of the call.
    ///
    /// # Errors
    /// See [`ClientError`]; `insufficient_resources` with reasons if there are not enough slots in time.
    pub async fn allocate(
        &self,
        job_id: &str,
        request: &AllocationRequest,
    ) -> Result<AllocationsGranted, ClientError> {
        let target = Target::new(&["v1", "jobs", job_id, "allocations"])?;
        let wait = Duration::from_millis(request.wait.ms);
        self.call(Request::new(Method::Post, target).with_body(request)?.waiting(wait)).await
    }

    /// Gives one slot back. Again is no error.
    ///
    /// # Errors
    /// See [`ClientError`]; `unknown_allocation` if it never existed.
    pub async fn release_one(&self, job_id: &str, allocation_id: &str) -> Result<Released, ClientError> {
        let target = Target::new(&["v1", "jobs", job_id, "allocations", allocation_id])?;
        self.call(Request::new(Method::Delete, target)).await
    }

    /// Gives slots back; what the job never held is named in the answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn release(&self, job_id: &str, release: &Release) -> Result<Released, ClientError> {
        let target = Target::new(&["v1", "jobs", job_id, "release"])?;
        self.call(Request::new(Method::Post, target).with_body(release)?).await
    }

    /// One page of all allocations.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn allocations(&self, filter: &AllocationFilter) -> Result<Page<Allocation>, ClientError> {
        let target = filter.onto(Target::new(&["v1", "allocations"])?);
        self.call(Request::new(Method::Get, target)).await
    }

    /// One page of the allocations of a job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn allocations_of_job(
        &self,
        job_id: &str,
        filter: &AllocationFilter,
    ) -> Result<Page<Allocation>, ClientError> {
        let target = filter.onto(Target::new(&["v1", "jobs", job_id, "allocations"])?);
        self.call(Request::new(Method::Get, target)).await
    }

    /// All allocations of a job, page after page.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn all_allocations_of_job(&self, job_id: &str) -> Result<Vec<Allocation>, ClientError> {
        let (mut all, mut filter) = (Vec::new(), AllocationFilter::default());
        loop {
            let page = self.allocations_of_job(job_id, &filter).await?;
            all.extend(page.items);
            match page.next_cursor {
                Some(cursor) => filter.cursor = Some(cursor),
                None => return Ok(all),
            }
        }
    }

    /// One allocation, alive or ended.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn allocation(&self, allocation_id: &str) -> Result<AllocationDetails, ClientError> {
        let target = Target::new(&["v1", "allocations", allocation_id])?;
        self.call(Request::new(Method::Get, target)).await
    }
}
