//! Beginning anew from what is left of a cluster that has lost a majority of its disks. Offline: no node runs.
//!
//! What it promises: of the directories that are left, the one with the longest log is taken, its entries that were
//! perhaps never acknowledged included; the new directory appears whole or not at all, under a new cluster id and with
//! one voter; the directories that are left keep all that they hold. What it must not do: run while a quorum is left, unless it
//! is told to; or say what is missing as if it knew. Tested in `tests/drills`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use thiserror::Error;
use uuid::Uuid;

use super::entry_bytes::from_stored;
use super::local_node::LocalNode;
use super::messages::Adoption;
use super::state_machine::{meta_bytes, snapshot_id};
use super::types::{EntryPayload, LogId, NodeAddress, Payload, SnapshotMeta, StoredMembership, Vote, log_id};
use crate::codec;
use crate::domain::RecoveryRefused;
use crate::replica::{Replica, ReplicaError};
use crate::storage::{DataDir, DataDirOptions, LogOptions, LogStore, SnapshotStore, StorageError};

/// The only member of the new cluster.
const FIRST_NODE: u64 = 1;

/// Why nothing was recovered.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// A directory can not be used.
    #[error("{}: {error}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        error: StorageError,
    },
    /// A directory holds no member of a cluster.
    #[error("{}: no node has ever joined a cluster with it", .0.display())]
    NoMember(PathBuf),
    /// The directories are of several clusters.
    #[error("{} is of cluster {found}, the first directory of {first}", path.display())]
    OtherCluster {
        /// Which directory.
        path: PathBuf,
        /// Its cluster.
        found: Uuid,
        /// The cluster of the first one.
        first: Uuid,
    },
    /// Enough members are left to go on without loss.
    #[error(
        "{left} of {voters} voters are left, which is a quorum: start them instead, nothing is lost then"
    )]
    QuorumIsLeft {
        /// Voters whose directories were named.
        left: usize,
        /// All of them.
        voters: usize,
    },
    /// A former member may still run.
    #[error(
        "member {node_id} still answers at {api_addr}: end it for good first, or two clusters give out the same slots"
    )]
    StillRuns {
        /// Which member.
        node_id: u64,
        /// Its API address.
        api_addr: String,
    },
    /// The new directory is taken.
    #[error("{} exists; name a directory that does not", .0.display())]
    Taken(PathBuf),
    /// The log can not be read or applied.
    #[error("{}: the log can not be applied: {reason}", path.display())]
    Log {
        /// Which directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The state can not begin anew.
    #[error("the state can not begin anew: {0}")]
    State(#[from] RecoveryRefused),
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct RecoveryPlan {
    /// The data directories that are left.
    pub from: Vec<PathBuf>,
    /// The data directory to make.
    pub into: PathBuf,
    /// Where clients will reach the new server.
    pub api_addr: String,
    /// Where other servers will reach it.
    pub peer_addr: String,
    /// Go on although a quorum is left.
    pub although_quorum: bool,
}

/// A directory that is left, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivor {
    /// Where.
    pub path: PathBuf,
    /// Its node.
    pub node_id: u64,
    /// Term and index of its last log entry.
    pub last_log: (u64, u64),
    /// The last entry that it knew to be committed, as far as it had written that down.
    pub committed_index: u64,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// What was left; the first one was taken.
    pub survivors: Vec<Survivor>,
    /// The voters of the former cluster, by id, with their API addresses.
    pub voters: BTreeMap<u64, String>,
    /// The former cluster.
    pub former_cluster_id: Uuid,
    /// The new one.
    pub cluster_id: Uuid,
    /// How often the cluster was restored or recovered, this time included: the upper bits of new fencing tokens.
    pub restore_epoch: u64,
    /// The last fencing token of the former cluster that is known.
    pub last_fencing_token: u64,
    /// The last revision of the former cluster that is known.
    pub last_revision: u64,
    /// When it was written, by the former leader's clock, in milliseconds since the Unix epoch.
    pub last_written_at_ms: u64,
}

/// An open directory that is left.
struct Opened {
    survivor: Survivor,
    cluster_id: Uuid,
    store: LogStore,
    snapshots: SnapshotStore,
}

/// What the log that is taken comes to.
struct Outcome {
    replica: Replica,
    membership: StoredMembership,
    vote_term: u64,
}

/// 64 random bits at each call.
pub type FreshBits = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Whether a member of the cluster can be reached at this API address.
pub type StillRuns<'a> = &'a dyn Fn(&str, Uuid) -> bool;

/// Makes the directory of a new cluster out of what is left. Blocks.
///
/// # Errors
/// [`RecoveryError`]; the new directory does not exist then.
pub fn recover(
    plan: &RecoveryPlan,
    fresh: &FreshBits,
    still_runs: StillRuns<'_>,
) -> Result<Recovery, RecoveryError> {
    if plan.into.exists() {
        return Err(RecoveryError::Taken(plan.into.clone()));
    }
    let mut opened = plan.from.iter().map(|path| open(path, fresh)).collect::<Result<Vec<_>, _>>()?;
    let first = opened.first().map(|first| first.cluster_id).unwrap_or_default();
    if let Some(other) = opened.iter().find(|opened| opened.cluster_id != first) {
        let (path, found) = (other.survivor.path.clone(), other.cluster_id);
        return Err(RecoveryError::OtherCluster { path, found, first });
    }
    opened.sort_by_key(|opened| std::cmp::Reverse((opened.survivor.last_log, opened.survivor.node_id)));
    let Some(longest) = opened.first() else { return Err(RecoveryError::NoMember(PathBuf::new())) };
    let outcome = replay(longest)?;
    let voters = voters_of(&outcome.membership);
    check_quorum(plan, &opened, &voters)?;
    check_silence(&voters, first, still_runs)?;
    let survivors: Vec<Survivor> = opened.iter().map(|opened| opened.survivor.clone()).collect();
    let former = {
        let state = outcome.replica.read();
        (state.counters().fencing_token.0, state.revision().0, state.now().0)
    };
    let recovered = outcome.replica.recovered(fresh())?;
    let (cluster_id, restore_epoch) = {
        let state = recovered.read();
        (state.cluster().expect("a recovered state has a cluster").0, state.restore_epoch())
    };
    let vote_term = outcome.vote_term.max(survivors[0].last_log.0);
    write(plan, &recovered, (cluster_id, survivors[0].last_log, vote_term), fresh)?;
    let (last_fencing_token, last_revision, last_written_at_ms) = former;
    Ok(Recovery {
        survivors,
        voters,
        former_cluster_id: first,
        cluster_id,
        restore_epoch,
        last_fencing_token,
        last_revision,
        last_written_at_ms,
    })
}

fn in_directory(path: &Path) -> impl Fn(StorageError) -> RecoveryError + '_ {
    |error| RecoveryError::Directory { path: path.to_owned(), error }
}

