//! Slotkeeper servers on loopback, driven by `slotkeeper bench`.
//!
//! Promises: the servers run as an operator would start them, with full durability; only documented commands are used.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::figures::Figures;
use crate::processes::{Process, free_port};

type Failed = Box<dyn Error>;

const READY_DEADLINE: Duration = Duration::from_secs(60);

/// The cluster.
pub struct Slotkeeper {
    binary: PathBuf,
    folder: TempDir,
    nodes: Vec<Node>,
}

/// One server.
pub struct Node {
    pub api_addr: String,
    pub peer_addr: String,
    args: Vec<String>,
    pub process: Option<Process>,
}

impl Slotkeeper {
    /// Starts three servers and waits until they serve. `settings` are given to `slotkeeper settings set`.
    pub async fn start(binary: PathBuf, folder: TempDir, settings: &[&str]) -> Result<Self, Failed> {
        let mut cluster = Self { binary, folder, nodes: Vec::new() };
        for number in 0..3 {
            let node = cluster.node(number)?;
            cluster.nodes.push(node);
        }
        let peers: Vec<String> = cluster.nodes.iter().map(|node| node.peer_addr.clone()).collect();
        for number in 0..3 {
            cluster.nodes[number].args.extend(["--initial-cluster".to_owned(), peers.join(",")]);
            cluster.start_node(number)?;
        }
        cluster.wait_until_whole().await?;
        let mut set = vec!["settings", "set"];
        set.extend(settings);
        if !settings.is_empty() {
            cluster.command(&set).await?;
        }
        Ok(cluster)
    }

    fn node(&self, number: usize) -> Result<Node, Failed> {
        let api_addr = format!("127.0.0.1:{}", free_port()?);
        let peer_addr = format!("127.0.0.1:{}", free_port()?);
        let data = self.folder.path().join(format!("data-{number}")).display().to_string();
        let args = ["server", "--data-dir", &data, "--api-addr", &api_addr, "--peer-addr", &peer_addr];
        let args = args.into_iter().map(str::to_owned).collect();
        Ok(Node { api_addr, peer_addr, args, process: None })
    }

    /// Starts one more server, which joins as a learner, and gives its number.
    pub fn join(&mut self) -> Result<usize, Failed> {
        let number = self.nodes.len();
        let mut node = self.node(number)?;
        node.args.extend(["--join".to_owned(), self.nodes[0].api_addr.clone()]);
        self.nodes.push(node);
        self.start_node(number)?;
        Ok(number)
    }

    /// Starts a server that does not run.
    pub fn start_node(&mut self, number: usize) -> Result<(), Failed> {
        let log = self.folder.path().join(format!("server-{number}.log"));
        let node = &mut self.nodes[number];
        node.process = Some(Process::start(&self.binary, &node.args, &log)?);
        Ok(())
    }

    /// The servers.
    pub fn nodes(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// Where a server keeps its data.
    pub fn data_dir(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("data-{number}"))
    }

    fn servers(&self) -> String {
        let addresses: Vec<&str> = self.nodes.iter().map(|node| node.api_addr.as_str()).collect();
        addresses.join(",")
    }

    /// Runs a verb against the cluster and gives the JSON that it printed.
    pub async fn command(&self, args: &[&str]) -> Result<Value, Failed> {
        self.command_at(&self.servers(), args).await
    }

    /// The same against some servers only.
    pub async fn command_at(&self, servers: &str, args: &[&str]) -> Result<Value, Failed> {
        let output = self.line(servers, args).output().await?;
        json_of(&output).map_err(|problem| format!("{args:?}: {problem}").into())
    }

