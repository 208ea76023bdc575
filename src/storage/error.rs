//! What can go wrong with bytes on disk, and what a person does about it.
//!
//! Every error of this room is final for the process that meets it: nothing is retried, nothing is repaired by
//! cutting. [`Quarantine`] is the class of errors that say that stored bytes are missing or damaged; the node must
//! then not take part in consensus, because it might have forgotten a promise. Errors are cloneable, because one
//! failed sync answers many callers. Tested in `tests/storage/quarantine.rs` and `tests/storage/faults.rs`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a storage operation was not done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StorageError {
    /// Stored bytes are missing, damaged or not ours.
    #[error(transparent)]
    Quarantine(Box<Quarantine>),
    /// The operating system refused an operation on a file.
    #[error("{operation} failed on {path}: {message}; the node stops, check the disk and restart it")]
    Io {
        /// What was tried, in words.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The kind of refusal.
        kind: io::ErrorKind,
        /// The operating system's words.
        message: String,
    },
    /// The storage engine refused or panicked while the store was in use.
    #[error("the log engine failed: {reason}; the node stops, check the disk and restart it")]
    Engine {
        /// The engine's words.
        reason: String,
    },
    /// One sync took longer than the limit: the disk hangs.
    #[error(
        "a sync of the log has not ended after {limit_ms} ms: the disk hangs; move the node to another disk"
    )]
    SyncTooSlow {
        /// The limit that was passed.
        limit_ms: u64,
    },
    /// Another process uses the directory.
    #[error("{path} is in use by another process; stop it, or give this node a directory of its own")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Less space is free than the floor allows.
    #[error(
        "{free_bytes} bytes are free for {path} but the floor is {floor_bytes}; free space or lower the floor"
    )]
    NoSpace {
        /// The data directory.
        path: PathBuf,
        /// Bytes free for this process.
        free_bytes: u64,
        /// Bytes that must stay free.
        floor_bytes: u64,
    },
    /// The bytes are whole but were written by another release.
    #[error("{path} was written by another release: {reason}")]
    OtherRelease {
        /// The file.
        path: PathBuf,
        /// Which version was found and what to use.
        reason: String,
    },
    /// The caller asked for something that makes no sense; nothing was done and the store stays usable.
    #[error("the request was refused: {reason}")]
    Refused {
        /// What is wrong with the request.
        reason: String,
    },
    /// The store was shut down before the operation.
    #[error("the log is closed")]
    Closed,
}

impl StorageError {
    pub(super) fn io(operation: &'static str, path: &Path, error: &io::Error) -> StorageError {
        StorageError::Io { operation, path: path.to_owned(), kind: error.kind(), message: error.to_string() }
    }

    pub(super) fn refused(reason: impl Into<String>) -> StorageError {
        StorageError::Refused { reason: reason.into() }
    }

    pub(super) fn quarantine(damage: Damage, detail: impl Into<String>) -> StorageError {
        StorageError::Quarantine(Box::new(Quarantine { damage, detail: detail.into() }))
    }

    /// What is damaged, if this is a quarantine.
    pub fn damage(&self) -> Option<&Damage> {
        match self {
            StorageError::Quarantine(quarantine) => Some(&quarantine.damage),
            _ => None,
        }
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> io::Error {
        let kind = match &error {
            StorageError::Io { kind, .. } => *kind,
            StorageError::Quarantine(_) => io::ErrorKind::InvalidData,
            StorageError::Refused { .. } => io::ErrorKind::InvalidInput,
            StorageError::NoSpace { .. } => io::ErrorKind::StorageFull,
            StorageError::SyncTooSlow { .. } => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// The node's bytes can not be trusted: it must not vote, append or lead until a person has acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// What is damaged, with the index where there is one.
    pub damage: Damage,
    /// What was expected and what was found.
    pub detail: String,
}

impl Quarantine {
    /// What to do next, for the person who reads the error.
    pub fn advice(&self) -> &'static str {
        match self.damage {
            Damage::OtherCluster => "start the node with the directory that belongs to this cluster",
            Damage::IdentityMissing | Damage::IdentityDamaged | Damage::IdentityStale => {
                "put the identity file of this very directory back, or replace the node: remove the member, \
                 move this directory away, and join again under a new id"
            }
            Damage::EngineUnopenable => {
                "keep a copy of this directory, then replace the node: remove the member, move this directory away, \
                 and join again under a new id; never delete files inside it"
            }
            _ => {
                "replace the node: remove the member from the cluster, move this directory away, and join again \
                 with an empty directory under a new id; if a majority is affected, use the recovery command"
            }
        }
    }
}

impl fmt::Display for Quarantine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "quarantine: {} ({}); {}", self.damage, self.detail, self.advice())
    }
}

impl std::error::Error for Quarantine {}

/// What a quarantine is about.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    /// The directory holds data but no identity.
    #[error("the directory holds data but its identity file is missing")]
    IdentityMissing,
    /// The identity or incarnation file cannot be read.
    #[error("the identity of the directory is damaged")]
    IdentityDamaged,
    /// The identity file is older than the one that the tip record has seen.
    #[error("the identity of the directory is an old one")]
    IdentityStale,
    /// The directory, its tip or one of its snapshots belongs to another cluster, node or life.
    #[error("the directory belongs to another cluster or node")]
    OtherCluster,
    /// The tip file is gone.
    #[error("the tip record is missing")]
    TipMissing,
    /// Neither slot of the tip file can be read.
    #[error("the tip record is damaged")]
    TipDamaged,
    /// The log has seen a newer tip record than the one in the file.
    #[error("the tip record is older than the log")]
    TipStale,
    /// The file of the log engine is gone or empty although writes were acknowledged.
    #[error("the log is missing")]
    LogMissing,
    /// The log engine could not open or read its file.
    #[error("the log engine cannot read its file")]
    EngineUnopenable,
    /// The engine moved a value into a file of its own, which is never synced.
    #[error("the log engine keeps values in unsynced files")]
    EngineBlobs,
    /// The log is older than the tip record: acknowledged writes are gone.
    #[error("acknowledged writes are missing from the log")]
    LogStale,
    /// The acknowledged vote is gone or was replaced by an older one.
    #[error("the acknowledged vote is missing")]
    VoteLost,
    /// The acknowledged purge mark is gone or was replaced by an older one.
    #[error("the acknowledged purge mark is missing")]
    PurgeMarkLost,
    /// Acknowledged entries are gone from the end of the log.
    #[error("acknowledged log entries {first} to {last} are missing")]
    EntriesLost {
        /// First missing index.
        first: u64,
        /// Last missing index.
        last: u64,
    },
    /// Entries are gone from the middle of the log.
    #[error("log entries {first} to {last} are missing from the middle of the log")]
    EntriesMissing {
        /// First missing index.
        first: u64,
        /// Last missing index.
        last: u64,
    },
    /// An entry does not match its checksum or its place.
    #[error("log entry {index} is damaged")]
    EntryDamaged {
        /// The damaged entry, or the first entry of the record in which the damage is.
        index: u64,
    },
    /// An entry is whole but does not follow from the one before it.
    #[error("log entry {index} does not follow from the entry before it")]
    ChainBroken {
        /// The first entry that does not fit.
        index: u64,
    },
    /// A vote or a mark cannot be read.
    #[error("a vote or mark in the log is damaged")]
    MarkDamaged,
    /// No readable snapshot reaches the place from which the log goes on.
    #[error("no usable snapshot reaches the purged part of the log")]
    SnapshotLost,
}