fn fresh_id(fresh: &FreshBits) -> Uuid {
    let (high, low) = (fresh(), fresh());
    uuid::Builder::from_random_bytes(Uuid::from_u64_pair(high, low).into_bytes()).into_uuid()
}

/// Opening checks all that a starting server checks. A directory that does not exist must not be created here.
fn open(path: &Path, fresh: &FreshBits) -> Result<Opened, RecoveryError> {
    if !path.is_dir() {
        return Err(RecoveryError::NoMember(path.to_owned()));
    }
    let mut options = DataDirOptions::new({
        let fresh = Arc::clone(fresh);
        move || fresh_id(&fresh)
    });
    options.free_space_floor_bytes = Some(0);
    let directory = DataDir::open(path, options).map_err(in_directory(path))?;
    let identity = directory.identity().ok_or_else(|| RecoveryError::NoMember(path.to_owned()))?;
    let store = LogStore::open(&directory, LogOptions::default()).map_err(in_directory(path))?;
    let snapshots = SnapshotStore::open(&directory).map_err(in_directory(path))?;
    let committed: Option<LogId> =
        store.committed().and_then(|bytes| codec::decode(&bytes, bytes.len()).ok()).flatten();
    let last_log = store.bounds().last.map_or((0, 0), |(index, term)| (term, index));
    let survivor = Survivor {
        path: path.to_owned(),
        node_id: identity.node_id,
        last_log,
        committed_index: committed.map_or(0, |id| id.index),
    };
    Ok(Opened { survivor, cluster_id: identity.cluster_id, store, snapshots })
}

/// Snapshot and log of a directory, applied to the end.
fn replay(opened: &Opened) -> Result<Outcome, RecoveryError> {
    let path = &opened.survivor.path;
    let unreadable = |reason: String| RecoveryError::Log { path: path.clone(), reason };
    let replica = Replica::new();
    let mut membership = StoredMembership::default();
    let purged = opened.store.bounds().purged.map(|(index, _, _)| index);
    let mut next = 0;
    if let Some(snapshot) = opened.snapshots.newest(purged).map_err(in_directory(path))? {
        let meta: SnapshotMeta = codec::decode(&snapshot.meta, snapshot.meta.len())
            .map_err(|error| unreadable(error.to_string()))?;
        replica.install(&snapshot.body).map_err(|error| unreadable(error.to_string()))?;
        membership = meta.last_membership;
        next = meta.last_log_id.map_or(0, |id| id.index + 1);
    }
    let entries = opened.store.entries(next, u64::MAX, None).map_err(in_directory(path))?;
    for stored in entries {
        let entry = from_stored(stored).map_err(|error| unreadable(error.to_string()))?;
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(Payload(record)) => {
                replica.apply(&record).map_err(|error: ReplicaError| unreadable(error.to_string()))?;
            }
            EntryPayload::Membership(found) => {
                membership = StoredMembership::new(Some(entry.log_id), found);
            }
        }
    }
    let vote: Option<Vote> = opened.store.vote().and_then(|bytes| codec::decode(&bytes, bytes.len()).ok());
    Ok(Outcome { replica, membership, vote_term: vote.map_or(0, |vote| vote.leader_id.term) })
}

