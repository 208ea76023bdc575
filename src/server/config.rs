//! The configuration of one server, checked as a whole.
//!
//! What it promises: a `ServerConfig` that exists is complete and consistent in itself; every refusal names the option
//! and says what to write instead. What it must not do: touch the disk or the network (a taken port or a foreign data
//! directory shows when the server starts), or hold anything that must be equal on all servers and may change while
//! they run: that is `domain/settings.rs`.

use std::path::PathBuf;
use std::time::Duration;

use super::options::{LogFormatOption, ProfileOption, ServerOptions};
use super::values::{host_and_port, is_wildcard};
use crate::telemetry::log::{self, LogFormat};

/// Most members that a cluster can be formed with.
pub const INITIAL_MEMBERS_MAX: usize = 9;
/// Bounds of both queues of the leader.
const QUEUE_LENGTHS: std::ops::RangeInclusive<u32> = 16..=1_000_000;
/// Bounds of the entries between two snapshots.
const SNAPSHOT_INTERVALS: std::ops::RangeInclusive<u64> = 100..=1_000_000;

/// Bounds of the connections of clients.
const CONNECTIONS: std::ops::RangeInclusive<u32> = 16..=1_000_000;
/// Bounds of the threads that serve.
const WORKER_THREADS: std::ops::RangeInclusive<u32> = 1..=1024;

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file can not be used.
    #[error("the configuration file {}: {problem}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong, with the line where there is one.
        problem: String,
    },
    /// An option is missing or can not be what it is.
    #[error("{option}: {problem}")]
    Option {
        /// The option as a flag.
        option: &'static str,
        /// What is wrong, and what to write instead.
        problem: String,
    },
}

fn refused(option: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Option { option, problem: problem.into() }
}

/// An address to listen on and the one to tell others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `HOST:PORT` to bind.
    pub listen: String,
    /// `HOST:PORT` under which others reach it. With port 0 the bound port takes its place.
    pub advertise: String,
}

impl Endpoint {
    /// The address to tell others when the listener is bound to `port`.
    pub fn advertised_on(&self, port: u16) -> String {
        match host_and_port(&self.advertise) {
            Ok((host, 0)) => format!("{host}:{port}"),
            _ => self.advertise.clone(),
        }
    }
}

/// How the server comes to its cluster when its data directory is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterStart {
    /// It forms one with these peers.
    InitialCluster(Vec<String>),
    /// It joins the cluster of this API address as a learner.
    Join(String),
    /// It must not be empty.
    Existing,
}

/// The configuration of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// All data of this server.
    pub data_dir: PathBuf,
    /// The API of clients.
    pub api: Endpoint,
    /// The Raft traffic.
    pub peer: Endpoint,
    /// What to do with an empty data directory.
    pub start: ClusterStart,
    /// The member whose place this server takes.
    pub replace: Option<u64>,
    /// Raft timings.
    pub profile: ProfileOption,
    /// How lines of the log look.
    pub log_format: LogFormat,
    /// What the log lets through; empty is the default.
    pub log_filter: String,
    /// Free space that the disk must have, in bytes; `None` is the larger of 512 MiB and four times the data.
    pub free_space_floor_bytes: Option<u64>,
    /// Requests that may wait for a round.
    pub queue_length: u32,
    /// Allocation requests that may wait for capacity.
    pub waiting_length: u32,
    /// How long a request may take.
    pub submission_deadline: Duration,
    /// Least log entries between two snapshots.
    pub snapshot_interval_entries: u64,
    /// Connections of clients at once, in all and from one address, because workers behind one address share it.
    pub connections_max: u32,
    /// Threads that serve; `None` is one per processor and at least 2.
    pub worker_threads: Option<u32>,
    /// How long stopping may take.
    pub stop_deadline: Duration,
}

