//! Calls about the replicas: who they are, who joins and leaves, who leads.

use super::call::Client;
use super::error::ClientError;
use super::request::{Method, Request, Target};
use crate::api::cluster::{AddMember, Cluster, LeadershipTransferred, MemberChanged, TransferLeadership};

impl Client {
    /// The cluster as the answering node sees it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cluster(&self) -> Result<Cluster, ClientError> {
        self.call(Request::new(Method::Get, Target::new(&["v1", "cluster"])?)).await
    }

    /// Adds a node as a learner; the node must run and be reachable.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn add_member(&self, member: &AddMember) -> Result<MemberChanged, ClientError> {
        let target = Target::new(&["v1", "cluster", "members"])?;
        self.call(Request::new(Method::Post, target).with_body(member)?).await
    }

    /// Makes a learner a voter.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn promote_member(&self, node_id: u64) -> Result<MemberChanged, ClientError> {
        let target = Target::new(&["v1", "cluster", "members", &node_id.to_string(), "promote"])?;
        self.call(Request::new(Method::Post, target)).await
    }

    /// Removes a member; its id is never used again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn remove_member(&self, node_id: u64) -> Result<MemberChanged, ClientError> {
        let target = Target::new(&["v1", "cluster", "members", &node_id.to_string()])?;
        self.call(Request::new(Method::Delete, target)).await
    }

    /// Hands leadership over, to node `to` or to the voter that is furthest; answers when the new leader serves.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<LeadershipTransferred, ClientError> {
        let target = Target::new(&["v1", "cluster", "transfer-leadership"])?;
        self.call(Request::new(Method::Post, target).with_body(&TransferLeadership { to })?).await
    }
}
