//! The network as the Raft engine wants it, over the connections of this node.
//!
//! What it promises: votes, pre-votes and hand-overs really go out (the engine's defaults would grant or drop them
//! silently); a peer that can not be reached or refuses is retried at a short, constant interval; what is under way
//! for one purpose never waits for another. What it must not do: retry on its own. Tested through `tests/consensus`.

use std::future::Future;
use std::time::Duration;

use futures::Stream;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes};

use super::append_stream::AppendStream;
use super::messages::{AppendReply, Refusal, Reply, Request, TransferReply};
use super::peers::{CallError, Peers, Purpose, Target};
use super::snapshot_sender;
use super::state_machine::SnapshotBody;
use super::types::{NodeAddress, Snapshot, TypeConfig, Vote};

/// A peer that has refused a snapshot would refuse it again; the next try finds the newest one, which may be another.
const REFUSED_SNAPSHOT_AGAIN: Duration = Duration::from_secs(5);

type RpcResult<T> = Result<T, RPCError<TypeConfig>>;

/// Makes the engine's clients for a peer.
pub(super) struct NetworkFactory {
    peers: Peers,
}

impl NetworkFactory {
    pub(super) fn new(peers: Peers) -> Self {
        Self { peers }
    }

    fn network(&self, node_id: u64, address: &NodeAddress, purpose: Purpose) -> Network {
        let target = Target { node_id, address: address.clone() };
        Network { peers: self.peers.clone(), target, purpose }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, node: &NodeAddress) -> Network {
        self.network(target, node, Purpose::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &NodeAddress) -> Network {
        self.network(target, node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &NodeAddress) -> Network {
        self.network(target, node, Purpose::Snapshot)
    }
}

/// The engine's client for one peer and one purpose.
pub(super) struct Network {
    peers: Peers,
    target: Target,
    purpose: Purpose,
}

impl Network {
    async fn call(&self, request: &Request, within: Duration, action: RPCTypes) -> RpcResult<Reply> {
        let answered = self.peers.call(&self.target, request, within).await;
        answered.map_err(|error| self.rpc_error(&error, action))
    }

    fn rpc_error(&self, error: &CallError, action: RPCTypes) -> RPCError<TypeConfig> {
        match error {
            CallError::Timeout(timeout) => {
                let (id, target) = (self.peers.node_id(), self.target.node_id);
                Timeout { action, id, target, timeout: *timeout }.into()
            }
            CallError::Connection(_) => NetworkError::new(error).into(),
            // A refusal does not go away by asking faster, so it backs off like a dead address.
            _ => Unreachable::new(error).into(),
        }
    }
}

impl NetBackoff<TypeConfig> for Network {
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(self.peers.timing().retry())))
    }
}

impl NetVote<TypeConfig> for Network {
    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        match self.call(&Request::Vote(rpc), option.soft_ttl(), RPCTypes::Vote).await? {
            Reply::Vote(response) => Ok(response),
            _ => Err(self.rpc_error(&CallError::Unexpected, RPCTypes::Vote)),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        match self.call(&Request::PreVote(rpc), option.soft_ttl(), RPCTypes::Vote).await? {
            Reply::Vote(response) => Ok(response),
            _ => Err(self.rpc_error(&CallError::Unexpected, RPCTypes::Vote)),
        }
    }
}

impl NetTransferLeader<TypeConfig> for Network {
    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<TypeConfig>> {
        let action = RPCTypes::TransferLeader;
        match self.call(&Request::TransferLeader(rpc), option.soft_ttl(), action).await? {
            Reply::TransferLeader(TransferReply::Accepted) => Ok(Ok(())),
            Reply::TransferLeader(TransferReply::VoteChanged { expected, actual }) => {
                Ok(Err(TransferLeaderError::VoteChanged { expected, actual }))
            }
            Reply::TransferLeader(TransferReply::NotFlushed { expected, actual }) => {
                Ok(Err(TransferLeaderError::LogNotFlushed { expected, actual }))
            }
            _ => Err(self.rpc_error(&CallError::Unexpected, action)),
        }
    }
}

impl NetStreamAppend<TypeConfig> for Network {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let opened = self.peers.connection(&self.target, self.purpose).await;
            let (connection, _) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    // The engine backs off only between requests of a stream, and this one never asks for a request.
                    tokio::time::sleep(self.peers.timing().retry()).await;
                    return Err(self.rpc_error(&error, RPCTypes::AppendEntries));
                }
            };
            let stream =
                AppendStream::new(self.peers.clone(), self.target.clone(), self.purpose, connection, input);
            let this = &*self;
            let answers = futures::StreamExt::map(stream, move |answer| {
                answer.map_err(|error| this.rpc_error(&error, RPCTypes::AppendEntries))
            });
            Ok(Box::pin(answers) as BoxStream<'s, _>)
        })
    }
}

impl NetSnapshot<TypeConfig> for Network {
    type SnapshotData = SnapshotBody;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let within = option.soft_ttl().max(self.peers.timing().answer_timeout());
        let (term, holds) = (vote.leader_id.term, AppendReply::Matched(snapshot.meta.last_log_id));
        let sending = async {
            let sent = snapshot_sender::send(&self.peers, &self.target, (vote, snapshot), within).await;
            if matches!(sent, Err(CallError::Refused(Refusal::UnsoundSnapshot))) {
                tokio::time::sleep(REFUSED_SNAPSHOT_AGAIN).await;
            }
            sent
        };
        tokio::select! {
            sent = sending => match sent {
                Ok(answered) => {
                    if answered == vote {
                        self.peers.acknowledged(&self.target, term, &holds)
                            .map_err(|error| self.rpc_error(&error, RPCTypes::InstallSnapshot))?;
                    }
                    Ok(SnapshotResponse::new(answered))
                }
                Err(error) => Err(self.rpc_error(&error, RPCTypes::InstallSnapshot).into()),
            },
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }
}
