//! Which peers have a stream of entries open to this node, and the moment the last one of a peer ends.
//!
//! What it promises: a loss is reported once, when no stream of that peer is left; a stream that is opened in its
//! place before the old one ends is no loss. What it must not do: judge whether the peer is alive; an ended stream is
//! a hint only. Tested below.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

/// Losses that may wait to be looked at.
const LOSSES_MAX: usize = 64;

/// The open streams, counted by peer.
#[derive(Debug, Clone)]
pub(super) struct Contacts {
    open: Arc<Mutex<BTreeMap<u64, usize>>>,
    lost: broadcast::Sender<u64>,
}

impl Default for Contacts {
    fn default() -> Self {
        Self { open: Arc::default(), lost: broadcast::Sender::new(LOSSES_MAX) }
    }
}

impl Contacts {
    /// Counts a stream until the guard is dropped.
    pub(super) fn enter(&self, node_id: u64) -> Contact {
        self.change(node_id, |count| count + 1);
        Contact { contacts: self.clone(), node_id }
    }

    /// The peers whose last stream has ended, as it happens.
    pub(super) fn losses(&self) -> broadcast::Receiver<u64> {
        self.lost.subscribe()
    }

    /// Whether a stream of the peer is open.
    pub(super) fn has(&self, node_id: u64) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&node_id).is_some_and(|count| *count > 0)
    }

    fn change(&self, node_id: u64, change: impl FnOnce(usize) -> usize) -> usize {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(node_id).or_default();
        *count = change(*count);
        *count
    }
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Contact {
    contacts: Contacts,
    node_id: u64,
}

impl Drop for Contact {
    fn drop(&mut self) {
        if self.contacts.change(self.node_id, |count| count.saturating_sub(1)) == 0 {
            // Nobody listening is not an error.
            let _ = self.contacts.lost.send(self.node_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_lost_when_its_last_stream_ends() {
        let contacts = Contacts::default();
        let mut losses = contacts.losses();
        let (entries, heartbeats) = (contacts.enter(2), contacts.enter(2));
        drop(entries);
        assert!(contacts.has(2));
        assert!(losses.try_recv().is_err());
        drop(heartbeats);
        assert!(!contacts.has(2));
        assert_eq!(losses.try_recv(), Ok(2));
    }
}
