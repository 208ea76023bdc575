//! This node as its data directory knows it: which life, which cluster, which id, and how far the joining got.
//!
//! What it promises: what it says about the identity is durable before it is said; an identity never changes, only how
//! far the joining got. What it must not do: talk to anyone. Tested below and in `tests/consensus/bootstrap.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use super::errors::StartError;
use super::messages::{Adoption, Endpoint, HelloReply, PeerStanding, Refusal};
use super::types::NodeAddress;
use crate::codec::{self, Format};
use crate::storage::{DataDir, Identity, StorageError};

/// What this room keeps in the identity file.
const DETAILS_FORMAT: Format = Format { magic: *b"SKid", version: 1 };

/// How far a node has come on its way into a cluster. Append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum JoinPhase {
    /// The cluster is being founded; not all its first members may know of it yet.
    Founding,
    /// The node has an id in an existing cluster but has not seen itself among its members.
    Joining,
    /// The node has seen itself among the members.
    Member,
    /// The directory was found to be older than what the node had acknowledged: it takes part no more.
    Outdated,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Details {
    phase: JoinPhase,
    members: BTreeMap<u64, NodeAddress>,
}

/// Who this node is in its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) cluster_id: Uuid,
    pub(super) node_id: u64,
    pub(super) phase: JoinPhase,
    /// The members when the node was adopted, and itself; for a founded cluster all its first members.
    pub(super) members: BTreeMap<u64, NodeAddress>,
}

/// This node, before and after it belongs to a cluster.
pub(super) struct LocalNode {
    directory: DataDir,
    address: NodeAddress,
    /// The peer addresses this node was told to found a cluster with, if it was.
    initial_cluster: Option<Vec<String>>,
    standing: watch::Sender<Option<Standing>>,
}

impl LocalNode {
    /// Reads who the node is.
    ///
    /// # Errors
    /// [`StorageError::Refused`] if the identity was written by another release.
    pub(super) fn new(
        directory: DataDir,
        api_addr: String,
        peer_addr: String,
        initial_cluster: Option<Vec<String>>,
    ) -> Result<Self, StorageError> {
        let standing = directory.identity().map(|identity| standing_of(&identity)).transpose()?;
        let address = NodeAddress { api_addr, peer_addr, incarnation: directory.incarnation() };
        Ok(Self { directory, address, initial_cluster, standing: watch::Sender::new(standing) })
    }

    pub(super) fn directory(&self) -> &DataDir {
        &self.directory
    }

    pub(super) fn address(&self) -> &NodeAddress {
        &self.address
    }

    pub(super) fn standing(&self) -> Option<Standing> {
        self.standing.borrow().clone()
    }

    /// Waits until the node has an identity.
    pub(super) async fn adopted(&self) -> Standing {
        let mut watch = self.standing.subscribe();
        let standing = watch.wait_for(Option::is_some).await.expect("the sender lives as long as this node");
        standing.clone().expect("the condition was that there is one")
    }

    /// How the node appears in what it sends.
    pub(super) fn endpoint(&self) -> Endpoint {
        let node_id = self.standing.borrow().as_ref().map_or(0, |standing| standing.node_id);
        Endpoint { node_id, incarnation: self.address.incarnation }
    }

    /// What the node says to a hello.
    pub(super) fn hello(&self) -> HelloReply {
        let standing = match &*self.standing.borrow() {
            None => PeerStanding::Empty,
            Some(Standing { cluster_id, node_id, phase: JoinPhase::Member, .. }) => {
                PeerStanding::Member { cluster_id: *cluster_id, node_id: *node_id }
            }
            Some(Standing { cluster_id, node_id, .. }) => {
                PeerStanding::Adopted { cluster_id: *cluster_id, node_id: *node_id }
            }
        };
        HelloReply { address: self.address.clone(), standing }
    }

