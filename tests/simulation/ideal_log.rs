//! A log without consensus: what is proposed by the leader of the moment is committed in order, a little later.
//!
//! It does what a correct Raft may do to its users and nothing else: a deposed leader believes in itself for a while, some
//! of what it proposed is committed before its successor's first record and the rest is lost, and it is told nothing of
//! either; replicas lag behind each other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use slotkeeper::domain::{Applied, ClusterId};
use slotkeeper::leader::{BarrierFailed, LeaderAddress, Leadership, Log, NodeIdentity, ProposalError};
use slotkeeper::replica::Replica;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::draw::Draw;
use crate::oracle::Oracle;
use crate::trace;

type Applying = oneshot::Sender<Result<Arc<Applied>, ProposalError>>;
type Passage = oneshot::Sender<Result<(), BarrierFailed>>;

pub struct IdealLog {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    now_ms: u64,
    draw: Draw,
    entries: Vec<Bytes>,
    /// Who leads in truth, and in which term.
    leader: Option<usize>,
    term: u64,
    proposals: VecDeque<Proposal>,
    barriers: Vec<Barrier>,
    /// Proposals of deposed leaders, to be told that nothing is known.
    abandoned: Vec<(u64, Applying)>,
    sides: Vec<Side>,
}

struct Proposal {
    place: usize,
    term: u64,
    due_ms: u64,
    payload: Bytes,
    applying: Applying,
}

struct Barrier {
    place: usize,
    term: Option<u64>,
    due_ms: u64,
    index: usize,
    passage: Passage,
}

/// The log as one node has it.
struct Side {
    replica: Option<Replica>,
    applied: usize,
    leadership: watch::Sender<Leadership>,
    /// What it will learn about who leads, and when.
    news: Option<(u64, Leadership)>,
    waiting: BTreeMap<usize, Applying>,
    lags_until_ms: u64,
}

/// The gate of one node.
struct Gate {
    shared: Arc<Mutex<Shared>>,
    place: usize,
}

impl IdealLog {
    pub fn new(places: usize, draw: Draw) -> Self {
        let side = || Side {
            replica: None,
            applied: 0,
            leadership: watch::channel(Leadership::default()).0,
            news: None,
            waiting: BTreeMap::new(),
            lags_until_ms: 0,
        };
        let shared = Shared {
            now_ms: 0,
            draw,
            entries: Vec::new(),
            leader: None,
            term: 0,
            proposals: VecDeque::new(),
            barriers: Vec::new(),
            abandoned: Vec::new(),
            sides: (0..places).map(|_| side()).collect(),
        };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// A node begins with `replica`, which has the first `applied` records.
    pub fn boot(&self, place: usize, replica: Replica, applied: usize) -> Arc<dyn Log> {
        let mut shared = self.shared.lock().unwrap();
        let side = &mut shared.sides[place];
        (side.replica, side.applied) = (Some(replica), applied);
        side.leadership = watch::channel(Leadership::default()).0;
        side.news = None;
        Arc::new(Gate { shared: Arc::clone(&self.shared), place })
    }

    /// A node is gone with all that it waited for.
    pub fn crash(&self, place: usize) {
        let mut shared = self.shared.lock().unwrap();
        if shared.leader == Some(place) {
            shared.depose();
        }
        let side = &mut shared.sides[place];
        side.replica = None;
        let waiting = std::mem::take(&mut side.waiting);
        shared.abandoned.extend(waiting.into_values().map(|applying| (0, applying)));
    }

    pub fn leader(&self) -> Option<usize> {
        self.shared.lock().unwrap().leader
    }

    /// Another node leads from now on, in a new term; all but it learn it later.
    pub fn elect(&self, place: usize) {
        let mut shared = self.shared.lock().unwrap();
        shared.depose();
        shared.term += 1;
        let (now_ms, term) = (shared.now_ms, shared.term);
        trace::note(&format!("server {place} leads in term {term}"));
        shared.leader = Some(place);
        for other in 0..shared.sides.len() {
            let is_own = other == place;
            let delay_ms = shared.draw.within(if is_own { 1..=20 } else { 1..=1_200 });
            let leadership = Leadership { term: is_own.then_some(term), leader: Some(address(place)) };
            shared.sides[other].news = Some((now_ms + delay_ms, leadership));
        }
    }

    /// Commits, applies and answers what is due.
    pub fn tick(&self, now_ms: u64, oracle: &mut Oracle) {
        let mut shared = self.shared.lock().unwrap();
        shared.now_ms = now_ms;
        shared.spread_news();
        shared.commit_due(oracle);
        shared.apply_due();
        shared.pass_barriers();
        let abandoned = std::mem::take(&mut shared.abandoned);
        let (due, later): (Vec<_>, Vec<_>) = abandoned.into_iter().partition(|(due_ms, _)| *due_ms <= now_ms);
        shared.abandoned = later;
        for (_, applying) in due {
            let _ = applying.send(Err(ProposalError::Unknown("the leader changed".to_owned())));
        }
    }

    /// The first `count` records, for a replica that begins anew.
    pub fn records(&self, count: usize) -> Vec<Bytes> {
        self.shared.lock().unwrap().entries[..count].to_vec()
    }

    pub fn committed(&self) -> usize {
        self.shared.lock().unwrap().entries.len()
    }
}

impl Shared {
    /// Some of what the leader proposed is on a majority already; the rest will never be.
    fn depose(&mut self) {
        self.leader = None;
        let kept = self.draw.index(self.proposals.len() + 1);
        let lost = self.proposals.split_off(kept);
        for proposal in lost {
            let due_ms = self.now_ms + self.draw.within(1..=1_000);
            self.abandoned.push((due_ms, proposal.applying));
        }
        for proposal in &mut self.proposals {
            proposal.due_ms = self.now_ms;
        }
    }