impl ServerConfig {
    /// Checks `options`, which hold all places already.
    ///
    /// # Errors
    /// The first option that is missing or can not be what it is.
    pub fn from_options(options: ServerOptions) -> Result<Self, ConfigError> {
        let data_dir = options
            .data_dir
            .filter(|path| !path.as_os_str().is_empty())
            .ok_or_else(|| refused("--data-dir", "is missing; name a folder for this server's data"))?;
        let api = endpoint("--api-addr", options.api_addr, options.advertise_api_addr, "127.0.0.1:7400")?;
        let peer = endpoint("--peer-addr", options.peer_addr, options.advertise_peer_addr, "127.0.0.1:7401")?;
        if api.listen == peer.listen && !api.listen.ends_with(":0") {
            return Err(refused("--peer-addr", format!("must differ from --api-addr ({})", api.listen)));
        }
        let start = cluster_start(&peer, options.initial_cluster, options.join)?;
        if options.replace.is_some() && matches!(start, ClusterStart::InitialCluster(_)) {
            return Err(refused("--replace", "goes with --join, not with --initial-cluster"));
        }
        Ok(Self {
            data_dir,
            api,
            peer,
            start,
            replace: options.replace,
            profile: options.profile.unwrap_or_default(),
            log_format: log_format(options.log_format.unwrap_or_default()),
            log_filter: options.log.unwrap_or_default(),
            free_space_floor_bytes: options.free_space_floor.map(|size| size.0),
            queue_length: within("--queue-length", options.queue_length, 8_192, QUEUE_LENGTHS)?,
            waiting_length: within("--waiting-length", options.waiting_length, 8_192, QUEUE_LENGTHS)?,
            submission_deadline: duration(
                "--submission-deadline",
                options.submission_deadline.map(|text| text.0),
            )?,
            snapshot_interval_entries: within(
                "--snapshot-interval",
                options.snapshot_interval,
                5_000,
                SNAPSHOT_INTERVALS,
            )?,
            connections_max: within("--connections-max", options.connections_max, 16_384, CONNECTIONS)?,
            worker_threads: options
                .worker_threads
                .map(|count| within("--worker-threads", Some(count), count, WORKER_THREADS))
                .transpose()?,
            stop_deadline: duration("--stop-deadline", options.stop_deadline.map(|text| text.0))?,
        })
    }
}

/// Sets up the log of this process.
///
/// # Errors
/// A filter that does not parse.
pub(super) fn init_log(format: LogFormat, filter: &str) -> Result<(), ConfigError> {
    log::init(format, filter).map_err(|error| refused("--log", error.to_string()))
}

/// The format that an option names.
pub(super) fn log_format(option: LogFormatOption) -> LogFormat {
    match option {
        LogFormatOption::Human => LogFormat::Human,
        LogFormatOption::Json => LogFormat::Json,
    }
}

fn endpoint(
    option: &'static str,
    listen: Option<String>,
    advertise: Option<String>,
    default: &str,
) -> Result<Endpoint, ConfigError> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let listen = given(listen).unwrap_or_else(|| default.to_owned());
    let advertise = given(advertise).unwrap_or_else(|| listen.clone());
    host_and_port(&listen).map_err(|problem| refused(option, problem))?;
    let (host, _) = host_and_port(&advertise).map_err(|problem| refused(option, problem))?;
    if is_wildcard(host) {
        let flag = option.trim_start_matches("--");
        let problem =
            format!("{listen} says nothing to others; add --advertise-{flag} with a name that they reach");
        return Err(refused(option, problem));
    }
    Ok(Endpoint { listen, advertise })
}

fn cluster_start(
    peer: &Endpoint,
    initial_cluster: Option<Vec<String>>,
    join: Option<String>,
) -> Result<ClusterStart, ConfigError> {
    let peers: Vec<String> =
        initial_cluster.unwrap_or_default().into_iter().filter(|p| !p.is_empty()).collect();
    let join = join.filter(|address| !address.is_empty());
    match (peers.is_empty(), join) {
        (true, None) => Ok(ClusterStart::Existing),
        (true, Some(address)) => {
            host_and_port(&address).map_err(|problem| refused("--join", problem))?;
            Ok(ClusterStart::Join(address))
        }
        (false, Some(_)) => {
            Err(refused("--join", "excludes --initial-cluster; a server forms a cluster or joins one"))
        }
        (false, None) => initial_members(peer, peers),
    }
}

fn initial_members(peer: &Endpoint, peers: Vec<String>) -> Result<ClusterStart, ConfigError> {
    const OPTION: &str = "--initial-cluster";
    for address in &peers {
        host_and_port(address).map_err(|problem| refused(OPTION, problem))?;
    }
    if peers.len() > INITIAL_MEMBERS_MAX {
        return Err(refused(OPTION, format!("has {} members; at most {INITIAL_MEMBERS_MAX}", peers.len())));
    }
    let twice = peers.iter().enumerate().find(|(position, address)| peers[..*position].contains(*address));
    if let Some((_, address)) = twice {
        return Err(refused(OPTION, format!("names {address} twice")));
    }
    if !peers.contains(&peer.advertise) {
        let problem = format!(
            "must name this server's own peer address {}; it has {}",
            peer.advertise,
            peers.join(", ")
        );
        return Err(refused(OPTION, problem));
    }
    Ok(ClusterStart::InitialCluster(peers))
}

