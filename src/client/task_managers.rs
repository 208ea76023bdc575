//! Calls about TaskManagers: those of the TaskManager itself, and those of operators.

use std::time::Duration;

use super::call::Client;
use super::error::ClientError;
use super::request::{Method, Request, Target};
use crate::api::Page;
use crate::api::task_managers::{
    AssignedAllocations, Confirm, Confirmed, Drain, Heartbeat, HeartbeatAnswer, RegisterTaskManager,
    TaskManager, TaskManagerChanged, TaskManagerRegistered, TaskManagerState,
};
use crate::api::units::DurationText;

/// Which TaskManagers to list, and which page of them.
#[derive(Debug, Clone, Default)]
pub struct TaskManagerFilter {
    /// Only those in this state.
    pub state: Option<TaskManagerState>,
    /// Only those with this label: `key` or `key=value`.
    pub label: Option<String>,
    /// Items of a page, 1 to 1000; the server's default if missing.
    pub limit: Option<u32>,
    /// Where the page begins.
    pub cursor: Option<String>,
}

impl Client {
    /// Registers a TaskManager, or registers it again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn register_task_manager(
        &self,
        registration: &RegisterTaskManager,
    ) -> Result<TaskManagerRegistered, ClientError> {
        let target = Target::new(&["v1", "task-managers"])?;
        self.call(Request::new(Method::Post, target).with_body(registration)?).await
    }

    /// Tells that a TaskManager is alive. Heartbeats have no key: two do no more than one.
    ///
    /// # Errors
    /// See [`ClientError`]; `unknown_task_manager` and `stale_epoch` ask for a new registration.
    pub async fn heartbeat(&self, id: &str, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, ClientError> {
        let target = Target::new(&["v1", "task-managers", id, "heartbeat"])?;
        self.call(Request::new(Method::Post, target).with_body(heartbeat)?.unkeyed()).await
    }

    /// What a TaskManager should hold, as soon as its generation is not `generation` or after `wait`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn assigned_allocations(
        &self,
        id: &str,
        generation: u64,
        wait: Duration,
    ) -> Result<AssignedAllocations, ClientError> {
        let target = Target::new(&["v1", "task-managers", id, "allocations"])?
            .query("generation", &generation.to_string())
            .query("wait", &DurationText::from(wait).to_string());
        self.call(Request::new(Method::Get, target).waiting(wait)).await
    }

    /// Tells what a TaskManager has started and what it could not start.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn confirm(&self, id: &str, confirm: &Confirm) -> Result<Confirmed, ClientError> {
        let target = Target::new(&["v1", "task-managers", id, "confirm"])?;
        self.call(Request::new(Method::Post, target).with_body(confirm)?).await
    }

    /// One page of the TaskManagers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn task_managers(&self, filter: &TaskManagerFilter) -> Result<Page<TaskManager>, ClientError> {
        let limit = filter.limit.map(|limit| limit.to_string());
        let target = Target::new(&["v1", "task-managers"])?
            .query_if("state", filter.state.map(TaskManagerState::as_str))
            .query_if("label", filter.label.as_deref())
            .query_if("limit", limit.as_deref())
            .query_if("cursor", filter.cursor.as_deref());
        self.call(Request::new(Method::Get, target)).await
    }

    /// All TaskManagers that `filter` lets through, page after page.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn all_task_managers(
        &self,
        mut filter: TaskManagerFilter,
    ) -> Result<Vec<TaskManager>, ClientError> {
        let mut all = Vec::new();
        loop {
            let page = self.task_managers(&filter).await?;
            all.extend(page.items);
            match page.next_cursor {
                Some(cursor) => filter.cursor = Some(cursor),
                None => return Ok(all),
            }
        }
    }

    /// One TaskManager.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn task_manager(&self, id: &str) -> Result<TaskManager, ClientError> {
        let target = Target::new(&["v1", "task-managers", id])?;
        self.call(Request::new(Method::Get, target)).await
    }

    /// Gives a TaskManager no new slots.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cordon_task_manager(&self, id: &str) -> Result<TaskManagerChanged, ClientError> {
        let target = Target::new(&["v1", "task-managers", id, "cordon"])?;
        self.call(Request::new(Method::Post, target)).await
    }

    /// Gives a TaskManager new slots again; also ends a drain.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn uncordon_task_manager(&self, id: &str) -> Result<TaskManagerChanged, ClientError> {
        let target = Target::new(&["v1", "task-managers", id, "uncordon"])?;
        self.call(Request::new(Method::Post, target)).await
    }

    /// Gives a TaskManager no new slots and waits for the old ones to end.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn drain_task_manager(
        &self,
        id: &str,
        drain: &Drain,
    ) -> Result<TaskManagerChanged, ClientError> {
        let target = Target::new(&["v1", "task-managers", id, "drain"])?;
        self.call(Request::new(Method::Post, target).with_body(drain)?).await
    }

    /// Deregisters a TaskManager in this registration; its allocations are released.
    ///
    /// # Errors
    /// See [`ClientError`]; `stale_epoch` says that another registration has taken its place, which stays.
    pub async fn leave_task_manager(&self, id: &str, epoch: u64) -> Result<TaskManagerChanged, ClientError> {
        let target = Target::new(&["v1", "task-managers", id])?.query("epoch", &epoch.to_string());
        self.call(Request::new(Method::Delete, target)).await
    }

    /// Deregisters a TaskManager, whatever its registration; its allocations are released.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_task_manager(&self, id: &str) -> Result<TaskManagerChanged, ClientError> {
        let target = Target::new(&["v1", "task-managers", id])?;
        self.call(Request::new(Method::Delete, target)).await
    }
}
