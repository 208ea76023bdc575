//! What the tasks of an agent tell its loop, and what the loop tells them.

use std::time::Instant;

use uuid::Uuid;

use super::slots::{Registration, Report};
use crate::api::Problem;
use crate::api::task_managers::{AssignedAllocations, HeartbeatAnswer, TaskManagerRegistered};

/// Something that happened.
#[derive(Debug)]
pub(super) enum Message {
    /// A registration that was sent at `sent_at` was answered.
    Registered { sent_at: Instant, answer: TaskManagerRegistered },
    /// The cluster will never take this registration.
    RegistrationRefused(Box<Problem>),
    /// A heartbeat that was sent at `sent_at` for this registration was answered.
    HeartbeatAnswered { registration: Registration, sent_at: Instant, answer: HeartbeatAnswer },
    /// A long poll was answered.
    Assigned(AssignedAllocations),
    /// The cluster does not know registration `epoch` any more.
    Disowned { epoch: u64 },
    /// The cluster has taken a report.
    Reported { epoch: u64, report: Report },
    /// A start came to an end.
    StartFinished { id: Uuid, result: Result<(), String> },
    /// A stop came to an end.
    StopFinished { id: Uuid, result: Result<(), String> },
    /// The agent is to end.
    Leave,
    /// The cluster knows that the agent has left, or could not be told.
    Deregistered,
}

/// Where the agent stands, for the tasks that talk to the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The registration, with the generation that was taken last.
    pub(super) registration: Option<Registration>,
    /// What the cluster has yet to be told.
    pub(super) report: Report,
    /// What occupies a slot.
    pub(super) held: Vec<Uuid>,
}
