//! What callers hand to the leader, and what they can be told instead of an outcome.
//!
//! What it promises: an error says whether anything can have happened. After every [`SubmitError`] but
//! `OutcomeUnknown` nothing was decided, and the same submission may be sent again, to any node. What it must not do: carry
//! wishes into the log; an intent becomes a command only by planning.

use super::log::LeaderAddress;
use crate::domain::{
    AllocationMode, Command, JobId, JobMasterId, PlacementRules, PutRequirements, RequestKey, ResourceProfile,
};

/// Something that a caller wants to be done, once.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The key under which the answer is remembered, if the client gave one.
    pub key: Option<RequestKey>,
    /// What is wanted.
    pub intent: Intent,
}

impl Submission {
    /// A submission without a key: sent twice, it is done twice.
    pub fn unkeyed(intent: Intent) -> Self {
        Self { key: None, intent }
    }
}

/// What is wanted.
#[derive(Debug, Clone)]
pub enum Intent {
    /// A command that needs no planning.
    Command(Command),
    /// Slots for a job: planned, and waiting for capacity if it says so.
    Allocate(AllocationRequest),
    /// A declaration. What it lacks is planned in the same round and whenever capacity grows.
    PutRequirements(PutRequirements),
}

impl Intent {
    /// Whether it is a job's wish for slots, or for a place among those that have some.
    pub fn asks_for_more(&self) -> bool {
        matches!(self, Self::Allocate(_) | Self::PutRequirements(_) | Self::Command(Command::PutJob { .. }))
    }

    /// Whether it only ends things, so that it is served also where the disk is full.
    pub(super) fn is_release(&self) -> bool {
        matches!(self, Self::Command(command) if command.is_release())
    }
}

/// A request for slots, not decided yet.
#[derive(Debug, Clone, PartialEq)]
pub struct AllocationRequest {
    /// For which job.
    pub job: JobId,
    /// The job leader that asks, if it said so.
    pub job_master_id: Option<JobMasterId>,
    /// How many slots, at least one.
    pub slots: u32,
    /// What each must have; `None` is the default slot of the TaskManager.
    pub profile: Option<ResourceProfile>,
    /// Whether less will do.
    pub mode: AllocationMode,
    /// Where.
    pub rules: PlacementRules,
    /// How long it may wait for all of its slots before it is decided with what there is; at most
    /// [`WAIT_MAX_MS`].
    pub wait_ms: u64,
}

/// The longest wait of an allocation request; a longer one is cut to it.
pub const WAIT_MAX_MS: u64 = 60_000;

/// Why there is no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Another node leads.
    #[error("this node does not lead; node {} at {} does", leader.node_id, leader.api_addr)]
    NotLeader {
        /// Who leads.
        leader: LeaderAddress,
    },
    /// No node is known to lead, or this one leads and has lost its quorum.
    #[error("no leader serves at the moment")]
    NoLeader {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// A queue is full, or the request waited in it for as long as it may. Nothing was decided.
    #[error("the leader has more requests than it can serve")]
    Overloaded {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// The disk of this node, which leads, is full. Nothing was decided; another node is about to lead.
    #[error("the disk of the leader is full; it only takes releases and deletions")]
    DiskFull {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// Leadership ended while the request waited. Nothing was decided.
    #[error("the leader changed before this was decided")]
    LeadershipLost,
    /// It was proposed and may have happened or may still happen. Ask again with the same key.
    #[error("it is not known whether this was done")]
    OutcomeUnknown,
    /// This node is stopping. Nothing was decided.
    #[error("this node is stopping")]
    Stopped,
}
