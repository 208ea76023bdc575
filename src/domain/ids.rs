//! Names, ids and counters of the state.
//!
//! What it promises: numbers that must not be mixed are different types; a name that exists is valid; counters only
//! grow and refuse to wrap. What it must not do: mint anything from a clock or from randomness. Ids that the state
//! mints are counters dressed as UUIDs (`AllocationId`), so that every replica mints the same.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::limits;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a name must not be empty")]
    Empty,
    /// The text has more bytes than a name may have.
    #[error("a name has at most {max} characters, this one has {length}", max = limits::NAME_BYTES_MAX)]
    TooLong {
        /// Bytes of the refused text.
        length: usize,
    },
    /// The text holds a character that names do not have.
    #[error("a name has only letters, digits, `.`, `_` and `-`; this one has `{character}`")]
    Character {
        /// The first character that is not allowed.
        character: char,
    },
    /// The text is `.` or `..`, which clients and proxies cut out of a path.
    #[error("a name is not `.` or `..`: no path can carry it")]
    Dots,
}

/// A valid name: 1 to 128 of `A-Z a-z 0-9 . _ -`, and not `.` or `..`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks `text` and makes a name of it.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if matches!(text, "." | "..") {
            return Err(NameError::Dots);
        }
        Self::stored(text)
    }

    /// As [`Self::new`], and `.` and `..` as well, which logs and snapshots of earlier builds may hold.
    fn stored(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > limits::NAME_BYTES_MAX {
            return Err(NameError::TooLong { length: text.len() });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match text.chars().find(|c| !allowed(*c)) {
            Some(character) => Err(NameError::Character { character }),
            None => Ok(Self(Arc::from(text))),
        }
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let is_stored = !deserializer.is_human_readable();
        let text = String::deserialize(deserializer)?;
        if is_stored { Self::stored(&text) } else { Self::new(&text) }.map_err(serde::de::Error::custom)
    }
}

/// Declares a name type that can not be mistaken for another one.
macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(Name);

        impl $type {
            /// Checks `text` and makes a name of it.
            pub fn new(text: &str) -> Result<Self, NameError> {
                Name::new(text).map(Self)
            }

            /// The text of the name.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    };
}

name_type! {
    /// A TaskManager: one worker over its life (Flink's ResourceID).
    TaskManagerId
}
name_type! {
    /// One process of a TaskManager; chosen anew at each start of the process.
    TaskManagerSession
}
name_type! {
    /// A job, chosen by the job side.
    JobId
}
name_type! {
    /// One leader session of a job (Flink's JobMasterId); fences an older leader of the same job.
    JobMasterId
}
name_type! {
    /// A queue: who pays.
    QueueName
}
name_type! {
    /// One line of what a job wants, named by the job.
    RequirementName
}
name_type! {
    /// A placement strategy, as the scheduler registers it.
    StrategyName
}

/// Declares a counter that only grows.
macro_rules! counter_type {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $type(pub u64);

        impl $type {
            /// The next value.
            ///
            /// # Panics
            /// After 2^64 steps, which no cluster reaches.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("a 64-bit counter is never exhausted"))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter_type! {
    /// Version of the whole state: how many records have been applied to it.
    Revision
}
counter_type! {
    /// One registration of a TaskManager, or one declaration of a job; refuses late messages of an older one.
    Epoch
}
counter_type! {
    /// Version of the allocations that one TaskManager should hold: the revision of their last change.
    Generation
}
counter_type! {
    /// Number of a grant. Whoever uses a slot shows it, and a TaskManager refuses lower ones. The upper 16 bits hold
    /// the restore epoch of the cluster, so that a restored cluster never repeats a token.
    FencingToken
}
counter_type! {
    /// One uninterrupted stretch of being the leader that proposes rounds.
    SessionNumber
}
counter_type! {
    /// Version of a job's declared requirements, chosen by the job.
    RequirementVersion
}

/// The only clock of the state: milliseconds since the Unix epoch as leaders stamped them, never falling.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogicalTime(pub u64);

impl LogicalTime {
    /// This time plus `milliseconds`, or the end of time.
    #[must_use]
    pub fn after(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// A time that is reached no earlier than `milliseconds` of real time after this one: logical time runs at 5/4 of real
    /// time at most (`leader/state_clock.rs`).
    #[must_use]
    pub fn after_at_least(self, milliseconds: u64) -> Self {
        self.after(milliseconds).after(milliseconds.div_ceil(4))
    }
}

/// The identity of a cluster, minted once when it is formed; a restored cluster gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub Uuid);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One grant of one slot to one job (Flink's AllocationID): the cluster's half, then a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AllocationId(pub Uuid);

impl AllocationId {
    /// The id number `counter` of `cluster`.
    #[must_use]
    pub fn minted(cluster: ClusterId, counter: u64) -> Self {
        let (high, _) = cluster.0.as_u64_pair();
        Self(Uuid::from_u64_pair(high, counter))
    }

    /// The counter that this id was minted from, if `cluster` minted it.
    #[must_use]
    pub fn counter_in(self, cluster: ClusterId) -> Option<u64> {
        let (high, counter) = self.0.as_u64_pair();
        (high == cluster.0.as_u64_pair().0).then_some(counter)
    }
}

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A client's key for one write: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Checks `text`; `None` if it is empty, too long or has a character that is not visible ASCII.
    pub fn new(text: &str) -> Option<Self> {
        let valid = (1..=limits::IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        valid.then(|| Self(Arc::from(text)))
    }

    /// The text of the key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_refuses_what_a_path_or_a_log_line_would_suffer_from() {
        assert_eq!(Name::new(""), Err(NameError::Empty));
        assert_eq!(Name::new("a/b"), Err(NameError::Character { character: '/' }));
        assert_eq!(Name::new("a b"), Err(NameError::Character { character: ' ' }));
        assert_eq!(Name::new(&"x".repeat(129)), Err(NameError::TooLong { length: 129 }));
        assert!(Name::new(&"x".repeat(128)).is_ok());
        assert_eq!((Name::new("."), Name::new("..")), (Err(NameError::Dots), Err(NameError::Dots)));
        assert!(Name::new("...").is_ok() && Name::new("v1.2").is_ok());
        assert!(serde_json::from_str::<Name>("\"..\"").is_err(), "nobody gives such a name any more");
    }

    #[test]
    fn an_allocation_id_tells_which_cluster_minted_it() {
        let (ours, theirs) = (ClusterId(Uuid::from_u128(7 << 64)), ClusterId(Uuid::from_u128(8 << 64)));
        let id = AllocationId::minted(ours, 42);
        assert_eq!(id.counter_in(ours), Some(42));
        assert_eq!(id.counter_in(theirs), None);
    }
}
