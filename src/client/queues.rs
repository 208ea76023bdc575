//! Calls about queues.

use super::call::Client;
use super::error::ClientError;
use super::request::{Method, Request, Target};
use crate::api::Page;
use crate::api::queues::{PutQueue, Queue, QueueDeleted};

impl Client {
    /// One page of the queues; `cursor` is where it begins.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn queues(&self, cursor: Option<&str>) -> Result<Page<Queue>, ClientError> {
        let target = Target::new(&["v1", "queues"])?.query_if("cursor", cursor);
        self.call(Request::new(Method::Get, target)).await
    }

    /// All queues, page after page.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn all_queues(&self) -> Result<Vec<Queue>, ClientError> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.queues(cursor.as_deref()).await?;
            all.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// One queue.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn queue(&self, name: &str) -> Result<Queue, ClientError> {
        self.call(Request::new(Method::Get, Target::new(&["v1", "queues", name])?)).await
    }

    /// Puts a queue: creates it, or replaces its configuration as a whole.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn put_queue(&self, name: &str, queue: &PutQueue) -> Result<Queue, ClientError> {
        let target = Target::new(&["v1", "queues", name])?;
        self.call(Request::new(Method::Put, target).with_body(queue)?).await
    }

    /// Deletes a queue that has no jobs.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_queue(&self, name: &str) -> Result<QueueDeleted, ClientError> {
        self.call(Request::new(Method::Delete, Target::new(&["v1", "queues", name])?)).await
    }
}
