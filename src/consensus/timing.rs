//! How patient the nodes of a cluster are with each other, and how much log they keep.
//!
//! What it promises: a named profile for each kind of network, checked before use; every node of a cluster should run
//! the same one. What it must not do: be read by the domain, or decide about TaskManagers; their leases are settings
//! of the state. The figures of `lan` were measured: smaller ones bring elections where processor time is short.
//! Tested below.

use std::str::FromStr;
use std::time::Duration;

use openraft::SnapshotPolicy;
use thiserror::Error;

use crate::domain::limits;

/// A timing that is not used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TimingError {
    /// No profile has this name.
    #[error("no timing profile is called `{0}`; there are `lan`, `wan` and `slow`")]
    UnknownProfile(String),
    /// The figures do not fit together.
    #[error(
        "{0}; use a named profile or keep heartbeat + heartbeat/4 below half of the smallest election timeout"
    )]
    Inconsistent(String),
}

/// How long nodes wait for each other. All in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of the leader.
    pub heartbeat_ms: u64,
    /// The least time without a leader before a follower stands for election, after the lease.
    pub election_min_ms: u64,
    /// The most; also the leader's lease.
    pub election_max_ms: u64,
    /// For opening a connection to a peer.
    pub connect_timeout_ms: u64,
    /// For a peer to answer while it owes an answer; a peer whose disk is slow is still waited for.
    pub answer_timeout_ms: u64,
    /// Between two tries to reach a peer.
    pub retry_ms: u64,
    /// For a read barrier.
    pub barrier_timeout_ms: u64,
    /// For a proposal; beyond it its outcome is unknown.
    pub proposal_timeout_ms: u64,
}

impl Timing {
    /// One machine room: fail-over in about a third of a second when the leader's process ends, in about six tenths when it
    /// only falls silent.
    pub const LAN: Self = Self {
        heartbeat_ms: 75,
        election_min_ms: 200,
        election_max_ms: 300,
        connect_timeout_ms: 500,
        answer_timeout_ms: 5_000,
        retry_ms: 20,
        barrier_timeout_ms: 1_000,
        proposal_timeout_ms: 5_000,
    };
    /// Machine rooms up to about 100 ms apart: fail-over in about two seconds.
    pub const WAN: Self = Self {
        heartbeat_ms: 250,
        election_min_ms: 900,
        election_max_ms: 1_300,
        connect_timeout_ms: 2_000,
        answer_timeout_ms: 15_000,
        retry_ms: 100,
        barrier_timeout_ms: 3_000,
        proposal_timeout_ms: 30_000,
    };
    /// Machines that share too little processor time, or long distances: fail-over in about six seconds.
    pub const SLOW: Self = Self {
        heartbeat_ms: 800,
        election_min_ms: 2_500,
        election_max_ms: 3_500,
        connect_timeout_ms: 5_000,
        answer_timeout_ms: 30_000,
        retry_ms: 250,
        barrier_timeout_ms: 8_000,
        proposal_timeout_ms: 60_000,
    };

    /// The leader's lease: a leader that a quorum has not answered for this long takes nothing new.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.election_max_ms)
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn answer_timeout(&self) -> Duration {
        Duration::from_millis(self.answer_timeout_ms)
    }

    pub(super) fn retry(&self) -> Duration {
        Duration::from_millis(self.retry_ms)
    }

    /// Checks that the figures fit together.
    ///
    /// # Errors
    /// [`TimingError::Inconsistent`] names the figures that do not.
    pub fn check(&self) -> Result<(), TimingError> {
        let refuse = |reason: &str| Err(TimingError::Inconsistent(reason.to_owned()));
        if self.heartbeat_ms == 0 || self.retry_ms == 0 || self.connect_timeout_ms == 0 {
            return refuse("heartbeat, retry and connect timeout must not be zero");
        }
        if self.election_min_ms >= self.election_max_ms {
            return refuse("the smallest election timeout must be below the largest");
        }
        let latest_heartbeat_ms = self.heartbeat_ms.saturating_add(self.heartbeat_ms / 4);
        if latest_heartbeat_ms.saturating_mul(2) > self.election_min_ms {
            return refuse("two heartbeats must fit into the smallest election timeout");
        }
        if self.barrier_timeout_ms < self.election_max_ms || self.proposal_timeout_ms < self.election_max_ms {
            return refuse("barrier and proposal timeouts must not be below the largest election timeout");
        }
        if self.proposal_timeout_ms > limits::PROPOSAL_TIMEOUT_MAX_MS {
            return refuse("the proposal timeout must not be above one minute");
        }
        Ok(())
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::LAN
    }
}