    /// Whether the directory may take part, and the node was started where its cluster knows it. A copy of its directory runs
    /// somewhere else.
    pub(super) fn check(&self) -> Result<(), StartError> {
        let Some(Standing { node_id, members, phase, .. }) = self.standing() else { return Ok(()) };
        if phase == JoinPhase::Outdated {
            return Err(StartError::Outdated { node_id });
        }
        match members.get(&node_id) {
            Some(NodeAddress { peer_addr, .. }) if *peer_addr != self.address.peer_addr => {
                Err(StartError::OtherAddress { node_id, known: peer_addr.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Takes an identity, or finds that it is the one the node has. Durable when this returns; blocks.
    pub(super) fn adopt(&self, adoption: &Adoption) -> Result<Result<(), Refusal>, StorageError> {
        if let Some(standing) = self.standing() {
            let is_same = standing.cluster_id == adoption.cluster_id && standing.node_id == adoption.node_id;
            return Ok(if is_same { Ok(()) } else { Err(Refusal::WrongCluster) });
        }
        if adoption.is_founding && !self.agrees_with(adoption) {
            return Ok(Err(Refusal::OtherInitialCluster));
        }
        let phase = if adoption.is_founding { JoinPhase::Founding } else { JoinPhase::Joining };
        let mut members = adoption.members.clone();
        // A node that joins is no member yet.
        members.entry(adoption.node_id).or_insert_with(|| self.address.clone());
        self.save(Standing { cluster_id: adoption.cluster_id, node_id: adoption.node_id, phase, members })?;
        tracing::info!(cluster = %adoption.cluster_id, node = adoption.node_id, ?phase, "this node has an identity");
        Ok(Ok(()))
    }

    /// Remembers that the node has seen itself among the members. Blocks.
    pub(super) fn note_member(&self) -> Result<(), StorageError> {
        match self.standing() {
            Some(standing) if !matches!(standing.phase, JoinPhase::Member | JoinPhase::Outdated) => {
                self.save(Standing { phase: JoinPhase::Member, ..standing })
            }
            _ => Ok(()),
        }
    }

    /// Remembers that the directory is older than what the node has acknowledged, for ever. Blocks.
    pub(super) fn note_outdated(&self) -> Result<(), StorageError> {
        let outdate = |standing| self.save(Standing { phase: JoinPhase::Outdated, ..standing });
        self.standing().map_or(Ok(()), outdate)
    }

    /// A node that was given a list founds a cluster only with exactly this list.
    fn agrees_with(&self, adoption: &Adoption) -> bool {
        let Some(expected) = &self.initial_cluster else { return false };
        expected.iter().eq(adoption.members.values().map(|member| &member.peer_addr))
    }

    fn save(&self, standing: Standing) -> Result<(), StorageError> {
        let details = Details { phase: standing.phase, members: standing.members.clone() };
        let identity = Identity {
            cluster_id: standing.cluster_id,
            node_id: standing.node_id,
            incarnation: self.address.incarnation,
            details: codec::seal(DETAILS_FORMAT, &details).expect("members have an encoded form").to_vec(),
        };
        self.directory.save_identity(&identity)?;
        self.standing.send_replace(Some(standing));
        Ok(())
    }
}

fn standing_of(identity: &Identity) -> Result<Standing, StorageError> {
    let details: Details = codec::open(DETAILS_FORMAT, &identity.details).map_err(|error| {
        StorageError::Refused { reason: format!("the identity can not be read: {error}") }
    })?;
    let Details { phase, members } = details;
    Ok(Standing { cluster_id: identity.cluster_id, node_id: identity.node_id, phase, members })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::DataDirOptions;

    fn open(path: &std::path::Path) -> LocalNode {
        open_at(path, "b")
    }

    fn open_at(path: &std::path::Path, peer_addr: &str) -> LocalNode {
        let mut options = DataDirOptions::new(|| Uuid::from_u128(7));
        options.free_space_floor_bytes = Some(0);
        let directory = DataDir::open(path, options).unwrap();
        let list = Some(vec!["a".to_owned(), "b".to_owned()]);
        LocalNode::new(directory, "api".to_owned(), peer_addr.to_owned(), list).unwrap()
    }

    fn adoption(cluster: u128, members: &[&str]) -> Adoption {
        let members = members.iter().zip(1..).map(|(peer_addr, id)| {
            (id, NodeAddress { peer_addr: (*peer_addr).to_owned(), ..NodeAddress::default() })
        });
        Adoption {
            cluster_id: Uuid::from_u128(cluster),
            node_id: 2,
            members: members.collect(),
            is_founding: true,
        }
    }

    #[test]
    fn an_adopted_node_remembers_it_and_is_not_adopted_again() {
        let directory = tempfile::tempdir().unwrap();
        let node = open(directory.path());
        assert_eq!(node.hello().standing, PeerStanding::Empty);
        assert_eq!(node.adopt(&adoption(1, &["a", "b"])).unwrap(), Ok(()));
        assert_eq!(node.adopt(&adoption(1, &["a", "b"])).unwrap(), Ok(()));
        assert_eq!(node.adopt(&adoption(2, &["a", "b"])).unwrap(), Err(Refusal::WrongCluster));
        drop(node);
        let node = open(directory.path());
        let standing = node.standing().unwrap();
        assert_eq!((standing.node_id, standing.phase, standing.members.len()), (2, JoinPhase::Founding, 2));
        node.note_member().unwrap();
        let member = PeerStanding::Member { cluster_id: Uuid::from_u128(1), node_id: 2 };
        assert_eq!(node.hello().standing, member);
    }

    #[test]
    fn a_directory_serves_only_where_its_cluster_knows_the_node() {
        for joins in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let node = open(directory.path());
            node.check().unwrap();
            let members: &[&str] = if joins { &["a"] } else { &["a", "b"] };
            node.adopt(&Adoption { is_founding: !joins, ..adoption(1, members) }).unwrap().unwrap();
            drop(node);
            open(directory.path()).check().unwrap();
            let refused = open_at(directory.path(), "c").check();
            assert!(matches!(refused, Err(StartError::OtherAddress { node_id: 2, known }) if known == "b"));
        }
    }

    #[test]
    fn a_directory_that_is_outdated_stays_so() {
        let directory = tempfile::tempdir().unwrap();
        let node = open(directory.path());
        node.adopt(&adoption(1, &["a", "b"])).unwrap().unwrap();
        node.note_outdated().unwrap();
        node.note_member().unwrap();
        drop(node);
        let refused = open(directory.path()).check();
        assert!(matches!(refused, Err(StartError::Outdated { node_id: 2 })));
    }

    #[test]
    fn a_node_founds_a_cluster_only_with_the_members_it_was_told() {
        let directory = tempfile::tempdir().unwrap();
        let node = open(directory.path());
        let refused = Ok(Err(Refusal::OtherInitialCluster));
        assert_eq!(node.adopt(&adoption(1, &["a", "c"])), refused);
        assert_eq!(node.adopt(&adoption(1, &["b", "a"])), refused);
        assert_eq!(node.standing(), None);
    }
}