fn voters_of(membership: &StoredMembership) -> BTreeMap<u64, String> {
    let address = |id: u64| {
        let node = membership.membership().get_node(&id);
        node.map(|node| node.api_addr.clone()).unwrap_or_default()
    };
    membership.voter_ids().map(|id| (id, address(id))).collect()
}

fn check_quorum(
    plan: &RecoveryPlan,
    opened: &[Opened],
    voters: &BTreeMap<u64, String>,
) -> Result<(), RecoveryError> {
    let left = opened.iter().filter(|opened| voters.contains_key(&opened.survivor.node_id)).count();
    if left > voters.len() / 2 && !plan.although_quorum {
        return Err(RecoveryError::QuorumIsLeft { left, voters: voters.len() });
    }
    Ok(())
}

/// Refuses while a former member can be reached: on the other side of a partition a majority may live on.
fn check_silence(
    voters: &BTreeMap<u64, String>,
    cluster_id: Uuid,
    still_runs: StillRuns<'_>,
) -> Result<(), RecoveryError> {
    match voters.iter().find(|(_, api_addr)| still_runs(api_addr, cluster_id)) {
        Some((node_id, api_addr)) => {
            Err(RecoveryError::StillRuns { node_id: *node_id, api_addr: api_addr.clone() })
        }
        None => Ok(()),
    }
}

/// Writes the new directory beside its name and gives it its name at the end.
fn write(
    plan: &RecoveryPlan,
    replica: &Replica,
    (cluster_id, last_log, vote_term): (Uuid, (u64, u64), u64),
    fresh: &FreshBits,
) -> Result<(), RecoveryError> {
    let mut beside = plan.into.clone().into_os_string();
    beside.push(".recovering");
    let beside = PathBuf::from(beside);
    if beside.exists() {
        return Err(RecoveryError::Taken(beside));
    }
    let incarnation = fresh_id(fresh);
    let directory =
        DataDir::open(&beside, DataDirOptions::new(move || incarnation)).map_err(in_directory(&beside))?;
    let address =
        NodeAddress { api_addr: plan.api_addr.clone(), peer_addr: plan.peer_addr.clone(), incarnation };
    fill(&directory, replica, (cluster_id, last_log, vote_term), &address).map_err(in_directory(&beside))?;
    directory.rename_to(&plan.into).map_err(in_directory(&plan.into))
}

fn fill(
    directory: &DataDir,
    replica: &Replica,
    (cluster_id, (term, index), vote_term): (Uuid, (u64, u64), u64),
    address: &NodeAddress,
) -> Result<(), StorageError> {
    let refused = |reason: String| StorageError::Refused { reason };
    let members = BTreeMap::from([(FIRST_NODE, address.clone())]);
    let (api_addr, peer_addr) = (address.api_addr.clone(), address.peer_addr.clone());
    let local = LocalNode::new(directory.clone(), api_addr, peer_addr, None)?;
    let adoption = Adoption { cluster_id, node_id: FIRST_NODE, members: members.clone(), is_founding: false };
    local.adopt(&adoption)?.map_err(|refusal| refused(refusal.to_string()))?;
    local.note_member()?;
    let voters = vec![std::collections::BTreeSet::from([FIRST_NODE])];
    let membership =
        openraft::Membership::new(voters, members).map_err(|error| refused(error.to_string()))?;
    let last_log_id = Some(log_id(term, index));
    let meta = SnapshotMeta { last_log_id, last_membership: StoredMembership::new(last_log_id, membership) };
    let view = replica.snapshot();
    let snapshots = SnapshotStore::open(directory)?;
    snapshots.save(snapshot_id(last_log_id), &meta_bytes(&meta), &|writer| view.write_to(writer, &|| ()))?;
    let store = LogStore::open(directory, LogOptions::default())?;
    let vote =
        codec::encode(&Vote::new(vote_term, FIRST_NODE)).map_err(|error| refused(error.to_string()))?;
    durably(|done| store.save_vote(vote.into(), done))?;
    durably(|done| store.purge_through(index, term, Bytes::new(), done))?;
    store.shutdown();
    Ok(())
}

/// Submits a request and waits until it is durable.
fn durably(submit: impl FnOnce(crate::storage::Done)) -> Result<(), StorageError> {
    let (answer, result) = mpsc::channel();
    submit(Box::new(move |done| drop(answer.send(done))));
    result.recv().unwrap_or(Err(StorageError::Closed))
}
