//! `slotkeeper recover`: the options, and a new data directory out of what is left of a cluster.
//!
//! What it promises: every address is checked before anything is opened. What it must not do: start the new server, or
//! talk to anyone beyond asking whether a former member still listens; no node of the cluster may run meanwhile.

use std::path::PathBuf;

use super::config::ConfigError;
use super::former_member;
use super::run::system_seams;
use super::values::host_and_port;
use crate::consensus::{self, RecoveryPlan};

pub use crate::consensus::{Recovery, RecoveryError, Survivor};

/// Make a new cluster from the disks that are left, when a majority is lost for good
///
/// Takes the longest log among the directories that are left and writes a new data directory with a new cluster id,
/// one voter and a higher restore epoch for fencing tokens. Nothing may run in the directories meanwhile.
#[derive(Debug, Clone, clap::Args)]
pub struct RecoverOptions {
    /// A data directory that is left; repeat it for each
    #[arg(long, value_name = "DIR", required = true)]
    pub from: Vec<PathBuf>,
    /// The data directory to make; it must not exist
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where clients will reach the new server
    #[arg(long, value_name = "HOST:PORT")]
    pub api_addr: String,
    /// Where other servers will reach the new server
    #[arg(long, value_name = "HOST:PORT")]
    pub peer_addr: String,
    /// Go on although a quorum is left, which could be started instead without any loss
    #[arg(long)]
    pub although_quorum: bool,
    /// Go on although a former member still answers at its address, or something there takes connections and says nothing
    #[arg(long)]
    pub although_running: bool,
}

/// Recovers as `options` say. Blocks.
///
/// # Errors
/// What is wrong with an address.
pub fn run(options: &RecoverOptions) -> Result<Result<Recovery, RecoveryError>, ConfigError> {
    let checked = |option: &'static str, address: &str| match host_and_port(address) {
        Ok((_, port)) if port > 0 => Ok(address.to_owned()),
        Ok(_) => Err(ConfigError::Option { option, problem: "must name a port".to_owned() }),
        Err(problem) => Err(ConfigError::Option { option, problem }),
    };
    let plan = RecoveryPlan {
        from: options.from.clone(),
        into: options.data_dir.clone(),
        api_addr: checked("--api-addr", &options.api_addr)?,
        peer_addr: checked("--peer-addr", &options.peer_addr)?,
        although_quorum: options.although_quorum,
    };
    let still_runs = |api_addr: &str, cluster_id| {
        !options.although_running && former_member::still_runs(api_addr, cluster_id)
    };
    Ok(consensus::recover(&plan, &system_seams().random, &still_runs))
}
