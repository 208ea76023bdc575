//! The hash of a whole state, by which replicas are compared and snapshots are checked.
//!
//! What it promises: equal states give equal hashes, also over releases as long as the types stay (`tests/domain/golden.rs`). What it
//! must not do: leave a field out, depend on what is derived, or decode the remembered answers, which are most of a
//! state. The rules of the bytes are in `hash.rs`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::hash::ValueHasher;
use super::state::State;

/// Of a whole state, so many that the hash works on several blocks at once, which is several times as fast.
const STATE_BUFFER_BYTES: usize = 64 << 10;

/// Hash of everything that a state encodes; what is derived (`Indexes`) is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHash(pub [u8; 32]);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl State {
    /// The hash of the state. It walks everything, so it costs time in proportion to the size of the state.
    pub fn hash(&self) -> StateHash {
        self.hash_with(&self.idempotency.bytes())
    }

    /// The hash in snapshots of version 3 and older, over remembered answers as values: many times as slow.
    pub fn hash_over_values(&self) -> StateHash {
        self.hash_with(&self.idempotency.values())
    }

    fn hash_with(&self, answers: &impl Serialize) -> StateHash {
        let mut hasher = ValueHasher::with_buffer(STATE_BUFFER_BYTES);
        // All fields are named, so that a new one can not be forgotten. Tuples and structs add nothing to what they hold.
        let Self {
            cluster,
            revision,
            session,
            session_node,
            now,
            chain,
            counters,
            settings,
            task_managers,
            jobs,
            queues,
            allocations,
            ended,
            idempotency: _,
            minted_nodes,
            setting_changes,
            former_timeout,
            indexes: _,
        } = self;
        hasher.write(&(cluster, revision, session, session_node, now, chain, counters, settings));
        hasher.write(&(task_managers, jobs, queues, allocations, ended));
        hasher.write(&(answers, minted_nodes));
        // Appended only where there is any, so that states of earlier logs keep their hashes.
        if !setting_changes.is_empty() {
            hasher.write(&("setting changes", setting_changes));
        }
        if let Some(former) = former_timeout {
            hasher.write(&("former timeout", former));
        }
        StateHash(hasher.finish())
    }
}
