//! How many requests of each kind this node has received: evidence that what must be sent is sent.

use std::sync::atomic::{AtomicU64, Ordering};

use super::messages::Request;

/// Counters since the node started.
#[derive(Debug, Default)]
pub(super) struct Received {
    appends: AtomicU64,
    votes: AtomicU64,
    pre_votes: AtomicU64,
    transfers: AtomicU64,
    snapshots: AtomicU64,
}

/// Requests received from peers since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceivedCounts {
    /// Requests with entries or heartbeats.
    pub appends: u64,
    /// Votes asked for.
    pub votes: u64,
    /// Pre-votes asked for.
    pub pre_votes: u64,
    /// Times this node was asked to take over.
    pub transfers: u64,
    /// Snapshots that began.
    pub snapshots: u64,
}

impl Received {
    pub(super) fn count(&self, request: &Request) {
        let counter = match request {
            Request::Append(_) | Request::Heartbeat(_) => &self.appends,
            Request::Vote(_) => &self.votes,
            Request::PreVote(_) => &self.pre_votes,
            Request::TransferLeader(_) => &self.transfers,
            Request::SnapshotBegin(_) => &self.snapshots,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one more request of a stream, which does not pass through [`Self::count`].
    pub(super) fn count_append(&self) {
        self.appends.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> ReceivedCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReceivedCounts {
            appends: read(&self.appends),
            votes: read(&self.votes),
            pre_votes: read(&self.pre_votes),
            transfers: read(&self.transfers),
            snapshots: read(&self.snapshots),
        }
    }
}
