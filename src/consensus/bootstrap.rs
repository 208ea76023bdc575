//! How a node with an empty data directory gets a cluster and an id.
//!
//! A cluster is founded by the first node of the list that all first members were started with: it waits until each of
//! them says that its directory is empty, mints the cluster's id, writes down who is in it, tells the others, who
//! write it down too, and only then lets the engine begin. A crash at any step is resumed by the next start, because
//! each step can be repeated. A node that joins is told by the leader who it is.
//!
//! What it promises: an empty directory never comes back under an id that had another one; nothing is begun before
//! everyone has written down with whom. What it must not do: guess; a peer that belongs to a cluster already ends
//! the founding. Tested in `tests/consensus/bootstrap.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, try_join_all};
use tokio::time::sleep;
use uuid::Uuid;

use super::errors::StartError;
use super::local_node::{LocalNode, Standing};
use super::messages::{Addresses, Adoption, Endpoint, HelloReply, PeerStanding, Refusal, Reply, Request};
use super::peers::{CallError, ask_address};
use super::transport::Transport;
use super::types::NodeAddress;
use crate::background;

/// Ids up to this one belong to first members; nodes that join get ids above it.
pub const FIRST_MEMBERS_MAX: u64 = 100;

/// Between two questions to a peer that is not ready.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// For one question.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// Questions between two lines in the log.
const ASKS_PER_LINE: u32 = 50;

/// Asks the cluster, through its API, to take this node in. It may be called again and again.
pub type RequestMembership = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What a node without data does.
#[derive(Clone)]
pub enum Bootstrap {
    /// It founds a cluster with the nodes at these peer addresses, its own among them, in the same order everywhere.
    InitialCluster(Vec<String>),
    /// It asks to be taken in and waits until it is.
    Join(RequestMembership),
    /// Nothing: there must be data.
    Existing,
}

impl fmt::Debug for Bootstrap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InitialCluster(list) => formatter.debug_tuple("InitialCluster").field(list).finish(),
            Self::Join(_) => formatter.write_str("Join"),
            Self::Existing => formatter.write_str("Existing"),
        }
    }
}

/// What founding and joining need.
pub(super) struct Settling<'a> {
    pub(super) local: &'a Arc<LocalNode>,
    pub(super) transport: &'a Arc<dyn Transport>,
    /// A fresh random id for a new cluster.
    pub(super) mint_cluster_id: &'a (dyn Fn() -> Uuid + Send + Sync),
}

