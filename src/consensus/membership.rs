//! Changing who is in the cluster and who leads it.
//!
//! What it promises: one change at a time; a change is finished even if its caller goes away; no id is ever used for
//! two data directories; no change leaves fewer answering voters than a quorum. What it must not do: replace the
//! address of a member; that is a removal and an addition. Tested in `tests/consensus/membership.rs`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use openraft::async_runtime::{Instant as _, WatchReceiver};
use openraft::errors::{ChangeMembershipError, ClientWriteError, ForwardReason, ForwardToLeader, RaftError};
use openraft::{ChangeMembers, ServerState};
use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::bootstrap::{FIRST_MEMBERS_MAX, hello};
use super::errors::{MembershipConflict, MembershipError};
use super::local_node::LocalNode;
use super::messages::{Addresses, Adoption, Endpoint, HelloReply, PeerStanding, Reply, Request};
use super::peers::{Peers, Target, ask_address};
use super::proposals::leader;
use super::status::Member;
use super::timing::Timing;
use super::transport::Transport;
use super::types::{Metrics, NodeAddress, Raft, TypeConfig};

/// How long a change waits for one that is about to end.
const CHANGE_BEGINS_WITHIN: Duration = Duration::from_secs(2);
/// For a new node to answer.
const NEW_NODE_WITHIN: Duration = Duration::from_secs(5);
/// For a voter to show that it is there, before another one is removed.
const VOTER_WITHIN: Duration = Duration::from_secs(2);
/// For a learner to receive the log before it is given a vote.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(10);
/// Entries that a learner may be behind when it is given a vote.
const BEHIND_MAX: u64 = 100;
/// A removed node that can not be told so in this time learns it when it stands for election.
const NOTICE_WITHIN: Duration = Duration::from_secs(5);

type Result<T> = std::result::Result<T, MembershipError>;
type Changes = ChangeMembers<u64, NodeAddress>;

/// Gives out node ids through the log, so that none is ever given twice.
#[async_trait]
pub trait NodeIdMinter: Send + Sync {
    /// The number for this data directory; the same one again for the same address and incarnation.
    ///
    /// # Errors
    /// A sentence for the operator.
    async fn mint(&self, peer_addr: &str, incarnation: Uuid) -> std::result::Result<u64, String>;
}

/// What a change needs.
pub(super) struct Membership {
    pub(super) raft: Raft,
    pub(super) peers: Peers,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) local: Arc<LocalNode>,
    pub(super) timing: Timing,
    pub(super) minter: Mutex<Option<Arc<dyn NodeIdMinter>>>,
    /// Held during a change.
    pub(super) changing: tokio::sync::Mutex<()>,
}