fn within<N: PartialOrd + std::fmt::Display + Copy>(
    option: &'static str,
    given: Option<N>,
    default: N,
    range: std::ops::RangeInclusive<N>,
) -> Result<N, ConfigError> {
    let value = given.unwrap_or(default);
    if range.contains(&value) {
        return Ok(value);
    }
    Err(refused(option, format!("{value} is not within {} and {}", range.start(), range.end())))
}

fn duration(option: &'static str, given: Option<Duration>) -> Result<Duration, ConfigError> {
    let value = given.unwrap_or(Duration::from_secs(10));
    if (Duration::from_millis(100)..=Duration::from_secs(300)).contains(&value) {
        return Ok(value);
    }
    Err(refused(option, "must be 100ms to 5m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ServerOptions {
        ServerOptions { data_dir: Some("data".into()), ..Default::default() }
    }

    fn problem(options: ServerOptions) -> String {
        ServerConfig::from_options(options).unwrap_err().to_string()
    }

    #[test]
    fn the_data_directory_alone_is_enough_for_a_later_start() {
        let config = ServerConfig::from_options(options()).unwrap();
        assert_eq!(config.api.listen, "127.0.0.1:7400");
        assert_eq!(config.peer.advertise, "127.0.0.1:7401");
        assert_eq!(config.start, ClusterStart::Existing);
        assert_eq!(config.queue_length, 8_192);
        assert_eq!(config.submission_deadline, Duration::from_secs(10));
    }

    #[test]
    fn a_missing_data_directory_is_named() {
        assert!(problem(ServerOptions::default()).starts_with("--data-dir: is missing"));
    }

    #[test]
    fn a_wildcard_listener_needs_an_address_to_tell_others() {
        let wildcard = ServerOptions { api_addr: Some("0.0.0.0:7400".into()), ..options() };
        assert!(problem(wildcard.clone()).contains("--advertise-api-addr"));
        let told = ServerOptions { advertise_api_addr: Some("server-1:7400".into()), ..wildcard };
        assert_eq!(ServerConfig::from_options(told).unwrap().api.advertise, "server-1:7400");
    }

    #[test]
    fn the_initial_cluster_names_this_server_and_nobody_twice() {
        let cluster = |peers: &[&str]| ServerOptions {
            initial_cluster: Some(peers.iter().map(|peer| (*peer).to_owned()).collect()),
            ..options()
        };
        assert!(problem(cluster(&["a:1", "b:1", "c:1"])).contains("own peer address 127.0.0.1:7401"));
        assert!(problem(cluster(&["127.0.0.1:7401", "b:1", "b:1"])).contains("b:1 twice"));
        assert!(problem(cluster(&["127.0.0.1:7401", "b"])).contains("HOST:PORT"));
        assert!(ServerConfig::from_options(cluster(&["127.0.0.1:7401", "b:1", "c:1"])).is_ok());
    }

    #[test]
    fn a_server_forms_a_cluster_or_joins_one() {
        let both = ServerOptions {
            initial_cluster: Some(vec!["127.0.0.1:7401".into()]),
            join: Some("a:7400".into()),
            ..options()
        };
        assert!(problem(both.clone()).starts_with("--join: excludes --initial-cluster"));
        let replaces = ServerOptions { join: None, replace: Some(3), ..both };
        assert!(problem(replaces).starts_with("--replace: goes with --join"));
        let empty = ServerOptions {
            initial_cluster: Some(vec![String::new()]),
            join: Some("a:7400".into()),
            ..options()
        };
        assert_eq!(ServerConfig::from_options(empty).unwrap().start, ClusterStart::Join("a:7400".into()));
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        assert!(
            problem(ServerOptions { queue_length: Some(1), ..options() }).contains("within 16 and 1000000")
        );
        assert!(
            problem(ServerOptions { snapshot_interval: Some(1), ..options() })
                .contains("--snapshot-interval")
        );
        assert!(
            problem(ServerOptions { connections_max: Some(0), ..options() })
                .contains("within 16 and 1000000")
        );
    }

    #[test]
    fn port_zero_is_replaced_by_the_bound_port() {
        let endpoint = Endpoint { listen: "127.0.0.1:0".into(), advertise: "127.0.0.1:0".into() };
        assert_eq!(endpoint.advertised_on(4711), "127.0.0.1:4711");
        let named = Endpoint { listen: "127.0.0.1:0".into(), advertise: "server-1:80".into() };
        assert_eq!(named.advertised_on(4711), "server-1:80");
    }
}
