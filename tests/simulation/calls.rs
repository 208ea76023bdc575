//! Requests from outside to the servers, and the answers, over a network that delays, loses and doubles them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use slotkeeper::consensus::{Consensus, MembershipError};
use slotkeeper::domain::{AllocationId, JobId, JobMasterId, Outcome, Revision};
use slotkeeper::leader::{Heartbeat, HeartbeatAnswer, HeartbeatError, Leader, Log, Submission, SubmitError};
use slotkeeper::replica::Replica;

use crate::draw::Draw;
use crate::machine::Machine;
use crate::network::peer_addr;

/// A server as its clients see it.
pub struct Server {
    pub machine: Machine,
    pub leader: Leader,
    pub replica: Replica,
    pub log: Arc<dyn Log>,
    /// The engine, where there is one.
    pub consensus: Option<Consensus>,
}

#[derive(Debug, Clone)]
pub enum Request {
    Submit(Box<Submission>),
    Heartbeat(Heartbeat),
    JobHeartbeat(JobId, Option<JobMasterId>),
    /// Which allocations the job holds, linearizable.
    Read(JobId),
    Members(MemberChange),
}

/// What the operator asks of the leader.
#[derive(Debug, Clone)]
pub enum MemberChange {
    /// Take the node at this place in.
    Add(usize),
    Promote(u64),
    Remove(u64),
    HandOver,
}

#[derive(Debug)]
pub enum Answer {
    /// With the heartbeat timeout of that moment, which the answer to a registration tells.
    Submitted(Result<Outcome, SubmitError>, u64),
    Heartbeat(Result<HeartbeatAnswer, HeartbeatError>),
    JobHeartbeat(Result<(), HeartbeatError>),
    Read(Result<(Revision, Vec<AllocationId>), ()>),
    /// The id of the node that it is about.
    Members(Result<u64, MembershipError>),
}

pub type CallId = u64;

/// Where the API of the server at `place` is said to be.
pub fn api_addr(place: usize) -> String {
    format!("server-{place}:8080")
}

/// The server behind such an address.
pub fn place_of(api_addr: &str) -> usize {
    let place = api_addr.strip_prefix("server-").and_then(|rest| rest.strip_suffix(":8080"));
    place.and_then(|place| place.parse().ok()).expect("every address is one of these")
}

/// How bad the network of the clients is.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub delay_max_ms: u64,
    pub loss_percent: u64,
    pub double_percent: u64,
}

pub struct Calls {
    draw: Draw,
    /// Where the servers are, as whoever asks them was told; never empty.
    pub addresses: Vec<usize>,
    /// Whom no request reaches.
    pub unreachable: BTreeSet<usize>,
    pub weather: Weather,
    next: CallId,
    sequence: u64,
    on_their_way: BTreeMap<(u64, u64), (CallId, usize, Request)>,
    /// What servers have said in this millisecond.
    said: Arc<Mutex<Vec<(CallId, Answer)>>>,
    coming_back: BTreeMap<(u64, u64), (CallId, Answer)>,
    arrived: BTreeMap<CallId, Answer>,
}

impl Calls {
    pub fn new(draw: Draw, addresses: Vec<usize>, weather: Weather) -> Self {
        Self {
            draw,
            addresses,
            unreachable: BTreeSet::new(),
            weather,
            next: 0,
            sequence: 0,
            on_their_way: BTreeMap::new(),
            said: Arc::default(),
            coming_back: BTreeMap::new(),
            arrived: BTreeMap::new(),
        }
    }

    fn due(&mut self, now_ms: u64) -> (u64, u64) {
        self.sequence += 1;
        (now_ms + self.draw.within(1..=self.weather.delay_max_ms), self.sequence)
    }

    /// Sends a request to the server at `place`.
    pub fn send(&mut self, now_ms: u64, place: usize, request: Request) -> CallId {
        self.next += 1;
        let call = self.next;
        let copies = if self.draw.percent(self.weather.loss_percent) {
            0
        } else if self.draw.percent(self.weather.double_percent) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let due = self.due(now_ms);
            self.on_their_way.insert(due, (call, place, request.clone()));
        }
        call
    }

    /// The answer, once it is there.
    pub fn take(&mut self, call: CallId) -> Option<Answer> {
        self.arrived.remove(&call)
    }

    /// Brings what is due to servers and callers.
    pub fn deliver(&mut self, now_ms: u64, servers: &[Option<Server>]) {
        while let Some(next) = self.on_their_way.first_entry()
            && next.key().0 <= now_ms
        {
            let (call, place, request) = next.remove();
            if self.unreachable.contains(&place) {
                continue;
            }
            if let Some(server) = servers.get(place).and_then(Option::as_ref) {
                let (leader, replica) = (server.leader.clone(), server.replica.clone());
                let (log, said) = (Arc::clone(&server.log), Arc::clone(&self.said));
                let consensus = server.consensus.clone();
                server.machine.spawn(async move {
                    let answer = match (request, consensus) {
                        (Request::Members(change), Some(consensus)) => {
                            Answer::Members(change_members(&consensus, change).await)
                        }
                        (request, _) => answer(&leader, &replica, log.as_ref(), request).await,
                    };
                    said.lock().unwrap().push((call, answer));
                });
            }
        }
        while let Some(next) = self.coming_back.first_entry()
            && next.key().0 <= now_ms
        {
            let (call, answer) = next.remove();
            self.arrived.insert(call, answer);
        }
    }

    /// Takes over what the servers have said since the last call.
    pub fn collect(&mut self, now_ms: u64) {
        let said = std::mem::take(&mut *self.said.lock().unwrap());
        for (call, answer) in said {
            if !self.draw.percent(self.weather.loss_percent) {
                let due = self.due(now_ms);
                self.coming_back.insert(due, (call, answer));
            }
        }
    }
}

async fn answer(leader: &Leader, replica: &Replica, log: &dyn Log, request: Request) -> Answer {
    match request {
        Request::Submit(submission) => {
            let result = leader.submit(*submission).await;
            Answer::Submitted(result, replica.read().settings().heartbeat_timeout_ms)
        }
        Request::Heartbeat(heartbeat) => Answer::Heartbeat(leader.heartbeat(heartbeat).await),
        Request::JobHeartbeat(job, master) => {
            Answer::JobHeartbeat(leader.job_heartbeat(&job, master.as_ref()).await)
        }
        Request::Read(job) => {
            if !crate::planted::is("read-without-barrier") && log.read_barrier().await.is_err() {
                return Answer::Read(Err(()));
            }
            let state = replica.read();
            let held = state.jobs().get(&job).map(|job| job.allocations.iter().copied().collect());
            Answer::Read(Ok((state.revision(), held.unwrap_or_default())))
        }
        Request::Members(_) => unreachable!("only an engine has members"),
    }
}

async fn change_members(consensus: &Consensus, change: MemberChange) -> Result<u64, MembershipError> {
    let changed = match change {
        MemberChange::Add(place) => consensus.add_member(&api_addr(place), &peer_addr(place)).await,
        MemberChange::Promote(node_id) => consensus.promote(node_id).await,
        MemberChange::Remove(node_id) => consensus.remove(node_id).await,
        MemberChange::HandOver => consensus.transfer_leadership(None).await,
    };
    changed.map(|member| member.node_id)
}
