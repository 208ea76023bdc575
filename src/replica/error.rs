//! What can go wrong in hosting the state. Every one of these is a local failure: the node has to stop.

use thiserror::Error;

use crate::codec::CodecError;
use crate::domain::{Revision, StateHash};

/// Why this replica can not go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplicaError {
    /// An entry of the log is not a record that this release understands.
    #[error(
        "an entry of the log can not be read: {0}; start the release that wrote it, or replace this node"
    )]
    Record(CodecError),
    /// The body of a snapshot can not be read or written.
    #[error("the state of a snapshot can not be read or written: {0}")]
    State(CodecError),
    /// The body of a snapshot is whole but decodes to another state.
    #[error("a snapshot holds the state {written} but decodes to {found}; it was written by another release")]
    StateHash {
        /// The hash that was written with it.
        written: StateHash,
        /// The hash of what was decoded.
        found: StateHash,
    },
    /// The snapshot would take the state back.
    #[error("the snapshot is of revision {snapshot}, the state is already at {current}")]
    OlderSnapshot {
        /// The snapshot's revision.
        snapshot: Revision,
        /// The state's revision.
        current: Revision,
    },
}
