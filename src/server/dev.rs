//! `slotkeeper dev`: a whole cluster in one process, to try things out.
//!
//! What it promises: three full replicas with real sockets, real logs and folders of their own, and a few TaskManagers
//! that start nothing; everything stays on loopback; a temporary folder is removed at the end. What it must not do:
//! anything that a real server does not do.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use tempfile::TempDir;

use super::config::{ClusterStart, Endpoint, ServerConfig};
use super::dev_ports::{self, DevServer};
use super::exit::ServerError;
use super::node::{Listeners, Node, NodeSeams};
use super::options::{LogFormatOption, ServerOptions};
use super::run::{THREADS_DEADLINE, listen, runtime, system_seams};
use super::signals::StopSignals;
use super::{config, panic_hook};
use crate::agent::{Agent, AgentConfig, AgentHandle, AgentState, NoHooks, Surroundings, new_session_id};
use crate::api::task_managers::RegisterTaskManager;
use crate::client::{Client, ClientOptions, Seams};
use crate::domain::{TaskManagerId, TaskManagerSession};

/// Replicas of a development cluster.
const SERVERS: u16 = 3;
/// What the log lets through unless it is said: only what needs a person, because the terminal is for trying out.
const QUIET_FILTER: &str = "error,slotkeeper=warn";
/// How long the cluster may take to serve.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// The options of `slotkeeper dev`.
#[derive(Debug, Clone, clap::Args)]
pub struct DevOptions {
    /// Folder that keeps the data of all servers [default: a temporary one, removed at the end]
    #[arg(long, env = "SLOTKEEPER_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// API port of the first server; the others follow. Where one is taken, and with 0, free ports are used
    #[arg(long, value_name = "PORT", default_value_t = 7400)]
    pub port: u16,
    /// How many TaskManagers
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub task_managers: u32,
    /// Slots of each TaskManager
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub slots: u32,
    /// How lines of the log look
    #[arg(long, env = "SLOTKEEPER_LOG_FORMAT", value_name = "FORMAT", default_value = "human")]
    pub log_format: LogFormatOption,
    /// What the log lets through, for example `slotkeeper=info`
    #[arg(long, env = "SLOTKEEPER_LOG", value_name = "FILTER", default_value = QUIET_FILTER)]
    pub log: String,
}

/// What there is to try.
#[derive(Debug, Clone)]
pub struct DevCluster {
    /// The servers.
    pub servers: Vec<DevServer>,
    /// The TaskManagers' ids.
    pub task_managers: Vec<String>,
    /// Where the data is.
    pub data_dir: PathBuf,
    /// Whether the data is removed at the end.
    pub is_temporary: bool,
}

/// Runs a cluster until it is asked to stop or a replica can not go on. Blocks. Calls `ready` once the cluster serves.
///
/// # Errors
/// Why it did not start or did not go on; [`ServerError::exit_status`] is the status to exit with.
pub fn run(options: DevOptions, ready: impl FnOnce(&DevCluster)) -> Result<(), ServerError> {
    config::init_log(config::log_format(options.log_format), &options.log)?;
    panic_hook::install();
    let runtime = runtime(None)?;
    let ended = runtime.block_on(async {
        let mut signals = listen()?;
        let dev = tokio::select! {
            started = Dev::start(&options) => started?,
            _ = signals.next() => return Ok(()),
        };
        ready(&dev.cluster);
        dev.until_end(&mut signals).await
    });
    runtime.shutdown_timeout(THREADS_DEADLINE);
    ended
}

/// A running development cluster.
pub struct Dev {
    cluster: DevCluster,
    nodes: Vec<Node>,
    agents: Vec<AgentHandle>,
    /// Removed when it is dropped.
    _temporary: Option<TempDir>,
}

impl fmt::Debug for Dev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cluster.fmt(f)
    }
}