impl FromStr for Timing {
    type Err = TimingError;

    fn from_str(name: &str) -> Result<Self, TimingError> {
        match name {
            "lan" => Ok(Self::LAN),
            "wan" => Ok(Self::WAN),
            "slow" => Ok(Self::SLOW),
            other => Err(TimingError::UnknownProfile(other.to_owned())),
        }
    }
}

/// When the log is replaced by a snapshot, and how much of it stays for followers that are behind. In entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRetention {
    /// Entries after which a snapshot is taken; more of a large state, see `snapshot_pace.rs`.
    pub snapshot_after: u64,
    /// Entries that stay although a snapshot holds them.
    pub keep: u64,
    /// Least entries that are purged at once.
    pub purge_batch: u64,
}

impl LogRetention {
    /// A snapshot every `entries` at the earliest, and two fifths as many kept behind it: enough for a follower that was away for a
    /// moment, too little to let the log outgrow the snapshots.
    #[must_use]
    pub fn for_interval(entries: u64) -> Self {
        Self { snapshot_after: entries, keep: entries.saturating_mul(2) / 5, purge_batch: 64.min(entries) }
    }
}

impl Default for LogRetention {
    fn default() -> Self {
        Self::for_interval(5_000)
    }
}

/// The engine's configuration.
///
/// # Errors
/// [`TimingError::Inconsistent`] for figures that do not fit together.
pub(super) fn engine_config(
    timing: &Timing,
    retention: &LogRetention,
) -> Result<openraft::Config, TimingError> {
    timing.check()?;
    let config = openraft::Config {
        cluster_name: "slotkeeper".to_owned(),
        heartbeat_interval: timing.heartbeat_ms,
        election_timeout_min: timing.election_min_ms,
        election_timeout_max: timing.election_max_ms,
        enable_pre_vote: Some(true),
        // A leader that no quorum answers in time falls silent for as long as the others need to elect another one. It takes
        // nothing then; were it heard all the same, nobody would stand for election while its link is slow.
        quorum_loss_probe_interval: Some(timing.election_max_ms.saturating_mul(2)),
        // A restarted leader has to win an election: its state machine may be behind, and if its disk lost the tail
        // it would hand out the same log ids again.
        enable_leader_restore: Some(false),
        allow_log_reversion: None,
        max_payload_entries: 64,
        max_append_entries: Some(4_096),
        api_batch_linger_ms: 0,
        // `snapshot_pace.rs` asks for snapshots.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: retention.keep,
        purge_batch_size: retention.purge_batch,
        // A learner that is no further behind counts as caught up.
        replication_lag_threshold: retention.snapshot_after.saturating_mul(2),
        install_snapshot_timeout: 10_000,
        ..openraft::Config::default()
    };
    config.validate().map_err(|error| TimingError::Inconsistent(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_profile_fits_together() {
        for name in ["lan", "wan", "slow"] {
            let timing: Timing = name.parse().unwrap();
            let config = engine_config(&timing, &LogRetention::default()).unwrap();
            assert_eq!(config.enable_leader_restore, Some(false), "{name}");
            assert_eq!(config.enable_pre_vote, Some(true), "{name}");
            assert_eq!(config.allow_log_reversion, None, "{name}");
            assert!(config.quorum_loss_probe_interval.is_some(), "{name}");
        }
        assert!(matches!("lab".parse::<Timing>(), Err(TimingError::UnknownProfile(_))));
    }

    #[test]
    fn figures_that_would_depose_a_healthy_leader_are_refused() {
        let with = |change: fn(&mut Timing)| {
            let mut timing = Timing::LAN;
            change(&mut timing);
            timing.check()
        };
        assert!(with(|timing| timing.heartbeat_ms = 90).is_err());
        assert!(with(|timing| timing.election_max_ms = 200).is_err());
        assert!(with(|timing| timing.heartbeat_ms = 0).is_err());
        assert!(with(|timing| timing.barrier_timeout_ms = 10).is_err());
        assert!(with(|timing| timing.proposal_timeout_ms = 60_001).is_err());
        assert!(with(|timing| timing.heartbeat_ms = 30).is_ok());
    }
}
