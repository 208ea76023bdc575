//! `slotkeeper recover`.

use serde::Serialize;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use crate::server::recover::{self, RecoverOptions, Recovery, RecoveryError};

/// The report, for scripts.
#[derive(Debug, Serialize)]
struct Report {
    data_dir: String,
    taken: String,
    former_cluster_id: String,
    cluster_id: String,
    restore_epoch: u64,
    last_revision: u64,
    last_written_at: String,
    last_fencing_token: u64,
    survivors: Vec<SurvivorLine>,
    lost_voters: Vec<String>,
    may_be_missing: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SurvivorLine {
    data_dir: String,
    node_id: u64,
    last_log_term: u64,
    last_log_index: u64,
    committed_index: u64,
}

/// Recovers on this machine, without any server.
pub(super) async fn run(options: &RecoverOptions, context: &Context) -> Result<(), Failure> {
    context.confirm(
        "Begin a new cluster from these directories? What only the lost members knew is lost for good, and no member \
         of the old cluster can come back.",
    )?;
    let given = options.clone();
    let recovered = tokio::task::spawn_blocking(move || recover::run(&given)).await;
    let recovered = recovered.map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
    let recovered = recovered.map_err(|error| Failure::usage(error.to_string()))?.map_err(refused)?;
    let report = Report::of(options, &recovered);
    context.printer.data(&report, Report::text);
    Ok(())
}

fn refused(error: RecoveryError) -> Failure {
    let hint = match &error {
        RecoveryError::QuorumIsLeft { .. } => {
            Some("`--although-quorum` goes on all the same, for example when all addresses change")
        }
        RecoveryError::StillRuns { .. } => Some(
            "`--although-running` goes on all the same, for example when something else has that address now",
        ),
        RecoveryError::Directory { .. } => Some("a directory that can not be used can be left out"),
        RecoveryError::Taken(_) => Some("what an unfinished run left behind can be removed"),
        _ => None,
    };
    let failure = Failure::new(Exit::Refused, error.to_string());
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

impl Report {
    fn of(options: &RecoverOptions, recovery: &Recovery) -> Self {
        let is_left = |id: &u64| recovery.survivors.iter().any(|survivor| survivor.node_id == *id);
        let lost = recovery.voters.iter().filter(|(id, _)| !is_left(id));
        let survivors = recovery.survivors.iter().map(|survivor| SurvivorLine {
            data_dir: survivor.path.display().to_string(),
            node_id: survivor.node_id,
            last_log_term: survivor.last_log.0,
            last_log_index: survivor.last_log.1,
            committed_index: survivor.committed_index,
        });
        let survivors: Vec<SurvivorLine> = survivors.collect();
        Self {
            data_dir: options.data_dir.display().to_string(),
            taken: survivors[0].data_dir.clone(),
            former_cluster_id: recovery.former_cluster_id.to_string(),
            cluster_id: recovery.cluster_id.to_string(),
            restore_epoch: recovery.restore_epoch,
            last_revision: recovery.last_revision,
            last_written_at: written_at(recovery.last_written_at_ms),
            last_fencing_token: recovery.last_fencing_token,
            lost_voters: lost.map(|(id, api_addr)| format!("node {id} at {api_addr}")).collect(),
            may_be_missing: may_be_missing(recovery),
            survivors,
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "taken           {}\nnew data        {}\ncluster         {} (was {})\nrestore epoch   {}\n",
            self.taken, self.data_dir, self.cluster_id, self.former_cluster_id, self.restore_epoch,
        );
        for survivor in &self.survivors {
            text.push_str(&format!(
                "left            node {} in {}: log to index {} of term {}, known committed to {}\n",
                survivor.node_id,
                survivor.data_dir,
                survivor.last_log_index,
                survivor.last_log_term,
                survivor.committed_index,
            ));
        }
        for lost in &self.lost_voters {
            text.push_str(&format!("lost            {lost}\n"));
        }
        text.push_str("\nMay be missing or more than was acknowledged:\n");
        for line in &self.may_be_missing {
            text.push_str(&format!("  - {line}\n"));
        }
        text
    }
}

fn written_at(milliseconds: u64) -> String {
    let since = std::time::Duration::from_millis(milliseconds);
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string()
}

/// What a person has to reckon with, in plain sentences.
fn may_be_missing(recovery: &Recovery) -> Vec<String> {
    let longest = &recovery.survivors[0];
    let (_, last_index) = longest.last_log;
    let mut lines = vec![
        format!(
            "everything that was acknowledged after log index {last_index} (revision {}, about {} on the cluster's own clock, which \
             may be behind), if only the lost members had it: allocations, releases, jobs, requirements, settings",
            recovery.last_revision,
            written_at(recovery.last_written_at_ms),
        ),
        format!(
            "allocations with fencing tokens above {}: TaskManagers that hold such are told to stop them when they \
             register again",
            recovery.last_fencing_token,
        ),
    ];
    if longest.committed_index < last_index {
        lines.push(format!(
            "the log entries {} to {last_index} are kept; some of them may never have been acknowledged to anyone",
            longest.committed_index + 1,
        ));
    }
    lines
}