impl Dev {
    /// Starts a cluster of three servers in the runtime of the caller; it serves when this returns.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn start(options: &DevOptions) -> Result<Self, ServerError> {
        let (data_dir, temporary) = folder(options)?;
        let servers = dev_ports::addresses(&data_dir, SERVERS, options.port)?;
        let seams = system_seams();
        let peers: Vec<String> = servers.iter().map(|server| server.peer_addr.clone()).collect();
        let starting = servers.iter().zip(1..).map(|(server, number)| {
            let folder = data_dir.join(format!("server-{number}"));
            start_node(server.clone(), folder, (peers.clone(), seams.clone()))
        });
        let started = tokio::time::timeout(READY_DEADLINE, async {
            let nodes = try_join_all(starting).await?;
            let agents = start_agents(options, &servers, &seams).await?;
            Ok::<_, ServerError>((nodes, agents))
        });
        let (nodes, agents) = started.await.map_err(|_| {
            ServerError::Unavailable(format!("the cluster does not serve after {READY_DEADLINE:?}"))
        })??;
        let task_managers = agents.iter().map(|agent| agent.view().task_manager_id).collect();
        let is_temporary = temporary.is_some();
        let cluster = DevCluster { servers, task_managers, data_dir, is_temporary };
        Ok(Self { cluster, nodes, agents, _temporary: temporary })
    }

    async fn until_end(self, signals: &mut StopSignals) -> Result<(), ServerError> {
        let failing = futures::future::select_all(self.nodes.iter().map(|node| Box::pin(node.failed())));
        let failed = tokio::select! {
            (error, ..) = failing => Some(error),
            _ = signals.next() => None,
        };
        if let Some(error) = failed {
            return Err(error);
        }
        tokio::select! {
            () = self.stop() => {}
            // Asked again: the rest is cut off.
            _ = signals.next() => {}
        }
        Ok(())
    }

    /// What there is.
    pub fn cluster(&self) -> &DevCluster {
        &self.cluster
    }

    /// Stops everything in order.
    pub async fn stop(self) {
        join_all(self.agents.into_iter().map(AgentHandle::leave)).await;
        join_all(self.nodes.into_iter().map(Node::stop)).await;
    }
}

fn folder(options: &DevOptions) -> Result<(PathBuf, Option<TempDir>), ServerError> {
    let refused =
        |error: std::io::Error| ServerError::Unavailable(format!("no folder for the data: {error}"));
    match &options.data_dir {
        Some(path) => {
            std::fs::create_dir_all(path).map_err(refused)?;
            Ok((path.clone(), None))
        }
        None => {
            let temporary = tempfile::Builder::new().prefix("slotkeeper-dev-").tempdir().map_err(refused)?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}

async fn start_node(
    server: DevServer,
    folder: PathBuf,
    (peers, seams): (Vec<String>, NodeSeams),
) -> Result<Node, ServerError> {
    let endpoint = |address: String| Endpoint { listen: address.clone(), advertise: address };
    let defaults =
        ServerConfig::from_options(ServerOptions { data_dir: Some(folder), ..Default::default() })?;
    let config = ServerConfig {
        api: endpoint(server.api_addr),
        peer: endpoint(server.peer_addr),
        start: ClusterStart::InitialCluster(peers),
        // A cluster to try things out needs little room.
        free_space_floor_bytes: Some(64 << 20),
        ..defaults
    };
    let listeners = Listeners::bind(&config, seams.transport.as_ref()).await?;
    Node::start(config, listeners, seams).await
}

async fn start_agents(
    options: &DevOptions,
    servers: &[DevServer],
    seams: &NodeSeams,
) -> Result<Vec<AgentHandle>, ServerError> {
    let (clock, random) = (seams.clock.clone(), seams.random.clone());
    let client_seams = Seams::new(move || clock.now(), move || random());
    let client_options = ClientOptions::new(servers.iter().map(|server| server.api_addr.clone()));
    let client =
        Client::new(client_options, client_seams).map_err(|error| ServerError::Broken(error.to_string()))?;
    let surroundings = Surroundings { client, clock: seams.clock.clone(), random: seams.random.clone() };
    try_join_all((1..=options.task_managers).map(|number| {
        let (surroundings, random) = (surroundings.clone(), seams.random.clone());
        start_agent((number, options.slots), surroundings, new_session_id(move || random()))
    }))
    .await
}

/// Starts a TaskManager and waits until it is registered.
async fn start_agent(
    (number, slots): (u32, u32),
    surroundings: Surroundings,
    session: String,
) -> Result<AgentHandle, ServerError> {
    let valid = "the names of development TaskManagers are valid";
    let id = format!("tm-{number}");
    let registration = RegisterTaskManager {
        task_manager_id: TaskManagerId::new(&id).expect(valid),
        session_id: TaskManagerSession::new(&session).expect(valid),
        address: id,
        slots: Some(slots),
        total_profile: None,
        slot_profile: None,
        labels: Default::default(),
    };
    let started = Agent::start(AgentConfig::new(registration), surroundings, Arc::new(NoHooks)).await;
    let agent = started.map_err(|error| ServerError::Broken(error.to_string()))?;
    let mut view = agent.watch();
    let registered = view.wait_for(|view| view.state == AgentState::Registered).await;
    registered.map_err(|_| ServerError::Broken(format!("the agent of tm-{number} has ended")))?;
    Ok(agent)
}
