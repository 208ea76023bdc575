//! What the leader finds that a node must not live with.
//!
//! What it promises: each is final for the process; the server ends with the status that belongs to it. What it must
//! not do: name anything that a retry or a new leader cures.

use crate::domain::{ChainHash, Revision};

/// Why this node must stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaderFault {
    /// The log gave another result than the leader's own copy of the state: this replica can not be trusted.
    #[error(
        "the state of this node has diverged: a round gave revision {applied} with chain {found}, decided was \
         revision {decided} with chain {expected}"
    )]
    Divergence {
        /// The revision that the leader decided.
        decided: Revision,
        /// The revision that was applied.
        applied: Revision,
        /// The chain that the leader decided.
        expected: ChainText,
        /// The chain that was applied.
        found: ChainText,
    },
    /// The log holds records of another cluster.
    #[error("the log belongs to another cluster")]
    WrongCluster,
}

/// A chain hash as people read it: the first eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainText(pub ChainHash);

impl std::fmt::Display for ChainText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
