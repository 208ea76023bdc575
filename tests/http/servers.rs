//! Three whole servers: nothing is replaced, the log is Raft's.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use slotkeeper::clock::SystemClock;
use slotkeeper::consensus::{TcpTransport, Transport};
use slotkeeper::server::{Listeners, Node, NodeSeams, ServerConfig, ServerOptions};
use slotkeeper::storage::{DataDir, DataDirOptions};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::api::Api;

struct Servers {
    nodes: Vec<Option<Node>>,
    apis: Vec<Api>,
    _folder: TempDir,
}

fn config(folder: &Path, initial_cluster: Vec<String>, own_peer: &str) -> ServerConfig {
    let options = ServerOptions {
        data_dir: Some(folder.to_path_buf()),
        api_addr: Some("127.0.0.1:0".to_owned()),
        peer_addr: Some(own_peer.to_owned()),
        initial_cluster: Some(initial_cluster),
        ..ServerOptions::default()
    };
    ServerConfig::from_options(options).unwrap()
}

impl Servers {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let transport: Arc<dyn Transport> = Arc::new(TcpTransport);
        let mut listeners = Vec::new();
        for _ in 0..3 {
            let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listeners.push(Listeners { api, peer: transport.listen("127.0.0.1:0").await.unwrap() });
        }
        let peers: Vec<_> =
            listeners.iter().map(|listeners| listeners.peer.address().unwrap().to_string()).collect();
        let seed = Arc::new(AtomicU64::new(1));
        let starts = listeners.into_iter().enumerate().map(|(index, listeners)| {
            let config = config(&folder.path().join(index.to_string()), peers.clone(), &peers[index]);
            let seed = seed.clone();
            let random =
                Arc::new(move || seed.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let seams = NodeSeams {
                clock: Arc::new(SystemClock),
                transport: transport.clone(),
                random,
                serving: None,
            };
            Node::start(config, listeners, seams)
        });
        let nodes: Vec<_> = futures::future::join_all(starts).await.into_iter().map(Result::unwrap).collect();
        let apis = nodes.iter().map(|node| Api::new(node.api_addr().parse().unwrap())).collect();
        Self { nodes: nodes.into_iter().map(Some).collect(), apis, _folder: folder }
    }

    /// Polls `/readyz` of server `index` until it answers with `status`.
    async fn readiness(&self, index: usize, status: u16) -> Duration {
        let began = Instant::now();
        while self.apis[index].get("/readyz").await.status != status {
            assert!(began.elapsed() < Duration::from_secs(30), "server {index} never says {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }

    async fn leader(&self) -> usize {
        let status = self.apis[0].get("/v1/cluster").await.expect(200).json();
        let member = |index: usize| {
            let address = self.nodes[index].as_ref().map(Node::api_addr);
            let members = status["members"].as_array().unwrap();
            let found = members.iter().find(|member| member["api_addr"].as_str() == address);
            found.map(|member| member["node_id"] == status["leader_id"])
        };
        (0..3).find(|index| member(*index) == Some(true)).expect("a server leads")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_dropped_lets_go_of_its_data_and_its_ports() {
    let folder = tempfile::tempdir().unwrap();
    let transport: Arc<dyn Transport> = Arc::new(TcpTransport);
    let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listeners = Listeners { api, peer: transport.listen("127.0.0.1:0").await.unwrap() };
    let peer = listeners.peer.address().unwrap().to_string();
    let config = config(folder.path(), vec![peer.clone()], &peer);
    let seed = AtomicU64::new(1);
    let random = Arc::new(move || seed.fetch_add(1, Ordering::Relaxed));
    let seams = NodeSeams { clock: Arc::new(SystemClock), transport, random, serving: None };
    let node = Node::start(config, listeners, seams).await.unwrap();
    let address = node.api_addr().to_owned();
    Api::new(address.parse().unwrap()).put("/v1/jobs/job", json!({})).await.expect(201);
    drop(node);
    let options = || DataDirOptions {
        free_space_floor_bytes: Some(0),
        ..DataDirOptions::new(|| uuid::Uuid::from_u128(2))
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut held = vec!["the API port", "the peer port", "the data directory"];
    while !held.is_empty() {
        assert!(Instant::now() < deadline, "still held: {held:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
        held.retain(|what| match *what {
            "the API port" => std::net::TcpListener::bind(&address).is_err(),
            "the peer port" => std::net::TcpListener::bind(&peer).is_err(),
            _ => DataDir::open(folder.path(), options()).is_err(),
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_serve_one_state_and_notice_the_loss_of_the_quorum() {
    let mut servers = Servers::start().await;
    for index in 0..3 {
        servers.readiness(index, 200).await;
    }
    servers.apis[1].register("tm-1", 2).await;
    servers.apis[2].job("job").await;
    let key = [("idempotency-key", "k1")];
    let path = "/v1/jobs/job/allocations";
    let first = servers.apis[0].call(Method::POST, path, &key, "{\"slots\":1}").await.expect(200);
    for api in &servers.apis {
        let again = api.call(Method::POST, path, &key, "{\"slots\":1}").await.expect(200);
        assert_eq!((again.header("slotkeeper-replayed"), &again.text), ("true", &first.text));
        let revision = first.header("slotkeeper-revision");
        let stale = api.get(&format!("/v1/overview?consistency=stale&min_revision={revision}")).await;
        assert_eq!(stale.expect(200).json()["slots_allocated"], 1);
    }
    let cluster = servers.apis[0].get("/v1/cluster").await.expect(200).json();
    let members = cluster["members"].as_array().unwrap();
    assert!(members.iter().all(|member| member["state_hash"] == members[0]["state_hash"]), "{cluster}");

    let old = servers.leader().await;
    let next = (old + 1) % 3;
    let node_id = servers.apis[next].get("/livez").await.header("slotkeeper-node").parse::<u64>().unwrap();
    let moved =
        servers.apis[old].post("/v1/cluster/transfer-leadership", json!({"to": node_id})).await.expect(200);
    assert_eq!(moved.json()["leader_id"], node_id);
    servers.apis[old].put("/v1/jobs/job-2", json!({})).await.expect(201);

    // The leader stops; the others go on.
    servers.nodes[next].take().unwrap().stop().await;
    let left: Vec<usize> = (0..3).filter(|index| *index != next).collect();
    let again = servers.apis[left[0]].call(Method::POST, path, &key, "{\"slots\":1}").await.expect(200);
    assert_eq!(again.text, first.text, "what was acknowledged is still there");
    servers.readiness(left[0], 200).await;

    servers.nodes[left[1]].take().unwrap().stop().await;
    let noticed = servers.readiness(left[0], 503).await;
    assert!(noticed < Duration::from_secs(2), "the loss of the quorum was noticed after {noticed:?}");
    assert_eq!(servers.apis[left[0]].get("/v1/overview").await.expect(503).code(), "no_leader");
    let stale = servers.apis[left[0]].get("/v1/overview?consistency=stale").await.expect(200);
    assert!(stale.headers.get("slotkeeper-leader").is_none(), "a leader that nobody hears is named");
    let cluster = servers.apis[left[0]].get("/v1/cluster?consistency=stale").await.expect(200).json();
    assert_eq!(cluster["leader_id"], serde_json::Value::Null, "{cluster}");
    let never = [("slotkeeper-forward", "never")];
    let refused = servers.apis[left[0]].call(Method::PUT, "/v1/jobs/job", &never, "{}").await.expect(503);
    assert_eq!(refused.code(), "no_leader");
}
