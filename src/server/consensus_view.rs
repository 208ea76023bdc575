//! Consensus as the HTTP server looks at it.
//!
//! What it promises: errors keep their meaning; a follower knows how long ago it heard the leader. What it must not do:
//! decide anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::consensus::{BarrierError, Consensus, Member, MemberRole, MembershipError, Role, Status};
use crate::domain::ClusterId;
use crate::http::{
    BarrierFailure, CONTACT_AGE_MAX, ClusterFigures, ClusterMember, ClusterPicture, ClusterView,
    MemberReport, MembershipFailure,
};
use crate::leader::{LeaderAddress, Leadership, Log};

/// How often a node looks whether it has heard the leader or its quorum.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Consensus, as a cluster to look at.
pub(super) struct ConsensusView {
    consensus: Consensus,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    contact: Arc<Contact>,
}

/// What this node hears of its leader.
#[derive(Debug, Default)]
struct Contact {
    /// When this node last heard the leader, or that there is another one.
    heard: Mutex<Option<Instant>>,
    /// Whether that was lately; on a leader: whether its quorum was heard lately.
    hears_leader: AtomicBool,
}

impl Contact {
    /// How long ago the leader was heard, or the quorum by a leader; `None` if never.
    fn age(&self, status: &Status, now: Instant) -> Option<Duration> {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let heard_age = heard.map(|heard| now.saturating_duration_since(heard));
        match status.role {
            Role::Leader if status.voters().count() == 1 => Some(Duration::ZERO),
            // Nobody has answered a leader that was elected just now, but then a quorum has voted for it.
            Role::Leader => status.quorum_contact_age.or(heard_age),
            Role::Stopped => None,
            Role::Learner | Role::Follower | Role::Candidate => heard_age,
        }
    }
}

fn is_lately(age: Option<Duration>) -> bool {
    age.is_some_and(|age| age <= CONTACT_AGE_MAX)
}

impl ConsensusView {
    /// Looks at `consensus` from now on, until the returned task is dropped.
    pub(super) fn new(
        consensus: Consensus,
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let contact = Arc::new(Contact::default());
        let listening = listen(consensus.clone(), log.leadership(), clock.clone(), contact.clone());
        (Arc::new(Self { consensus, log, clock, contact }), listening)
    }
}

/// Notes when the leader was heard: by the requests that only a leader sends, and by the news that there is another one.
async fn listen(
    consensus: Consensus,
    mut leadership: watch::Receiver<Leadership>,
    clock: Arc<dyn Clock>,
    contact: Arc<Contact>,
) {
    let mut before = 0;
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        let is_news = tokio::select! {
            changed = leadership.changed() => match changed {
                Ok(()) => leadership.borrow_and_update().leader.is_some(),
                // Nobody tells any more: the node is ending.
                Err(_) => return contact.hears_leader.store(false, Ordering::Relaxed),
            },
            _ = looks.tick() => false,
        };
        let count = consensus.received().appends;
        if std::mem::replace(&mut before, count) != count || is_news {
            *contact.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock.now());
        }
        let age = contact.age(&consensus.status(), clock.now());
        contact.hears_leader.store(is_lately(age), Ordering::Relaxed);
    }
}

#[async_trait]
impl ClusterView for ConsensusView {
    fn node_id(&self) -> u64 {
        self.consensus.status().node_id
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.log.leadership()
    }

    fn hears_leader(&self) -> bool {
        self.contact.hears_leader.load(Ordering::Relaxed)
    }

    fn picture(&self) -> ClusterPicture {
        let status = self.consensus.status();
        let contact_age = self.contact.age(&status, self.clock.now());
        ClusterPicture {
            cluster_id: Some(ClusterId(status.cluster_id)),
            term: status.term,
            leader_id: status.leader.as_ref().map(|leader| leader.node_id).filter(|_| is_lately(contact_age)),
            is_candidate: status.role == Role::Candidate,
            members: status.members.iter().map(|(known, role)| member(known, *role)).collect(),
        }
    }

