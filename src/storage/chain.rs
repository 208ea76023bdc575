//! The chain over log entries: each entry carries the hash of the one before it.
//!
//! The hash of an entry covers the hash before it, its index, its term and its payload, so one hash at the tip
//! vouches for every entry since the last start of the chain. The chain is local: it starts anew where the log was
//! purged beyond its end, so hashes of two nodes must not be compared. Tested below and in `recovery.rs`.

use serde::{Deserialize, Serialize};

/// The hash of one entry and of everything before it; 128 bits of BLAKE3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct ChainHash(pub(super) [u8; 16]);

impl ChainHash {
    /// What comes before the very first entry of a log.
    pub(super) const START: ChainHash = ChainHash([0; 16]);

    /// The hash of an entry that follows the one with this hash.
    pub(super) fn followed_by(self, index: u64, term: u64, payload: &[u8]) -> ChainHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(&index.to_le_bytes()).update(&term.to_le_bytes()).update(payload);
        ChainHash::shortened(&hasher)
    }

    /// What stands for everything up to an entry that this node never had, because a snapshot replaced it.
    pub(super) fn restarted_at(index: u64, term: u64) -> ChainHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"purged").update(&index.to_le_bytes()).update(&term.to_le_bytes());
        ChainHash::shortened(&hasher)
    }

    /// The hash of bytes that stand outside the chain, such as a vote.
    pub(super) fn of_bytes(bytes: &[u8]) -> ChainHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes);
        ChainHash::shortened(&hasher)
    }

    fn shortened(hasher: &blake3::Hasher) -> ChainHash {
        let mut short = [0; 16];
        hasher.finalize_xof().fill(&mut short);
        ChainHash(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_entry_changes_its_hash() {
        let entry = ChainHash::START.followed_by(1, 2, b"payload");
        assert_eq!(entry, ChainHash::START.followed_by(1, 2, b"payload"));
        assert_ne!(entry, ChainHash::START.followed_by(2, 2, b"payload"));
        assert_ne!(entry, ChainHash::START.followed_by(1, 3, b"payload"));
        assert_ne!(entry, ChainHash::START.followed_by(1, 2, b"other"));
        assert_ne!(entry, entry.followed_by(1, 2, b"payload"));
        assert_ne!(entry, ChainHash::restarted_at(1, 2));
    }
}
