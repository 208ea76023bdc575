//! Proposing records: in the order of the calls, many under way at once.
//!
//! What it promises: the order of the calls is the order in the log; a refusal means that nothing was proposed, an
//! unknown outcome means that it may have been; nothing waits for ever. What it must not do: try again; a record that
//! is proposed twice would be applied twice. Tested in `tests/consensus`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::{Oneshot, WatchReceiver};
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader};
use openraft::impls::OneshotResponder;
use openraft::raft::ClientWriteResult;
use openraft::type_config::alias::OneshotOf;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use bytes::Bytes;

use super::errors::ProposeError;
use super::status::Member;
use super::types::{Answer, Payload, Raft, TypeConfig};
use crate::domain::Applied;

/// Bytes of one record: with a batch before it, it still fits into one message to a peer.
pub const RECORD_BYTES_MAX: usize = 4 << 20;
/// Proposals that the engine has not taken yet.
const WAITING_MAX: usize = 1_024;

type Result<T> = std::result::Result<T, ProposeError>;
type Written = <OneshotOf<TypeConfig> as Oneshot>::Receiver<ClientWriteResult<TypeConfig>>;

struct Proposal {
    payload: Bytes,
    /// Told where the result will come, once the engine has the proposal.
    taken: oneshot::Sender<Result<Written>>,
}

/// Where proposals go in.
#[derive(Clone)]
pub(super) struct Proposals {
    raft: Raft,
    waiting: mpsc::Sender<Proposal>,
    within: Duration,
}

impl Proposals {
    /// A queue, and the task that empties it into the engine.
    pub(super) fn new(raft: Raft, within: Duration) -> (Self, impl Future<Output = ()>) {
        let (waiting, taken) = mpsc::channel(WAITING_MAX);
        (Self { raft: raft.clone(), waiting, within }, submit_in_order(raft, taken))
    }

    /// Proposes. The place in the log is fixed by this call, not by awaiting the result.
    pub(super) fn propose(
        &self,
        payload: Bytes,
    ) -> impl Future<Output = Result<Arc<Applied>>> + Send + use<> {
        let (taken, written) = oneshot::channel();
        let queued = self.queue(Proposal { payload, taken });
        let (raft, within) = (self.raft.clone(), self.within);
        async move {
            queued?;
            // Beyond the deadline, and when the engine ends with the proposal in its hands, nobody knows.
            timeout(within, outcome(raft, written)).await.unwrap_or(Err(ProposeError::Unknown))
        }
    }
}

impl Proposals {
    fn queue(&self, proposal: Proposal) -> Result<()> {
        let bytes = proposal.payload.len();
        if bytes > RECORD_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes, limit_bytes: RECORD_BYTES_MAX });
        }
        self.waiting.try_send(proposal).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ProposeError::NoQuorum,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped,
        })
    }
}

/// The engine takes a proposal within the call, so the loop keeps the order without waiting for any result.
async fn submit_in_order(raft: Raft, mut waiting: mpsc::Receiver<Proposal>) {
    while let Some(Proposal { payload, taken }) = waiting.recv().await {
        let (responder, written) = OneshotResponder::<TypeConfig, ClientWriteResult<TypeConfig>>::new_pair();
        let submitted = raft.client_write_ff(Payload(payload), Some(responder)).await;
        // Nobody waiting is not an error.
        let _ = taken.send(submitted.map(|()| written).map_err(|_| ProposeError::Stopped));
    }
}

async fn outcome(raft: Raft, taken: oneshot::Receiver<Result<Written>>) -> Result<Arc<Applied>> {
    let written = taken.await.unwrap_or(Err(ProposeError::Unknown))?;
    match written.await {
        Ok(Ok(response)) => applied(response.data),
        Ok(Err(error)) => Err(refusal(&raft, error)),
        Err(_) => Err(ProposeError::Unknown),
    }
}

fn applied(Answer(applied): Answer) -> Result<Arc<Applied>> {
    applied.ok_or(ProposeError::Unknown)
}

fn refusal(raft: &Raft, error: ClientWriteError<TypeConfig>) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(ForwardToLeader {
            reason: ForwardReason::LeaseExpired, ..
        }) => ProposeError::NoQuorum,
        ClientWriteError::ForwardToLeader(forward) => {
            ProposeError::NotLeader { leader: leader(raft, &forward) }
        }
        _ => ProposeError::Unknown,
    }
}

/// The member to turn to, unless it is this node.
pub(super) fn leader(raft: &Raft, forward: &ForwardToLeader<TypeConfig>) -> Option<Member> {
    let node_id = forward.leader_id.filter(|leader| leader != raft.node_id())?;
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let address =
        forward.leader_node.as_ref().or_else(|| metrics.membership_config.membership().get_node(&node_id))?;
    Some(Member::new(node_id, address))
}
