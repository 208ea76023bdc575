//! Three etcd nodes on loopback, and a load on them: one compare-and-put transaction per slot, over gRPC to the leader.
//!
//! Promises: etcd runs with its defaults and full durability; the clients share up to a hundred connections, which is how
//! etcd's own benchmark does best; a latency is measured like that of `slotkeeper bench`, in the open loop from when a
//! transaction was due. Must not: repeat a transaction whose outcome is open.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use http::uri::PathAndQuery;
use tempfile::TempDir;
use tokio::task::LocalSet;
use tonic::client::Grpc;
use tonic::codec::ProstCodec;
use tonic::transport::{Channel, Endpoint};

use crate::figures::Figures;
use crate::processes::{Process, free_port};
use crate::wire::{StatusRequest, StatusResponse, TxnRequest, TxnResponse, take_slot};

type Failed = Box<dyn Error>;

const CONNECTIONS_MAX: usize = 100;
const READY_DEADLINE: Duration = Duration::from_secs(60);
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// The same while a leader is killed: a follower passes requests on to the dead leader until it notices, and whoever waits for
/// those waits for etcd's own limit of seven seconds, long after others are served.
const FAIL_OVER_LIMIT: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(5);
/// What stands under the key of a taken slot: about what a holder needs to know.
const HOLDER: &[u8] = b"{\"job_id\":\"bench-job\",\"fencing_token\":1}";

/// The cluster.
pub struct Etcd {
    folder: TempDir,
    nodes: Vec<Node>,
    /// Slots that were asked for; each transaction takes the next one.
    slots: Rc<Cell<u64>>,
}

struct Node {
    address: String,
    args: Vec<String>,
    process: Option<Process>,
}

impl Etcd {
    /// Starts three nodes and waits until they have a leader.
    pub async fn start(folder: TempDir) -> Result<Self, Failed> {
        let ports: Vec<(u16, u16)> =
            (0..3).map(|_| Ok((free_port()?, free_port()?))).collect::<std::io::Result<_>>()?;
        let peers: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(number, (_, peer))| format!("n{number}=http://127.0.0.1:{peer}"))
            .collect();
        let nodes = ports.iter().enumerate().map(|(number, (client, peer))| {
            let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
            let data = folder.path().join(format!("data-{number}")).display().to_string();
            let args = [
                ("--name", format!("n{number}")),
                ("--data-dir", data),
                ("--listen-client-urls", client.clone()),
                ("--advertise-client-urls", client.clone()),
                ("--listen-peer-urls", peer.clone()),
                ("--initial-advertise-peer-urls", peer),
                ("--initial-cluster", peers.join(",")),
                ("--initial-cluster-state", "new".to_owned()),
                ("--quota-backend-bytes", (8_u64 << 30).to_string()),
            ];
            let args = args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
            Node { address: client, args, process: None }
        });
        let nodes = nodes.collect();
        let mut cluster = Self { folder, nodes, slots: Rc::new(Cell::new(0)) };
        for number in 0..3 {
            cluster.start_node(number)?;
        }
        cluster.wait_until_whole().await?;
        Ok(cluster)
    }

    fn start_node(&mut self, number: usize) -> Result<(), Failed> {
        let log = self.folder.path().join(format!("node-{number}.log"));
        let node = &mut self.nodes[number];
        node.process = Some(Process::start(&PathBuf::from("etcd"), &node.args, &log)?);
        Ok(())
    }

    /// Waits until every node knows the leader.
    pub async fn wait_until_whole(&self) -> Result<(), Failed> {
        let deadline = Instant::now() + READY_DEADLINE;
        'look: loop {
            if Instant::now() > deadline {
                return Err("etcd has no leader".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            for node in &self.nodes {
                match status(&node.address).await {
                    Ok(status) if status.leader != 0 => {}
                    _ => continue 'look,
                }
            }
            return Ok(());
        }
    }

    /// The number of the node that leads.
    async fn leader(&self) -> Result<usize, Failed> {
        for (number, node) in self.nodes.iter().enumerate() {
            let Ok(status) = status(&node.address).await else { continue };
            if status.header.is_some_and(|header| header.member_id == status.leader) {
                return Ok(number);
            }
        }
        Err("no etcd node leads".into())
    }

    /// Processor time of all nodes so far.
    fn cpu(&self) -> Duration {
        self.nodes.iter().filter_map(|node| node.process.as_ref()).map(Process::cpu).sum()
    }

    /// Has `clients` take slots, each one after the other; with a `rate` so many a second, however long they take.
    pub async fn load(&self, clients: usize, seconds: f64, rate: Option<f64>) -> Result<Figures, Failed> {
        let leader = self.leader().await?;
        let cpu = self.cpu();
        let asked = Asked { clients, seconds, rate, limit: REQUEST_LIMIT };
        let mut figures = self.load_from(leader, asked).await?;
        figures.server_cpu = self.cpu().saturating_sub(cpu);
        Ok(figures)
    }

    /// The longest time without a success while `clients` take slots and the leader is killed; then the leader is
    /// started again.
    pub async fn fail_over(&mut self, clients: usize, seconds: f64) -> Result<Figures, Failed> {
        let leader = self.leader().await?;
        let mut process = self.nodes[leader].process.take().ok_or("the leader does not run")?;
        let killing = async {
            tokio::time::sleep(Duration::from_secs_f64(1.0 + seconds / 4.0)).await;
            process.kill();
        };
        let asked = Asked { clients, seconds, rate: None, limit: FAIL_OVER_LIMIT };
        let (figures, ()) = tokio::join!(self.load_from(leader, asked), killing);
        self.start_node(leader)?;
        self.wait_until_whole().await?;
        figures
    }

    async fn load_from(&self, leader: usize, asked: Asked) -> Result<Figures, Failed> {
        let Asked { clients, seconds, rate, limit } = asked;
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.address.clone()).collect();
        let connections = clients.min(CONNECTIONS_MAX);
        let starts = Instant::now();
        let counts = starts + Duration::from_secs(1);
        let ends = counts + Duration::from_secs_f64(seconds);
        let pace = rate.map(|rate| Pace { starts, rate, tickets: Rc::default() });
        let tally = Rc::new(RefCell::new(Tally::new(counts)));
        let all = LocalSet::new();
        let mut shared = Vec::new();
        for _ in 0..connections {
            let channels: Result<Vec<Channel>, Failed> = addresses.iter().map(|text| channel(text)).collect();
            shared.push(channels?);
        }
        for number in 0..clients {
            let client = Client {
                channels: shared[number % connections].clone(),
                at: leader,
                slots: Rc::clone(&self.slots),
                tally: Rc::clone(&tally),
                window: (counts, ends),
                pace: pace.clone(),
                limit,
            };
            all.spawn_local(client.run());
        }
        all.await;
        let tally = tally.borrow();
        Ok(tally.figures(Instant::now()))
    }
}

