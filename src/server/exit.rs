//! The exit statuses of a server, and why it ended.
//!
//! What it promises: one status per kind of ending, never reused; a supervisor can tell what a restart can cure from
//! what needs a person. What it must not do: end the process; only `main` does.
//!
//! | Status | Ending | Restart? |
//! |---|---|---|
//! | 0 | asked to stop, and stopped in order | – |
//! | 2 | the command line or the configuration can not be used | no: change it |
//! | 3 | something outside is missing: a port is taken, the cluster to join does not answer | yes, later |
//! | 70 | a broken invariant: a panic or a dead task | yes; report it |
//! | 74 | the disk refused or lost something | after a look at the disk |
//! | 75 | the data directory can not be trusted or is not this server's | no: see `docs/operations.md` |
//! | 76 | this replica's state differs from the cluster's | no: remove the member, join anew |
//! | 77 | the data was written by a release that this one can not read | no: use that release |

use super::config::ConfigError;
use crate::consensus::{StartError, StopReason};
use crate::leader::LeaderFault;
use crate::storage::StorageError;

/// The process ended as it was asked to.
pub const CLEAN: u8 = 0;
/// See [`ServerError::Config`].
pub const USAGE: u8 = 2;
/// See [`ServerError::Unavailable`].
pub const UNAVAILABLE: u8 = 3;
/// See [`ServerError::Broken`].
pub const BROKEN: u8 = 70;
/// See [`ServerError::Storage`].
pub const STORAGE: u8 = 74;
/// See [`ServerError::Quarantine`].
pub const QUARANTINE: u8 = 75;
/// See [`ServerError::Divergence`].
pub const DIVERGENCE: u8 = 76;
/// See [`ServerError::Release`].
pub const RELEASE: u8 = 77;

/// Why a server did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration can not be used.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// Something outside of this server is missing.
    #[error("{0}")]
    Unavailable(String),
    /// A broken invariant.
    #[error("{0}")]
    Broken(String),
    /// The disk refused or lost something.
    #[error("{0}")]
    Storage(String),
    /// The data directory can not be trusted or is not this server's.
    #[error("{0}")]
    Quarantine(String),
    /// This replica's state differs from the cluster's.
    #[error("{0}")]
    Divergence(String),
    /// The data was written by a release that this one can not read.
    #[error("{0}")]
    Release(String),
}

impl ServerError {
    /// The status to exit with.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Config(_) => USAGE,
            Self::Unavailable(_) => UNAVAILABLE,
            Self::Broken(_) => BROKEN,
            Self::Storage(_) => STORAGE,
            Self::Quarantine(_) => QUARANTINE,
            Self::Divergence(_) => DIVERGENCE,
            Self::Release(_) => RELEASE,
        }
    }
}

impl From<StorageError> for ServerError {
    fn from(error: StorageError) -> Self {
        match &error {
            StorageError::Quarantine(_) => Self::Quarantine(error.to_string()),
            StorageError::OtherRelease { .. } => Self::Release(error.to_string()),
            StorageError::Locked { .. } => Self::Unavailable(error.to_string()),
            StorageError::Io { .. }
            | StorageError::Engine { .. }
            | StorageError::SyncTooSlow { .. }
            | StorageError::NoSpace { .. }
            | StorageError::Refused { .. }
            | StorageError::Closed => Self::Storage(error.to_string()),
        }
    }
}

impl From<LeaderFault> for ServerError {
    fn from(fault: LeaderFault) -> Self {
        match &fault {
            LeaderFault::Divergence { .. } => Self::Divergence(fault.to_string()),
            LeaderFault::WrongCluster => Self::Quarantine(fault.to_string()),
        }
    }
}

impl From<StartError> for ServerError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Storage(error) => error.into(),
            StartError::Timing(_) | StartError::InitialCluster(_) | StartError::NothingToStart => {
                Self::Config(ConfigError::Option { option: "--initial-cluster", problem: error.to_string() })
            }
            StartError::OtherAddress { .. } => {
                Self::Config(ConfigError::Option { option: "--peer-addr", problem: error.to_string() })
            }
            StartError::ClusterExists { .. }
            | StartError::PeerRefuses { .. }
            | StartError::Outdated { .. } => Self::Quarantine(error.to_string()),
            StartError::Engine(_) => Self::Broken(error.to_string()),
        }
    }
}

impl From<StopReason> for ServerError {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::Storage(error) => error.into(),
            StopReason::Removed | StopReason::Outdated { .. } => Self::Quarantine(reason.to_string()),
            StopReason::Shutdown | StopReason::Engine(_) => Self::Broken(reason.to_string()),
            StopReason::PeerPort(_) => Self::Unavailable(reason.to_string()),
        }
    }
}
