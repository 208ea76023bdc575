//! What a TaskManager does when work starts and stops: the seam between the agent and the real work.
//!
//! Promises: a hook is called once for each start and each stop that the decision core asks for, never twice at a time
//! for one slot; a stop is called only after the start of the same work has ended or was broken off by dropping its
//! future. Must not: decide anything.

use async_trait::async_trait;

use super::work::{StopReason, Work};

/// Why a hook did not do its part; the text goes to the cluster (cut after 256 bytes) and to the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HookFailure(pub String);

/// Starts and stops the work of slots.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Starts `work`; the slot counts as running when this returns well. Dropping the future breaks the start off.
    ///
    /// # Errors
    /// If the work could not be started; the allocation is reported as failed and `stop` is called to clear away.
    async fn start(&self, work: &Work) -> Result<(), HookFailure>;

    /// Stops `work`; its slot is clean when this returns well. Called again, after a pause, when it fails.
    ///
    /// # Errors
    /// If the work may still run; the slot takes nothing new then.
    async fn stop(&self, work: &Work, reason: StopReason) -> Result<(), HookFailure>;
}

/// A TaskManager whose slots run nothing: everything is confirmed at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

#[async_trait]
impl Hooks for NoHooks {
    async fn start(&self, _work: &Work) -> Result<(), HookFailure> {
        Ok(())
    }

    async fn stop(&self, _work: &Work, _reason: StopReason) -> Result<(), HookFailure> {
        Ok(())
    }
}
