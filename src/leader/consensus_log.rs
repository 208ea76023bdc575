//! The replicated log behind the leader's small trait, and the ids that the leader mints for consensus.
//!
//! What it promises: errors keep their meaning: what consensus says was not proposed is `NotTaken`, everything else is
//! unknown. What it must not do: decide anything. Tested with whole clusters in `tests/cluster`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use tokio::sync::watch;
use uuid::Uuid;

use super::handle::{Leader, WeakLeader};
use super::intent::{Intent, Submission};
use super::log::{BarrierFailed, LeaderAddress, Leadership, Log, NodeIdentity, ProposalError};
use crate::consensus::{Consensus, NodeIdMinter, ProposeError, Status};
use crate::domain::{Applied, ClusterId, Command, Reply};

/// The log of a running node.
pub struct ConsensusLog {
    consensus: Consensus,
    leadership: watch::Receiver<Leadership>,
}

impl ConsensusLog {
    /// Follows `consensus` from now on, until its engine ends.
    pub fn new(consensus: Consensus) -> Arc<Self> {
        let mut status = consensus.watch_status();
        let (published, leadership) = watch::channel(leadership_of(&status.borrow_and_update()));
        tokio::spawn(async move {
            while status.changed().await.is_ok() {
                let now = leadership_of(&status.borrow_and_update());
                published.send_if_modified(|before| {
                    let is_new = *before != now;
                    *before = now;
                    is_new
                });
            }
            published.send_replace(Leadership::default());
            // The last value stays readable for as long as anyone looks.
            published.closed().await;
        });
        Arc::new(Self { consensus, leadership })
    }
}

fn leadership_of(status: &Status) -> Leadership {
    let leader = status.leader.as_ref();
    Leadership {
        term: status.is_leader().then_some(status.term),
        leader: leader
            .map(|leader| LeaderAddress { node_id: leader.node_id, api_addr: leader.api_addr.clone() }),
    }
}

impl Log for ConsensusLog {
    fn propose(&self, payload: Bytes) -> BoxFuture<'static, Result<Arc<Applied>, ProposalError>> {
        let proposed = self.consensus.propose(payload);
        async move {
            proposed.await.map_err(|error| match &error {
                ProposeError::NotLeader { .. }
                | ProposeError::NoQuorum
                | ProposeError::TooLarge { .. }
                | ProposeError::Stopped => ProposalError::NotTaken(error.to_string()),
                ProposeError::Unknown => ProposalError::Unknown(error.to_string()),
            })
        }
        .boxed()
    }

    fn read_barrier(&self) -> BoxFuture<'static, Result<(), BarrierFailed>> {
        let consensus = self.consensus.clone();
        async move { consensus.read_barrier().await.map_err(|error| BarrierFailed(error.to_string())) }
            .boxed()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    fn identity(&self) -> Option<NodeIdentity> {
        let status = self.consensus.status();
        Some(NodeIdentity { cluster: ClusterId(status.cluster_id), node_id: status.node_id })
    }
}

/// Mints node ids through the leader's rounds. Consensus holds it and the leader holds consensus, so it must not keep the
/// leader alive.
#[derive(Clone)]
pub struct LogMinter {
    leader: WeakLeader,
}

impl LogMinter {
    /// Mints through `leader`, which must be this node's.
    pub fn new(leader: &Leader) -> Arc<Self> {
        Arc::new(Self { leader: leader.downgrade() })
    }
}

#[async_trait]
impl NodeIdMinter for LogMinter {
    async fn mint(&self, peer_addr: &str, incarnation: Uuid) -> Result<u64, String> {
        let command = Command::MintNodeId { peer_addr: peer_addr.into(), incarnation };
        let leader = self.leader.upgrade().ok_or("this node is stopping")?;
        let submitted = leader.submit(Submission::unkeyed(Intent::Command(command))).await;
        let outcome = submitted.map_err(|error| error.to_string())?;
        match &*outcome.result {
            Ok(Reply::NodeId(node_id)) => Ok(*node_id),
            Ok(_) => Err("the state gave no id".to_owned()),
            Err(rejection) => Err(rejection.to_string()),
        }
    }
}