impl Settling<'_> {
    /// Waits until this node has an identity.
    pub(super) async fn settle(&self, bootstrap: &Bootstrap) -> Result<Standing, StartError> {
        if let Some(standing) = self.local.standing() {
            return Ok(standing);
        }
        match bootstrap {
            Bootstrap::Existing => Err(StartError::NothingToStart),
            Bootstrap::Join(_) => Ok(self.local.adopted().await),
            Bootstrap::InitialCluster(list) => {
                check_list(list, &self.local.address().peer_addr)?;
                if list[0] == self.local.address().peer_addr {
                    self.found(list).await
                } else {
                    self.wait_for_the_first(list).await
                }
            }
        }
    }

    /// Waits for all peers to be empty, then mints the cluster and writes it down.
    async fn found(&self, list: &[String]) -> Result<Standing, StartError> {
        let hellos = try_join_all(list[1..].iter().map(|peer| self.empty_peer(peer))).await?;
        let addresses = std::iter::once(self.local.address().clone()).chain(hellos);
        let members: BTreeMap<u64, NodeAddress> = (1..).zip(addresses).collect();
        let cluster_id = (self.mint_cluster_id)();
        let adoption = Adoption { cluster_id, node_id: 1, members, is_founding: true };
        let local = Arc::clone(self.local);
        let adopted = background::run(move || local.adopt(&adoption)).await;
        adopted
            .map_err(|error| StartError::Engine(error.to_string()))??
            .map_err(|refusal| StartError::PeerRefuses { peer: list[0].clone(), refusal })?;
        tracing::info!(cluster = %cluster_id, members = list.len(), "a cluster is founded");
        Ok(self.local.adopted().await)
    }

    /// Asks until the peer answers, and takes only an empty one.
    async fn empty_peer(&self, peer: &str) -> Result<NodeAddress, StartError> {
        let mut asked = 0_u32;
        loop {
            match self.hello(peer).await {
                Ok(HelloReply { address, standing: PeerStanding::Empty }) if address.peer_addr == peer => {
                    return Ok(address);
                }
                Ok(HelloReply { address, standing: PeerStanding::Empty }) => {
                    let reason = format!("the node at {peer} calls itself {}", address.peer_addr);
                    return Err(StartError::InitialCluster(reason));
                }
                Ok(HelloReply { standing, .. }) => return Err(exists(peer, standing)),
                Err(error) if asked.is_multiple_of(ASKS_PER_LINE) => {
                    tracing::info!(%peer, %error, "waiting for a peer to found the cluster with");
                }
                Err(_) => {}
            }
            asked = asked.wrapping_add(1);
            sleep(ASK_EVERY).await;
        }
    }

    /// Waits to be adopted. A peer that is a member by then has been one before this directory was emptied.
    async fn wait_for_the_first(&self, list: &[String]) -> Result<Standing, StartError> {
        let others = list.iter().filter(|peer| **peer != self.local.address().peer_addr);
        let refused = try_join_all(others.map(|peer| self.refuse_if_member(peer)));
        tokio::select! {
            standing = self.local.adopted() => Ok(standing),
            refused = refused => match refused {
                // All peers have a cluster that this node belongs to.
                Ok(_) => Ok(self.local.adopted().await),
                Err(error) => Err(error),
            },
        }
    }

    async fn refuse_if_member(&self, peer: &str) -> Result<(), StartError> {
        loop {
            if let Ok(HelloReply { standing: standing @ PeerStanding::Member { .. }, .. }) =
                self.hello(peer).await
            {
                // A founding member becomes a member only after all were adopted, so this node was, or never will be.
                return if self.local.standing().is_some() { Ok(()) } else { Err(exists(peer, standing)) };
            }
            sleep(ASK_EVERY * 5).await;
        }
    }

    /// Tells the other first members who they are, until each has written it down.
    pub(super) async fn announce(&self, standing: &Standing) -> Result<(), StartError> {
        let others = standing.members.iter().filter(|(id, _)| **id != standing.node_id);
        try_join_all(others.map(|(id, address)| self.adopt(standing, (*id, address)))).await.map(drop)
    }

    async fn adopt(
        &self,
        standing: &Standing,
        (node_id, address): (u64, &NodeAddress),
    ) -> Result<(), StartError> {
        let adoption = Adoption {
            cluster_id: standing.cluster_id,
            node_id,
            members: standing.members.clone(),
            is_founding: true,
        };
        let addresses = Addresses {
            cluster_id: standing.cluster_id,
            from: self.local.endpoint(),
            to: Endpoint { node_id, incarnation: address.incarnation },
        };
        let request = Request::Adopt(adoption);
        loop {
            match ask_address(self.transport, &address.peer_addr, (addresses, &request), ASK_WITHIN).await {
                Ok(_) => return Ok(()),
                Err(CallError::Refused(refusal)) if refusal != Refusal::Busy => {
                    return Err(StartError::PeerRefuses { peer: address.peer_addr.clone(), refusal });
                }
                Err(error) => {
                    tracing::info!(peer = %address.peer_addr, %error, "waiting to tell a peer its place")
                }
            }
            sleep(ASK_EVERY).await;
        }
    }

    async fn hello(&self, peer: &str) -> Result<HelloReply, CallError> {
        hello(self.transport, peer, self.local.endpoint()).await
    }
}

/// Asks a node that is known by its address only who it is.
pub(super) async fn hello(
    transport: &Arc<dyn Transport>,
    peer: &str,
    from: Endpoint,
) -> Result<HelloReply, CallError> {
    let addresses = Addresses { cluster_id: Uuid::nil(), from, to: Endpoint::default() };
    match ask_address(transport, peer, (addresses, &Request::Hello), ASK_WITHIN).await? {
        Reply::Hello(hello) => Ok(hello),
        _ => Err(CallError::Unexpected),
    }
}

fn exists(peer: &str, standing: PeerStanding) -> StartError {
    let cluster_id = match standing {
        PeerStanding::Empty => Uuid::nil(),
        PeerStanding::Adopted { cluster_id, .. } | PeerStanding::Member { cluster_id, .. } => cluster_id,
    };
    StartError::ClusterExists { peer: peer.to_owned(), cluster_id }
}

fn check_list(list: &[String], own: &str) -> Result<(), StartError> {
    let refuse = |reason: String| Err(StartError::InitialCluster(reason));
    if list.len() as u64 > FIRST_MEMBERS_MAX {
        return refuse(format!("it has {} members, {FIRST_MEMBERS_MAX} are allowed", list.len()));
    }
    if list.iter().collect::<BTreeSet<_>>().len() != list.len() {
        return refuse("it names an address twice".to_owned());
    }
    if !list.iter().any(|peer| peer == own) {
        return refuse(format!("it does not name this node, {own}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &[&str]) -> Result<(), StartError> {
        let list: Vec<String> = list.iter().map(|peer| (*peer).to_owned()).collect();
        check_list(&list, "b:1")
    }

    #[test]
    fn a_list_of_initial_members_names_this_node_and_nobody_twice() {
        assert!(check(&["a:1", "b:1", "c:1"]).is_ok());
        assert!(check(&["a:1", "c:1"]).is_err());
        assert!(check(&["a:1", "b:1", "a:1"]).is_err());
        assert!(check(&[]).is_err());
    }
}
