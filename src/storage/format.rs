//! The list of every kind of bytes that this room puts on disk, with its version.
//!
//! A release reads the versions listed for it and writes the newest. To change a stored shape: raise the version
//! here, keep a reader for the one before, add the date and the reason to the table, and add golden bytes to the
//! owner's tests. Nothing else may declare a stored format of this room.
//!
//! | Kind | Version | Since | Reason |
//! |---|---|---|---|
//! | identity, incarnation, tip, record, chunk, vote, purge mark, truncation mark, snapshot | 1 | 2026-11 | first release |

use crate::codec::Format;

/// Who this directory belongs to.
pub(super) const IDENTITY: Format = Format { magic: *b"SKid", version: 1 };
/// The one life of this directory, minted before it has an identity.
pub(super) const INCARNATION: Format = Format { magic: *b"SKin", version: 1 };
/// One slot of the tip record.
pub(super) const TIP: Format = Format { magic: *b"SKtp", version: 1 };
/// A run of log entries under one key.
pub(super) const RECORD: Format = Format { magic: *b"SKlr", version: 1 };
/// A piece of an entry that is too large for one record.
pub(super) const CHUNK: Format = Format { magic: *b"SKlc", version: 1 };
/// The caller's vote.
pub(super) const VOTE: Format = Format { magic: *b"SKvo", version: 1 };
/// Up to where the log is purged.
pub(super) const PURGE_MARK: Format = Format { magic: *b"SKpu", version: 1 };
/// What the last truncation kept.
pub(super) const TRUNCATION_MARK: Format = Format { magic: *b"SKtr", version: 1 };
/// The head of a snapshot file.
pub(super) const SNAPSHOT: Format = Format { magic: *b"SKsn", version: 1 };

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_kinds_share_a_magic() {
        let all = [IDENTITY, INCARNATION, TIP, RECORD, CHUNK, VOTE, PURGE_MARK, TRUNCATION_MARK, SNAPSHOT];
        let distinct: BTreeSet<_> = all.iter().map(|format| format.magic).collect();
        assert_eq!(distinct.len(), all.len());
    }
}