    fn figures(&self) -> ClusterFigures {
        let (status, log) = (self.consensus.status(), self.consensus.log_statistics());
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        ClusterFigures {
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            snapshot_index: status.snapshot_index.unwrap_or_default(),
            log_syncs: log.syncs,
            log_written_bytes: log.written_bytes,
            log_sync_time: log.sync_time,
            log_longest_sync: log.longest_sync,
            log_mirror_bytes: count(log.mirror_bytes),
            log_queue_length: count(log.queue_length),
        }
    }

    async fn recovered(&self) -> Result<(), BarrierFailure> {
        self.consensus.recovered().await.map_err(barrier_failure)
    }

    async fn read_barrier(&self) -> Result<(), BarrierFailure> {
        self.consensus.read_barrier().await.map_err(barrier_failure)
    }

    async fn reports(&self) -> BTreeMap<u64, MemberReport> {
        let reports = self.consensus.peer_reports().await.into_iter();
        reports
            .filter_map(|(member, report)| {
                let report = report?;
                let report = MemberReport {
                    applied_index: report.applied_index,
                    last_log_index: report.last_log_index,
                    revision: report.revision,
                    state_hash: report.state_hash,
                };
                Some((member.node_id, report))
            })
            .collect()
    }

    async fn add_member(&self, api_addr: &str, peer_addr: &str) -> Result<ClusterMember, MembershipFailure> {
        let added = self.consensus.add_member(api_addr, peer_addr).await;
        self.changed(added)
    }

    async fn promote(&self, node_id: u64) -> Result<ClusterMember, MembershipFailure> {
        let promoted = self.consensus.promote(node_id).await;
        self.changed(promoted)
    }

    async fn remove(&self, node_id: u64) -> Result<ClusterMember, MembershipFailure> {
        let role = self.role(node_id);
        let removed = self.consensus.remove(node_id).await.map_err(failure)?;
        Ok(member(&removed, role.unwrap_or(MemberRole::Learner)))
    }

    async fn transfer_leadership(&self, to: Option<u64>) -> Result<LeaderAddress, MembershipFailure> {
        let leader = self.consensus.transfer_leadership(to).await.map_err(failure)?;
        Ok(address(&leader))
    }
}

impl ConsensusView {
    fn role(&self, node_id: u64) -> Option<MemberRole> {
        let status = self.consensus.status();
        status.members.iter().find(|(member, _)| member.node_id == node_id).map(|(_, role)| *role)
    }

    fn changed(&self, changed: Result<Member, MembershipError>) -> Result<ClusterMember, MembershipFailure> {
        let changed = changed.map_err(failure)?;
        let role = self.role(changed.node_id);
        Ok(member(&changed, role.unwrap_or(MemberRole::Learner)))
    }
}

fn member(member: &Member, role: MemberRole) -> ClusterMember {
    ClusterMember {
        node_id: member.node_id,
        api_addr: member.api_addr.clone(),
        peer_addr: member.peer_addr.clone(),
        is_voter: role == MemberRole::Voter,
    }
}

fn barrier_failure(error: BarrierError) -> BarrierFailure {
    match error {
        BarrierError::NotLeader { .. } => BarrierFailure::NotLeader,
        BarrierError::NoQuorum => BarrierFailure::NoQuorum,
        BarrierError::Stopped => BarrierFailure::Stopped,
    }
}

fn address(member: &Member) -> LeaderAddress {
    LeaderAddress { node_id: member.node_id, api_addr: member.api_addr.clone() }
}

fn failure(error: MembershipError) -> MembershipFailure {
    match error {
        MembershipError::NotLeader { leader } => {
            MembershipFailure::NotLeader { leader: leader.as_ref().map(address) }
        }
        MembershipError::NoQuorum => MembershipFailure::NotLeader { leader: None },
        MembershipError::UnknownMember(node_id) => MembershipFailure::UnknownMember(node_id),
        MembershipError::Conflict(conflict) => MembershipFailure::Conflict(conflict.to_string()),
        MembershipError::Unknown => MembershipFailure::Unknown(error.to_string()),
        MembershipError::Stopped => MembershipFailure::Stopped,
    }
}
