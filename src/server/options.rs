//! The options of `slotkeeper server` as they are written: flags, environment, file.
//!
//! What it promises: one list serves all three places, so a flag `--data-dir`, a variable `SLOTKEEPER_DATA_DIR` and a
//! key `data_dir` can not drift apart; a flag beats the environment and both beat the file; an unknown key in the file
//! is refused with its line. What it must not do: check what belongs together (that is `config.rs`).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::config::ConfigError;
use super::values::{ByteSizeText, DurationText};

/// How lines of the log look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormatOption {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Named sets of Raft timings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProfileOption {
    /// One network: a new leader within about a third of a second.
    #[default]
    Lan,
    /// Networks with up to 100 ms between the servers: a new leader within about two seconds.
    Wan,
    /// Machines that share too little processor time: a new leader within about six seconds.
    Slow,
}

/// Every option; `None` where a place does not say.
#[derive(Debug, Clone, Default, PartialEq, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerOptions {
    /// TOML file with any of these options, named with `_` for `-`
    #[arg(long, env = "SLOTKEEPER_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Folder for all data of this server
    #[arg(long, env = "SLOTKEEPER_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where clients reach this server [default: 127.0.0.1:7400]
    #[arg(long, env = "SLOTKEEPER_API_ADDR", value_name = "HOST:PORT")]
    pub api_addr: Option<String>,
    /// Where the other servers reach this one [default: 127.0.0.1:7401]
    #[arg(long, env = "SLOTKEEPER_PEER_ADDR", value_name = "HOST:PORT")]
    pub peer_addr: Option<String>,
    /// What to tell clients instead of the API address
    #[arg(long, env = "SLOTKEEPER_ADVERTISE_API_ADDR", value_name = "HOST:PORT")]
    pub advertise_api_addr: Option<String>,
    /// What to tell other servers instead of the peer address
    #[arg(long, env = "SLOTKEEPER_ADVERTISE_PEER_ADDR", value_name = "HOST:PORT")]
    pub advertise_peer_addr: Option<String>,
    /// Peer addresses of all first members, this one included; the same list on each of them
    #[arg(long, env = "SLOTKEEPER_INITIAL_CLUSTER", value_name = "PEER,PEER,...", value_delimiter = ',')]
    pub initial_cluster: Option<Vec<String>>,
    /// API address of a server of a running cluster, to join it as a learner
    #[arg(long, env = "SLOTKEEPER_JOIN", value_name = "HOST:PORT")]
    pub join: Option<String>,
    /// Member whose place this server takes: it gets a vote when it has caught up, then that member is removed
    #[arg(long, env = "SLOTKEEPER_REPLACE", value_name = "NODE_ID")]
    pub replace: Option<u64>,
    /// Raft timings; the same on every server [default: lan]
    #[arg(long, env = "SLOTKEEPER_PROFILE", value_name = "NAME")]
    pub profile: Option<ProfileOption>,
    /// How lines of the log look [default: human]
    #[arg(long, env = "SLOTKEEPER_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormatOption>,
    /// What the log lets through, for example `info,slotkeeper::leader=debug`
    #[arg(long, env = "SLOTKEEPER_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// Free disk space below which this server does not start [default: 512MiB, or four times the data]
    #[arg(long, env = "SLOTKEEPER_FREE_SPACE_FLOOR", value_name = "SIZE")]
    pub free_space_floor: Option<ByteSizeText>,
    /// Requests that may wait for a round of the leader; beyond it they are refused [default: 8192]
    #[arg(long, env = "SLOTKEEPER_QUEUE_LENGTH", value_name = "COUNT")]
    pub queue_length: Option<u32>,
    /// Allocation requests that may wait for capacity; beyond it they are refused [default: 8192]
    #[arg(long, env = "SLOTKEEPER_WAITING_LENGTH", value_name = "COUNT")]
    pub waiting_length: Option<u32>,
    /// How long a request may take before its outcome counts as unknown [default: 10s]
    #[arg(long, env = "SLOTKEEPER_SUBMISSION_DEADLINE", value_name = "DURATION")]
    pub submission_deadline: Option<DurationText>,
    /// Log entries between two snapshots, or more of a large state; two fifths as many stay behind one [default: 5000]
    #[arg(long, env = "SLOTKEEPER_SNAPSHOT_INTERVAL", value_name = "ENTRIES")]
    pub snapshot_interval: Option<u64>,
    /// Client connections at once; beyond it idle ones make room, or new ones are closed without an answer [default: 16384]
    #[arg(long, env = "SLOTKEEPER_CONNECTIONS_MAX", value_name = "COUNT")]
    pub connections_max: Option<u32>,
    /// Threads that serve clients [default: one per processor, at least 2]
    #[arg(long, env = "SLOTKEEPER_WORKER_THREADS", value_name = "COUNT")]
    pub worker_threads: Option<u32>,
    /// How long a stopping server may take to hand over and to answer what it has accepted [default: 10s]
    #[arg(long, env = "SLOTKEEPER_STOP_DEADLINE", value_name = "DURATION")]
    pub stop_deadline: Option<DurationText>,
}