fn channel(address: &str) -> Result<Channel, Failed> {
    let endpoint = Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true);
    Ok(endpoint.connect_timeout(Duration::from_secs(1)).connect_lazy())
}

async fn status(address: &str) -> Result<StatusResponse, Failed> {
    let mut grpc = Grpc::new(channel(address)?);
    let asked = async {
        grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/etcdserverpb.Maintenance/Status");
        let codec = ProstCodec::<StatusRequest, StatusResponse>::default();
        grpc.unary(tonic::Request::new(StatusRequest {}), path, codec).await
    };
    Ok(tokio::time::timeout(Duration::from_secs(1), asked).await??.into_inner())
}

/// A load.
struct Asked {
    clients: usize,
    seconds: f64,
    /// Transactions a second of an open loop.
    rate: Option<f64>,
    /// How long one transaction may take.
    limit: Duration,
}

/// When the transactions of an open loop are due.
#[derive(Clone)]
struct Pace {
    starts: Instant,
    rate: f64,
    /// The number of the next transaction, of all clients.
    tickets: Rc<Cell<u64>>,
}

impl Pace {
    /// When the next transaction is due.
    fn next(&self) -> Instant {
        let ticket = self.tickets.get();
        self.tickets.set(ticket + 1);
        self.starts + Duration::from_secs_f64(ticket as f64 / self.rate)
    }
}

struct Client {
    channels: Vec<Channel>,
    at: usize,
    slots: Rc<Cell<u64>>,
    tally: Rc<RefCell<Tally>>,
    window: (Instant, Instant),
    pace: Option<Pace>,
    /// How long one transaction may take.
    limit: Duration,
}

impl Client {
    async fn run(mut self) {
        let (counts, ends) = self.window;
        while Instant::now() < ends {
            let due = self.pace.as_ref().map(Pace::next);
            if let Some(due) = due {
                tokio::time::sleep_until(due.min(ends).into()).await;
                if Instant::now() >= ends {
                    return;
                }
            }
            let slot = self.slots.get();
            self.slots.set(slot + 1);
            let begun = Instant::now();
            let taken = tokio::time::timeout(self.limit, self.take(slot)).await;
            let now = Instant::now();
            let is_taken = matches!(taken, Ok(Ok(true)));
            let counts_here = if due.is_some() { now >= counts } else { begun >= counts };
            if counts_here {
                self.tally.borrow_mut().add(is_taken, now, now - due.unwrap_or(begun));
            }
            if !is_taken {
                self.at = (self.at + 1) % self.channels.len();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn take(&self, slot: u64) -> Result<bool, tonic::Status> {
        let mut grpc = Grpc::new(self.channels[self.at].clone());
        grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let request = take_slot(format!("slots/{slot:012}").into_bytes(), HOLDER);
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Txn");
        let codec = ProstCodec::<TxnRequest, TxnResponse>::default();
        Ok(grpc.unary(tonic::Request::new(request), path, codec).await?.into_inner().succeeded)
    }
}

struct Tally {
    began: Instant,
    latencies_us: Histogram<u64>,
    missed: u64,
    last: Instant,
    longest_gap: Duration,
}

impl Tally {
    fn new(began: Instant) -> Self {
        let latencies_us = Histogram::new(3).expect("three digits are a valid precision");
        Self { began, latencies_us, missed: 0, last: began, longest_gap: Duration::ZERO }
    }

    fn add(&mut self, is_taken: bool, now: Instant, took: Duration) {
        if !is_taken {
            self.missed += 1;
            return;
        }
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, 3_600_000_000);
        self.latencies_us.record(took_us).expect("the histogram grows by itself");
        self.longest_gap = self.longest_gap.max(now - self.last);
        self.last = now;
    }

    fn figures(&self, end: Instant) -> Figures {
        let at = |quantile| self.latencies_us.value_at_quantile(quantile) as f64 / 1e3;
        Figures {
            per_second: self.latencies_us.len() as f64 / (end - self.began).as_secs_f64(),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            longest_gap_ms: self.longest_gap.max(end - self.last).as_secs_f64() * 1e3,
            count: self.latencies_us.len(),
            errors: self.missed,
            server_cpu: Duration::ZERO,
        }
    }
}
