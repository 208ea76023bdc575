//! A log of one node in memory: what is proposed is applied in order, at once or when the test lets it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use slotkeeper::domain::{Applied, ClusterId, Record};
use slotkeeper::leader::{BarrierFailed, LeaderAddress, Leadership, Log, NodeIdentity, ProposalError};
use slotkeeper::replica::{self, Replica};
use tokio::sync::{oneshot, watch};

type Applying = oneshot::Sender<Result<Arc<Applied>, ProposalError>>;

pub struct LoopbackLog {
    replica: Replica,
    leadership: watch::Sender<Leadership>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    is_held: bool,
    pending: VecDeque<(Bytes, Applying)>,
    proposed: Vec<Record>,
    barriers: u64,
    barriers_fail: bool,
    held_barriers: Option<Vec<oneshot::Sender<()>>>,
    /// Changes a record on its way, as a broken replica would.
    tamper: Option<fn(Record) -> Record>,
}

impl LoopbackLog {
    pub fn new(replica: Replica) -> Arc<Self> {
        let (leadership, _) = watch::channel(Leadership::default());
        Arc::new(Self { replica, leadership, inner: Mutex::default() })
    }

    pub fn lead(&self, term: u64) {
        self.leadership.send_replace(Leadership { term: Some(term), leader: Some(address(1)) });
    }

    pub fn follow(&self, leader: Option<u64>) {
        self.leadership.send_replace(Leadership { term: None, leader: leader.map(address) });
    }

    /// Holds what is proposed from now on.
    pub fn hold(&self) {
        self.inner.lock().unwrap().is_held = true;
    }

    /// Applies the oldest `count` of what is held.
    pub fn apply(&self, count: usize) {
        for _ in 0..count {
            let next = self.inner.lock().unwrap().pending.pop_front();
            let Some((payload, applying)) = next else { return };
            let _ = applying.send(self.apply_now(&payload));
        }
    }

    /// Applies all that is held and holds nothing any more.
    pub fn release(&self) {
        self.inner.lock().unwrap().is_held = false;
        while self.held() > 0 {
            self.apply(1);
        }
    }

    /// Ends the oldest held proposal with `error`.
    pub fn fail_next(&self, error: ProposalError) {
        let (_, applying) = self.inner.lock().unwrap().pending.pop_front().expect("something is held");
        let _ = applying.send(Err(error));
    }

    pub fn held(&self) -> usize {
        self.inner.lock().unwrap().pending.len()
    }

    /// All rounds that were proposed, as the commands' counts.
    pub fn proposed(&self) -> Vec<Record> {
        self.inner.lock().unwrap().proposed.clone()
    }

    pub fn barriers(&self) -> u64 {
        self.inner.lock().unwrap().barriers
    }

    pub fn fail_barriers(&self) {
        self.inner.lock().unwrap().barriers_fail = true;
    }

    /// Holds barriers from now on.
    pub fn hold_barriers(&self) {
        self.inner.lock().unwrap().held_barriers = Some(Vec::new());
    }

    /// Lets all held barriers pass and holds none any more.
    pub fn release_barriers(&self) {
        let held = self.inner.lock().unwrap().held_barriers.take();
        for barrier in held.into_iter().flatten() {
            let _ = barrier.send(());
        }
    }

    pub fn tamper(&self, tamper: fn(Record) -> Record) {
        self.inner.lock().unwrap().tamper = Some(tamper);
    }

    fn apply_now(&self, payload: &[u8]) -> Result<Arc<Applied>, ProposalError> {
        let tamper = self.inner.lock().unwrap().tamper;
        let applied = match tamper {
            None => self.replica.apply(payload),
            Some(tamper) => self.replica.apply(&replica::seal(&tamper(replica::open(payload).unwrap()))),
        };
        Ok(applied.unwrap())
    }
}

fn address(node_id: u64) -> LeaderAddress {
    LeaderAddress { node_id, api_addr: format!("127.0.0.1:{node_id}") }
}

impl Log for LoopbackLog {
    fn propose(&self, payload: Bytes) -> BoxFuture<'static, Result<Arc<Applied>, ProposalError>> {
        let (applying, applied) = oneshot::channel();
        let is_held = {
            let mut inner = self.inner.lock().unwrap();
            inner.proposed.push(replica::open(&payload).unwrap());
            inner.pending.push_back((payload, applying));
            inner.is_held
        };
        if !is_held {
            self.apply(1);
        }
        async { applied.await.unwrap_or(Err(ProposalError::Unknown("the log is gone".to_owned()))) }.boxed()
    }

    fn read_barrier(&self) -> BoxFuture<'static, Result<(), BarrierFailed>> {
        let mut inner = self.inner.lock().unwrap();
        inner.barriers += 1;
        if inner.barriers_fail {
            return async { Err(BarrierFailed("no quorum".to_owned())) }.boxed();
        }
        let Some(held) = &mut inner.held_barriers else { return async { Ok(()) }.boxed() };
        let (pass, passed) = oneshot::channel();
        held.push(pass);
        async { passed.await.map_err(|_| BarrierFailed("dropped".to_owned())) }.boxed()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity { cluster: ClusterId(uuid::Uuid::from_u128(7 << 64)), node_id: 1 })
    }
}