impl Membership {
    /// Waits for a change that is about to end: a learner is listed a moment before the change that took it in is done, and who
    /// sees it there may promote it at once.
    async fn begin_change(&self) -> Result<MutexGuard<'_, ()>> {
        let begun = timeout(CHANGE_BEGINS_WITHIN, self.changing.lock()).await;
        begun.map_err(|_| MembershipConflict::InProgress.into())
    }

    /// Takes the node at these addresses in, without a vote. Calling it again for the same node changes nothing.
    pub(super) async fn add(&self, api_addr: &str, peer_addr: &str) -> Result<Member> {
        let _changing = self.begin_change().await?;
        self.ensure_leader()?;
        let refuse = |reason: String| MembershipConflict::NewNode { address: peer_addr.to_owned(), reason };
        let asked = hello(&self.transport, peer_addr, self.local.endpoint()).await;
        let newcomer = asked.map_err(|error| refuse(error.to_string()))?;
        if newcomer.address.api_addr != api_addr || newcomer.address.peer_addr != peer_addr {
            return Err(refuse(format!("the node calls itself {}", newcomer.address)).into());
        }
        if let Some(known) = self.known(&newcomer)? {
            return Ok(known);
        }
        let minter = self.minter.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let minter =
            minter.ok_or_else(|| MembershipConflict::Mint("the node is still starting".to_owned()))?;
        let minted =
            minter.mint(peer_addr, newcomer.address.incarnation).await.map_err(MembershipConflict::Mint)?;
        let node_id = FIRST_MEMBERS_MAX + minted;
        self.adopt(&newcomer, node_id).await?;
        let address = newcomer.address;
        let added =
            timeout(self.change_within(), self.raft.add_learner(node_id, address.clone(), false)).await;
        self.settled(added)?;
        tracing::info!(node = node_id, %address, "a node has joined as a learner");
        Ok(Member::new(node_id, &address))
    }

    /// The member that the newcomer already is; an error if it can not become one.
    fn known(&self, newcomer: &HelloReply) -> Result<Option<Member>> {
        let metrics = self.metrics();
        let address = &newcomer.address;
        let refuse = |reason: String| {
            Err(MembershipConflict::NewNode { address: address.peer_addr.clone(), reason }.into())
        };
        for (id, member) in metrics.membership_config.membership().nodes() {
            if member.incarnation == address.incarnation {
                return Ok(Some(Member::new(*id, member)));
            }
            if member.peer_addr == address.peer_addr || member.api_addr == address.api_addr {
                return refuse(format!("member {id} has this address; remove it first"));
            }
        }
        let ours = self.local.standing().map(|standing| standing.cluster_id);
        match newcomer.standing {
            PeerStanding::Empty => Ok(None),
            PeerStanding::Adopted { cluster_id, .. } if Some(cluster_id) == ours => Ok(None),
            PeerStanding::Member { cluster_id, node_id } if Some(cluster_id) == ours => {
                refuse(format!("it was member {node_id} and was removed; move its data directory away"))
            }
            PeerStanding::Adopted { cluster_id, .. } | PeerStanding::Member { cluster_id, .. } => {
                refuse(format!("it belongs to cluster {cluster_id}"))
            }
        }
    }

    /// Tells the newcomer who it is, and waits until it has written it down.
    async fn adopt(&self, newcomer: &HelloReply, node_id: u64) -> Result<()> {
        let standing = self.local.standing().ok_or(MembershipError::Stopped)?;
        let metrics = self.metrics();
        let members = metrics.membership_config.membership().nodes().map(|(id, node)| (*id, node.clone()));
        let adoption = Adoption {
            cluster_id: standing.cluster_id,
            node_id,
            members: members.collect(),
            is_founding: false,
        };
        let HelloReply { address, .. } = newcomer;
        let to = Endpoint { node_id, incarnation: address.incarnation };
        let addresses = Addresses { cluster_id: standing.cluster_id, from: self.local.endpoint(), to };
        let request = Request::Adopt(adoption);
        let asked =
            ask_address(&self.transport, &address.peer_addr, (addresses, &request), NEW_NODE_WITHIN).await;
        match asked {
            Ok(Reply::Done) => Ok(()),
            Ok(_) => Err(self.new_node(address, "it answered something else")),
            Err(error) => Err(self.new_node(address, &error.to_string())),
        }
    }

    fn new_node(&self, address: &NodeAddress, reason: &str) -> MembershipError {
        MembershipConflict::NewNode { address: address.peer_addr.clone(), reason: reason.to_owned() }.into()
    }

    /// Gives a learner a vote, once it has received the log. A member that has one keeps it: the request may be a retry.
    pub(super) async fn promote(&self, node_id: u64) -> Result<Member> {
        let _changing = self.begin_change().await?;
        self.ensure_leader()?;
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let address = membership.get_node(&node_id).ok_or(MembershipError::UnknownMember(node_id))?;
        if membership.voter_ids().all(|voter| voter != node_id) {
            self.wait_until_caught_up(node_id).await?;
        }
        // Also for a voter: the change that gave it the vote may not be committed yet.
        self.change(Changes::AddVoterIds(BTreeSet::from([node_id])), true).await?;
        tracing::info!(node = node_id, "a member has a vote now");
        Ok(Member::new(node_id, address))
    }

    async fn wait_until_caught_up(&self, node_id: u64) -> Result<()> {
        let until = Instant::now() + CATCH_UP_WITHIN;
        let mut metrics = self.raft.metrics();
        loop {
            let entries_behind = entries_behind(&metrics.borrow_watched(), node_id);
            match entries_behind {
                Some(behind) if behind <= BEHIND_MAX => return Ok(()),
                None => self.ensure_leader()?,
                Some(_) => {}
            }
            let entries_behind = entries_behind.unwrap_or(u64::MAX);
            if !matches!(tokio::time::timeout_at(until, metrics.changed()).await, Ok(Ok(()))) {
                return Err(MembershipConflict::NotCaughtUp { node_id, entries_behind }.into());
            }
        }
    }

    /// Takes a node out for ever.
    pub(super) async fn remove(&self, node_id: u64) -> Result<Member> {
        let _changing = self.begin_change().await?;
        self.ensure_leader()?;
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let address =
            membership.get_node(&node_id).cloned().ok_or(MembershipError::UnknownMember(node_id))?;
        let is_voter = membership.voter_ids().any(|voter| voter == node_id);
        if is_voter {
            self.check_quorum_without(node_id).await?;
        }
        if node_id == metrics.id {
            let leader = self.hand_over(None).await?;
            return Err(MembershipError::NotLeader { leader: Some(leader) });
        }
        let ids = BTreeSet::from([node_id]);
        if is_voter {
            self.change(Changes::RemoveVoters(ids), false).await?;
        } else {
            self.change(Changes::RemoveNodes(ids), true).await?;
        }
        tracing::info!(node = node_id, %address, "a member was removed");
        let removed = Member::new(node_id, &address);
        self.give_notice(Target { node_id, address });
        Ok(removed)
    }

    /// Asks every voter that would be left whether it answers now; what it did a moment ago does not count.
    async fn check_quorum_without(&self, removed: u64) -> Result<()> {
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let left: Vec<u64> = membership.voter_ids().filter(|voter| *voter != removed).collect();
        if left.is_empty() {
            return Err(MembershipConflict::LastVoter(removed).into());
        }
        let asked = left.iter().filter(|voter| **voter != metrics.id).filter_map(|voter| {
            let target = Target { node_id: *voter, address: membership.get_node(voter)?.clone() };
            Some(async move { self.peers.call(&target, &Request::Hello, VOTER_WITHIN).await.is_ok() })
        });
        let answered = join_all(asked).await.into_iter().filter(|answered| *answered).count();
        let live_after = answered + usize::from(left.contains(&metrics.id));
        let (voters_after, quorum_after) = (left.len(), left.len() / 2 + 1);
        if live_after < quorum_after {
            return Err(MembershipConflict::WouldLoseQuorum { voters_after, live_after, quorum_after }.into());
        }
        Ok(())
    }

    /// Tells a removed node that it is none of us any more, in the background.
    fn give_notice(&self, target: Target) {
        let peers = self.peers.clone();
        tokio::spawn(async move {
            let until = Instant::now() + NOTICE_WITHIN;
            while Instant::now() < until {
                if peers.call(&target, &Request::Removed, NEW_NODE_WITHIN).await.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            peers.forget(target.node_id);
        });
    }

    /// Makes another voter the leader: this one, or the one with the longest log. Gives the new leader. Who leads already
    /// goes on: the request may be a retry.
    pub(super) async fn transfer(&self, to: Option<u64>) -> Result<Member> {
        let _changing = self.begin_change().await?;
        self.ensure_leader()?;
        let metrics = self.metrics();
        let own = metrics.membership_config.membership().get_node(&metrics.id);
        if let Some(address) = own.filter(|_| to == Some(metrics.id)) {
            return Ok(Member::new(metrics.id, address));
        }
        self.hand_over(to).await
    }

    async fn hand_over(&self, to: Option<u64>) -> Result<Member> {
        let successor = successor(&self.metrics(), to, &self.timing)?;
        self.raft.trigger().transfer_leader(successor).await.map_err(|_| MembershipError::Stopped)?;
        // If the successor can not take over, its peers elect someone within this time.
        let within = self.timing.lease() * 5;
        let mut metrics = self.raft.metrics();
        let own = *self.raft.node_id();
        let changed = timeout(within, async {
            loop {
                if let Some(member) = leader_other_than(&metrics.borrow_watched(), own) {
                    return Ok(member);
                }
                metrics.changed().await.map_err(|_| MembershipError::Stopped)?;
            }
        });
        changed.await.unwrap_or_else(|_| {
            Err(no_successor(format!("node {successor} did not take over within {within:?}")))
        })
    }

    /// Finishes a change that a leader before this one began and did not end.
    pub(super) async fn finish_interrupted(&self) -> Result<()> {
        let _changing = self.begin_change().await?;
        let metrics = self.metrics();
        let is_joint = metrics.membership_config.membership().get_joint_config().len() > 1;
        if metrics.state != ServerState::Leader || !is_joint {
            return Ok(());
        }
        tracing::warn!("finishing a change of the membership that was interrupted");
        self.change(Changes::AddVoterIds(BTreeSet::new()), false).await
    }

    async fn change(&self, changes: Changes, keep_as_learners: bool) -> Result<()> {
        let changed =
            timeout(self.change_within(), self.raft.change_membership(changes, keep_as_learners)).await;
        self.settled(changed)
    }

    fn change_within(&self) -> Duration {
        Duration::from_millis(self.timing.proposal_timeout_ms)
    }

    fn settled<T>(
        &self,
        changed: std::result::Result<
            std::result::Result<T, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>,
            tokio::time::error::Elapsed,
        >,
    ) -> Result<()> {
        match changed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(error))) => Err(self.refusal(error)),
            Ok(Err(RaftError::Fatal(_))) => Err(MembershipError::Stopped),
            Err(_) => Err(MembershipError::Unknown),
        }
    }

    fn refusal(&self, error: ClientWriteError<TypeConfig>) -> MembershipError {
        match error {
            ClientWriteError::ForwardToLeader(ForwardToLeader {
                reason: ForwardReason::LeaseExpired,
                ..
            }) => MembershipError::NoQuorum,
            ClientWriteError::ForwardToLeader(forward) => {
                MembershipError::NotLeader { leader: leader(&self.raft, &forward) }
            }
            ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => {
                MembershipConflict::InProgress.into()
            }
            ClientWriteError::ChangeMembershipError(ChangeMembershipError::LearnerNotFound(missing)) => {
                MembershipError::UnknownMember(missing.node_id)
            }
            other => {
                tracing::warn!(error = %other, "a change of the membership was not confirmed");
                MembershipError::Unknown
            }
        }
    }

    fn ensure_leader(&self) -> Result<()> {
        let metrics = self.metrics();
        if metrics.running_state.is_err() {
            return Err(MembershipError::Stopped);
        }
        if metrics.state == ServerState::Leader {
            return Ok(());
        }
        Err(MembershipError::NotLeader { leader: leader_other_than(&metrics, metrics.id) })
    }

    fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }
}

