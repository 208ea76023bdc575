//! Leadership sessions and node ids.
//!
//! What it promises: at most one session is in force, the last that began; a node id is never minted twice, except
//! for the same data directory at the same address. What it must not do: know who leads now.

use std::sync::Arc;

use uuid::Uuid;

use super::shape::{check_length, check_room};
use super::{RoundInProgress, Transaction};
use crate::domain::command::SessionStart;
use crate::domain::event::Event;
use crate::domain::hash::ValueHasher;
use crate::domain::idempotency::Keeping;
use crate::domain::ids::SessionNumber;
use crate::domain::limits;
use crate::domain::outcome::{Applied, Outcome, Rejection, Reply};
use crate::domain::state::{MintedNode, State};

impl State {
    /// Applies the beginning of a session. The first one gives the state its cluster and sets its clock.
    pub(super) fn begin_session(&mut self, start: &SessionStart) -> Applied {
        let mut hasher = ValueHasher::default();
        hasher.write(&(self.chain, "begin", start));
        let revision = self.revision.next();
        let mut events = Vec::new();
        let result = if self.cluster.is_some_and(|cluster| cluster != start.cluster) {
            Err(Rejection::WrongCluster)
        } else {
            self.now = match self.cluster {
                None => start.at,
                Some(_) => self.now.max(start.at.min(self.now.after(limits::TIME_STEP_MAX_MS))),
            };
            self.cluster = Some(start.cluster);
            self.session = SessionNumber(revision.0);
            self.session_node = start.node_id;
            events.push(Event::SessionBegan { session: self.session, node_id: start.node_id });
            Ok(Reply::Done)
        };
        let outcome = Outcome { result: Arc::new(result), revision, replayed: false };
        hasher.write(&outcome);
        self.end_round(RoundInProgress {
            revision,
            is_current: true,
            keeping: Keeping::RetentionAtAnyRate,
            hasher,
            outcomes: vec![outcome],
            events,
        })
    }
}

impl Transaction<'_> {
    pub(super) fn mint_node_id(&mut self, peer_addr: &str, incarnation: Uuid) -> Result<Reply, Rejection> {
        let asked_before =
            |node: &&MintedNode| node.incarnation == incarnation && node.peer_addr == peer_addr;
        if let Some(node) = self.state.minted_nodes.iter().find(asked_before) {
            return Ok(Reply::NodeId(node.node_id));
        }
        check_length("peer_addr", peer_addr.len(), limits::ADDRESS_BYTES_MAX)?;
        check_room("node ids", self.state.minted_nodes.len(), limits::MINTED_NODES_MAX)?;
        let node_id =
            self.state.counters.node_id.checked_add(1).expect("a 64-bit counter is never exhausted");
        self.state.counters.node_id = node_id;
        self.state.minted_nodes.push(MintedNode { node_id, incarnation, peer_addr: peer_addr.to_owned() });
        self.events.push(Event::NodeIdMinted { node_id });
        Ok(Reply::NodeId(node_id))
    }
}