impl ServerOptions {
    /// The options of the file at `path`.
    ///
    /// # Errors
    /// A file that can not be read, is not TOML, has an unknown key or a value of a wrong form; with its line.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::File { path: path.to_owned(), problem: error.to_string() })?;
        Self::from_toml(&text).map_err(|problem| ConfigError::File { path: path.to_owned(), problem })
    }

    fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().map_or("", |span| &text[..span.start.min(text.len())]);
            format!("line {}: {}", before.matches('\n').count() + 1, error.message())
        })
    }

    /// These options, and those of `weaker` where these do not say.
    #[must_use]
    pub fn over(self, weaker: Self) -> Self {
        Self {
            config: self.config.or(weaker.config),
            data_dir: self.data_dir.or(weaker.data_dir),
            api_addr: self.api_addr.or(weaker.api_addr),
            peer_addr: self.peer_addr.or(weaker.peer_addr),
            advertise_api_addr: self.advertise_api_addr.or(weaker.advertise_api_addr),
            advertise_peer_addr: self.advertise_peer_addr.or(weaker.advertise_peer_addr),
            initial_cluster: self.initial_cluster.or(weaker.initial_cluster),
            join: self.join.or(weaker.join),
            replace: self.replace.or(weaker.replace),
            profile: self.profile.or(weaker.profile),
            log_format: self.log_format.or(weaker.log_format),
            log: self.log.or(weaker.log),
            free_space_floor: self.free_space_floor.or(weaker.free_space_floor),
            queue_length: self.queue_length.or(weaker.queue_length),
            waiting_length: self.waiting_length.or(weaker.waiting_length),
            submission_deadline: self.submission_deadline.or(weaker.submission_deadline),
            snapshot_interval: self.snapshot_interval.or(weaker.snapshot_interval),
            connections_max: self.connections_max.or(weaker.connections_max),
            worker_threads: self.worker_threads.or(weaker.worker_threads),
            stop_deadline: self.stop_deadline.or(weaker.stop_deadline),
        }
    }

    /// The options of these flags (which hold the environment already) over those of the file that they name.
    ///
    /// # Errors
    /// As [`ServerOptions::from_file`].
    pub fn with_file(self) -> Result<Self, ConfigError> {
        match self.config.clone() {
            None => Ok(self),
            Some(path) => Ok(self.over(Self::from_file(&path)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        server: ServerOptions,
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let problem = ServerOptions::from_toml("data_dir = \"x\"\nqueue_size = 3\n").unwrap_err();
        assert!(problem.starts_with("line 2: ") && problem.contains("queue_size"), "{problem}");
    }

    #[test]
    fn a_value_of_a_wrong_form_is_refused_with_its_line() {
        let problem = ServerOptions::from_toml("\n\nsubmission_deadline = \"soon\"\n").unwrap_err();
        assert!(problem.starts_with("line 3: ") && problem.contains("500ms"), "{problem}");
    }

    #[test]
    fn a_flag_beats_the_file() {
        let line = Line::parse_from(["server", "--api-addr", "a:1", "--initial-cluster", "x:1,y:2"]);
        let file = ServerOptions::from_toml("api_addr = 'b:2'\npeer_addr = 'b:3'\nprofile = 'wan'").unwrap();
        let merged = line.server.over(file);
        assert_eq!(merged.api_addr.as_deref(), Some("a:1"));
        assert_eq!(merged.peer_addr.as_deref(), Some("b:3"));
        assert_eq!(merged.profile, Some(ProfileOption::Wan));
        assert_eq!(merged.initial_cluster, Some(vec!["x:1".to_owned(), "y:2".to_owned()]));
    }

    #[test]
    fn a_file_that_can_not_be_read_is_named() {
        let error = ServerOptions::from_file(Path::new("/nowhere/slotkeeper.toml")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/slotkeeper.toml"), "{error}");
    }
}