fn leader_other_than(metrics: &Metrics, own: u64) -> Option<Member> {
    let leader = metrics.current_leader.filter(|leader| *leader != own)?;
    Some(Member::new(leader, metrics.membership_config.membership().get_node(&leader)?))
}

/// How far the replication to a node is behind, on the leader.
fn entries_behind(metrics: &Metrics, node_id: u64) -> Option<u64> {
    let matched = (*metrics.replication.as_ref()?.get(&node_id)?).map_or(0, |matched| matched.index + 1);
    let entries = metrics.last_log_index.map_or(0, |last| last + 1);
    Some(entries.saturating_sub(matched))
}

/// Whether a voter has answered the leader recently.
fn is_live(metrics: &Metrics, voter: u64, timing: &Timing) -> bool {
    let heard = metrics.heartbeat.as_ref().and_then(|heartbeat| *heartbeat.get(&voter)?);
    voter == metrics.id || heard.is_some_and(|heard| heard.into_inner().elapsed() < timing.lease() * 2)
}

/// The answering voter with the longest log, or the one that was asked for.
fn successor(metrics: &Metrics, to: Option<u64>, timing: &Timing) -> Result<u64> {
    let voters = metrics.membership_config.voter_ids().filter(|voter| *voter != metrics.id);
    let mut live: Vec<u64> = voters.filter(|voter| is_live(metrics, *voter, timing)).collect();
    match to {
        Some(to) if live.contains(&to) => Ok(to),
        Some(to) if metrics.membership_config.membership().get_node(&to).is_none() => {
            Err(MembershipError::UnknownMember(to))
        }
        Some(to) => Err(no_successor(format!("node {to} is no other voter that answers"))),
        None => {
            live.sort_by_key(|voter| (entries_behind(metrics, *voter).unwrap_or(u64::MAX), *voter));
            live.first().copied().ok_or_else(|| no_successor("no other voter answers".to_owned()))
        }
    }
}

fn no_successor(reason: String) -> MembershipError {
    MembershipConflict::NoSuccessor(reason).into()
}