    fn line(&self, servers: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).args(["--output", "json", "--servers", servers]).kill_on_drop(true);
        command
    }

    /// Waits until every server is ready.
    pub async fn wait_until_whole(&self) -> Result<(), Failed> {
        let deadline = Instant::now() + READY_DEADLINE;
        for node in &self.nodes {
            while self.command_at(&node.api_addr, &["status", "--local"]).await.is_err() {
                if Instant::now() > deadline {
                    return Err(format!("{} does not serve", node.api_addr).into());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// The number of the server that leads.
    pub async fn leader(&self) -> Result<usize, Failed> {
        let members = self.command(&["members", "list"]).await?;
        let members = members["members"].as_array().or(members.as_array()).ok_or("no list of members")?;
        let leads = |member: &&Value| member["state"] == "leader";
        let address = members.iter().find(leads).and_then(|member| member["api_addr"].as_str());
        let found = self.nodes.iter().position(|node| Some(node.api_addr.as_str()) == address);
        found.ok_or_else(|| "no server leads".into())
    }

    /// The sum of a metric over all servers.
    pub async fn metric(&self, name: &str) -> Result<u64, Failed> {
        let mut sum = 0;
        for number in 0..self.nodes.len() {
            sum += self.metric_at(number, name).await?;
        }
        Ok(sum)
    }

    /// A metric of one server.
    pub async fn metric_at(&self, number: usize, name: &str) -> Result<u64, Failed> {
        let address = &self.nodes[number].api_addr;
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let mut values =
            answer.lines().filter_map(|line| line.split_once(' ').filter(|(found, _)| *found == name));
        let value = values.find_map(|(_, value)| value.parse().ok());
        value.ok_or_else(|| format!("{address} has no metric {name}").into())
    }

    /// The highest term of a server; each election makes it larger.
    pub async fn term(&self) -> Result<u64, Failed> {
        let mut term = 0;
        for number in 0..self.nodes.len() {
            term = term.max(self.metric_at(number, "slotkeeper_raft_term").await?);
        }
        Ok(term)
    }

    /// Resident memory of each server that runs, in bytes.
    pub fn memory(&self) -> Vec<u64> {
        let running = self.nodes.iter().filter_map(|node| node.process.as_ref());
        running.map(Process::memory_bytes).collect()
    }

    /// Processor time of all servers so far.
    fn cpu(&self) -> Duration {
        self.nodes.iter().filter_map(|node| node.process.as_ref()).map(Process::cpu).sum()
    }

    /// Runs `slotkeeper bench` with `args` and gives its report.
    pub async fn bench(&self, args: &[&str]) -> Result<Value, Failed> {
        let mut all = vec!["bench"];
        all.extend(args);
        self.command(&all).await
    }

    /// Starts `slotkeeper bench` with `args`, so that something can be looked at meanwhile.
    pub fn started_bench(&self, args: &[&str]) -> Result<Child, Failed> {
        let mut all = vec!["bench"];
        all.extend(args);
        Ok(self.line(&self.servers(), &all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    /// Waits for what [`Self::started_bench`] has started, and gives its report.
    pub async fn report_of(started: Child) -> Result<Value, Failed> {
        Ok(json_of(&started.wait_with_output().await?)?)
    }

    /// Runs `slotkeeper bench` and gives its figures.
    pub async fn load(&self, args: &[&str]) -> Result<Figures, Failed> {
        let cpu = self.cpu();
        let mut figures = figures(&self.bench(args).await?);
        figures.server_cpu = self.cpu().saturating_sub(cpu);
        Ok(figures)
    }

    /// The figures of a load while which the leader is killed; then the leader is started again.
    pub async fn fail_over(&mut self, args: &[&str], after: Duration) -> Result<Figures, Failed> {
        let leader = self.leader().await?;
        let mut process = self.nodes[leader].process.take().ok_or("the leader does not run")?;
        let killing = async {
            tokio::time::sleep(after).await;
            process.kill();
        };
        let (report, ()) = tokio::join!(self.bench(args), killing);
        self.start_node(leader)?;
        self.wait_until_whole().await?;
        Ok(figures(&report?))
    }
}

/// The JSON that a command printed, or why it failed.
fn json_of(output: &Output) -> Result<Value, String> {
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
}

/// What is compared of a report of `slotkeeper bench`.
pub fn figures(report: &Value) -> Figures {
    let operation = &report["operations"][0];
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let errors = report["errors"].as_object().into_iter().flatten();
    Figures {
        per_second: number(&operation["per_second"]),
        p50_ms: number(&operation["latency_ms"]["p50"]),
        p99_ms: number(&operation["latency_ms"]["p99"]),
        longest_gap_ms: number(&report["longest_gap_ms"]),
        count: operation["count"].as_u64().unwrap_or_default(),
        errors: errors.filter_map(|(_, count)| count.as_u64()).sum(),
        server_cpu: Duration::ZERO,
    }
}