    fn spread_news(&mut self) {
        for side in &mut self.sides {
            if let Some((_, leadership)) = side.news.take_if(|(due_ms, _)| *due_ms <= self.now_ms) {
                side.leadership.send_replace(leadership);
            }
        }
    }

    fn commit_due(&mut self, oracle: &mut Oracle) {
        while let Some(proposal) = self.proposals.pop_front_if(|proposal| proposal.due_ms <= self.now_ms) {
            oracle.committed(&proposal.payload);
            self.entries.push(proposal.payload);
            if self.leader == Some(proposal.place) && self.term == proposal.term {
                self.sides[proposal.place].waiting.insert(self.entries.len(), proposal.applying);
            } else {
                let due_ms = self.now_ms + self.draw.within(1..=1_000);
                self.abandoned.push((due_ms, proposal.applying));
            }
        }
    }

    fn apply_due(&mut self) {
        for place in 0..self.sides.len() {
            let leads = self.leader == Some(place);
            let side = &mut self.sides[place];
            let Some(replica) = &side.replica else { continue };
            if !leads && self.now_ms < side.lags_until_ms {
                continue;
            }
            if self.draw.in_ten_thousand(20) {
                side.lags_until_ms = self.now_ms + self.draw.within(10..=1_500);
            }
            while side.applied < self.entries.len() {
                let applied = replica.apply(&self.entries[side.applied]).expect("a record can be read");
                side.applied += 1;
                if let Some(applying) = side.waiting.remove(&side.applied) {
                    let _ = applying.send(Ok(applied));
                }
            }
        }
    }

    fn pass_barriers(&mut self) {
        for barrier in std::mem::take(&mut self.barriers) {
            let leads = self.leader == Some(barrier.place) && Some(self.term) == barrier.term;
            if barrier.due_ms > self.now_ms || (leads && self.sides[barrier.place].applied < barrier.index) {
                self.barriers.push(barrier);
                continue;
            }
            let passed = if leads { Ok(()) } else { Err(BarrierFailed("no quorum".to_owned())) };
            let _ = barrier.passage.send(passed);
        }
    }
}

impl Log for Gate {
    fn propose(&self, payload: Bytes) -> BoxFuture<'static, Result<Arc<Applied>, ProposalError>> {
        let mut shared = self.shared.lock().unwrap();
        let Some(believed) = shared.sides[self.place].leadership.borrow().term else {
            return async { Err(ProposalError::NotTaken("it does not lead".to_owned())) }.boxed();
        };
        let (applying, applied) = oneshot::channel();
        let now_ms = shared.now_ms;
        if shared.leader == Some(self.place) && shared.term == believed {
            let before_ms = shared.proposals.back().map_or(0, |last| last.due_ms);
            let due_ms = before_ms.max(now_ms + shared.draw.within(1..=15));
            let proposal = Proposal { place: self.place, term: believed, due_ms, payload, applying };
            shared.proposals.push_back(proposal);
        } else {
            let due_ms = now_ms + shared.draw.within(1..=1_000);
            shared.abandoned.push((due_ms, applying));
        }
        async { applied.await.unwrap_or(Err(ProposalError::Unknown("the log is gone".to_owned()))) }.boxed()
    }

    fn read_barrier(&self) -> BoxFuture<'static, Result<(), BarrierFailed>> {
        let mut shared = self.shared.lock().unwrap();
        let (passage, passed) = oneshot::channel();
        let leads = shared.leader == Some(self.place);
        let term = leads.then_some(shared.term);
        let due_ms = shared.now_ms + shared.draw.within(if leads { 1..=8 } else { 50..=1_000 });
        let index = shared.entries.len();
        shared.barriers.push(Barrier { place: self.place, term, due_ms, index, passage });
        async { passed.await.unwrap_or(Err(BarrierFailed("the log is gone".to_owned()))) }.boxed()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.lock().unwrap().sides[self.place].leadership.subscribe()
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity { cluster: ClusterId(Uuid::from_u128(7 << 64)), node_id: self.place as u64 + 1 })
    }
}

fn address(place: usize) -> LeaderAddress {
    LeaderAddress { node_id: place as u64 + 1, api_addr: crate::calls::api_addr(place) }
}
