//! What the HTTP server needs of the consensus room: who leads, a read barrier, the members.
//!
//! What it promises: the server runs against any implementation, so that its tests need no Raft. What it must not do:
//! propose; writes go through the leader's rounds.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::consensus::{BarrierError, Member, MembershipError, PeerReport, Status};

/// The cluster as this node sees it.
#[async_trait]
pub trait ClusterView: Send + Sync + 'static {
    /// What this node knows now.
    fn status(&self) -> Status;

    /// Changes with what this node knows.
    fn watch_status(&self) -> watch::Receiver<Status>;

    /// Proves that this node led at a moment after the call, with everything applied that was acknowledged before.
    ///
    /// # Errors
    /// This node does not lead, or it does not reach a quorum.
    async fn read_barrier(&self) -> Result<(), BarrierError>;

    /// Asks every member how far it is; `None` for who does not answer in time.
    async fn peer_reports(&self) -> Vec<(Member, Option<PeerReport>)>;

    /// Adds a learner.
    ///
    /// # Errors
    /// The change is refused, or its outcome is not known.
    async fn add_member(&self, api_addr: &str, peer_addr: &str) -> Result<Member, MembershipError>;

    /// Makes a learner a voter.
    ///
    /// # Errors
    /// As for [`ClusterView::add_member`].
    async fn promote(&self, node_id: u64) -> Result<Member, MembershipError>;

    /// Removes a member.
    ///
    /// # Errors
    /// As for [`ClusterView::add_member`].
    async fn remove(&self, node_id: u64) -> Result<Member, MembershipError>;

    /// Hands leadership over and gives the new leader.
    ///
    /// # Errors
    /// As for [`ClusterView::add_member`].
    async fn transfer_leadership(&self, to: Option<u64>) -> Result<Member, MembershipError>;
}
