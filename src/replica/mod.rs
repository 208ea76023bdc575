//! Hosting the state: one copy per node, fed by the log, read by everyone else.
//!
//! What it promises: records are applied one at a time and in the order they are given; whoever reads sees a whole
//! revision, never the middle of one; a snapshot is the state of one revision and replaces, never merges. What it must
//! not do: decide anything, touch a disk or the network, or know where records come from. Tested below and, over
//! whole clusters, in `tests/consensus`.

mod error;
mod format;
mod hashed;
mod recent;

use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::{broadcast, watch};

use crate::domain::{Applied, ChainHash, RecoveryRefused, Revision, State, StateHash};

pub use error::ReplicaError;
pub use format::{RECORD_FORMAT, STATE_FORMAT, command_bytes, open, seal};
use hashed::Hashed;
use recent::Recent;

/// Records that a subscriber may fall behind before it is told that it missed some.
const SUBSCRIBER_BACKLOG: usize = 1_024;

/// A handle to the state of this node. Clones share it.
#[derive(Debug, Clone)]
pub struct Replica {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    recent: Mutex<Recent>,
    revision: watch::Sender<Revision>,
    applied: broadcast::Sender<Arc<Applied>>,
    hashed: Hashed,
}

impl Default for Replica {
    fn default() -> Self {
        Self::new()
    }
}

impl Replica {
    /// An empty state that nothing has been applied to.
    pub fn new() -> Self {
        Self::holding(State::new())
    }

    fn holding(state: State) -> Self {
        let (revision, _) = watch::channel(state.revision());
        let (applied, _) = broadcast::channel(SUBSCRIBER_BACKLOG);
        let (recent, hashed) = (Mutex::default(), Hashed::default());
        let shared = Shared { state: RwLock::new(state), recent, revision, applied, hashed };
        Self { shared: Arc::new(shared) }
    }

    /// A replica of the cluster that takes this one's place, see [`State::recovered`].
    ///
    /// # Errors
    /// [`RecoveryRefused`].
    pub fn recovered(&self, fresh: u64) -> Result<Self, RecoveryRefused> {
        let state = self.read().clone().recovered(fresh)?;
        Ok(Self::holding(state))
    }

    /// Applies one sealed record. Calls must come in log order and one at a time.
    ///
    /// # Errors
    /// [`ReplicaError::Record`] if the payload is not a record; nothing is changed and the node has to stop.
    pub fn apply(&self, payload: &[u8]) -> Result<Arc<Applied>, ReplicaError> {
        let record = open(payload)?;
        let applied = {
            let mut state = self.shared.state.write().expect("a panic while applying ends the process");
            let applied = Arc::new(state.apply(&record));
            self.recent_mut().push(Arc::clone(&applied));
            applied
        };
        self.shared.revision.send_replace(applied.revision);
        // Nobody listening is not an error.
        let _ = self.shared.applied.send(Arc::clone(&applied));
        Ok(applied)
    }

    /// The state under a read lock. Hold it shortly and never across an await: applying waits for it.
    pub fn read(&self) -> impl Deref<Target = State> + '_ {
        self.shared.state.read().expect("a panic while applying ends the process")
    }

    /// How many records have been applied.
    pub fn revision(&self) -> Revision {
        *self.shared.revision.borrow()
    }

    /// Changes with every applied record and every installed snapshot; intermediate values may be skipped.
    pub fn watch(&self) -> watch::Receiver<Revision> {
        self.shared.revision.subscribe()
    }

    /// Waits until at least `revision` records have been applied. The caller brings the deadline.
    pub async fn wait_for(&self, revision: Revision) {
        let mut watch = self.watch();
        watch
            .wait_for(|applied| *applied >= revision)
            .await
            .expect("the sender lives as long as this replica");
    }

    /// What was applied last, oldest first: a bounded memory for streams that resume.
    pub fn recent(&self) -> Vec<Arc<Applied>> {
        self.recent_mut().applied()
    }

    /// Everything that is applied from now on. A subscriber that falls far behind is told that it lagged.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Applied>> {
        self.shared.applied.subscribe()
    }

    /// The chain hash after `revision`, as long as it is remembered.
    pub fn chain_at(&self, revision: Revision) -> Option<ChainHash> {
        self.recent_mut().chain_at(revision)
    }

    /// The chain hash after `up_to`, or after the last revision of a replica that is not as far; as long as it is remembered.
    pub fn chain_up_to(&self, up_to: Revision) -> Option<(Revision, ChainHash)> {
        let last = {
            let state = self.read();
            (state.revision(), state.chain())
        };
        if last.0 <= up_to { Some(last) } else { Some((up_to, self.chain_at(up_to)?)) }
    }

    /// The state of this moment, for encoding outside the lock.
    pub fn snapshot(&self) -> SnapshotView {
        SnapshotView { state: self.read().without_indexes() }
    }

    /// Decodes and checks the state that `body` holds, beside the one in force.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub fn prepare(&self, body: &[u8]) -> Result<PreparedState, ReplicaError> {
        format::open_state(body).map(PreparedState)
    }

    /// Puts a prepared state in the place of the one in force.
    ///
    /// # Errors
    /// [`ReplicaError::OlderSnapshot`]; the state stays as it was.
    pub fn replace(&self, prepared: PreparedState) -> Result<Revision, ReplicaError> {
        let revision = prepared.0.revision();
        {
            let mut state = self.shared.state.write().expect("a panic while applying ends the process");
            if revision < state.revision() {
                return Err(ReplicaError::OlderSnapshot { snapshot: revision, current: state.revision() });
            }
            *state = prepared.0;
            self.recent_mut().clear();
            self.shared.hashed.forget();
        }
        self.shared.revision.send_replace(revision);
        Ok(revision)
    }

    /// Replaces the state by the one that `body` holds: [`Self::prepare`] and [`Self::replace`] in one step.
    ///
    /// # Errors
    /// As these two; the state stays as it was.
    pub fn install(&self, body: &[u8]) -> Result<Revision, ReplicaError> {
        self.replace(self.prepare(body)?)
    }

    /// The hash of the whole state and the revision it belongs to, taken after the call. Costs a pass over the state, outside the
    /// lock; who asks while another one is under way waits for it.
    pub fn state_hash(&self) -> (Revision, StateHash) {
        self.shared.hashed.take(|| {
            let view = self.snapshot();
            (view.revision(), view.state.hash())
        })
    }

    /// What [`Self::state_hash`] gave last of this state.
    pub fn last_state_hash(&self) -> Option<(Revision, StateHash)> {
        self.shared.hashed.last()
    }

    fn recent_mut(&self) -> impl std::ops::DerefMut<Target = Recent> + '_ {
        self.shared.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A state out of a snapshot that is checked and not yet in force.
#[derive(Debug)]
pub struct PreparedState(State);

impl PreparedState {
    /// Which revision this is.
    pub fn revision(&self) -> Revision {
        self.0.revision()
    }
}

#[cfg(test)]
impl PreparedState {
    /// A state as it is, sound or not.
    pub(crate) fn unchecked(state: State) -> Self {
        Self(state)
    }
}

/// The state of one revision, taken out of the replica.
#[derive(Debug)]
pub struct SnapshotView {
    state: State,
}

impl SnapshotView {
    /// Which revision this is.
    pub fn revision(&self) -> Revision {
        self.state.revision()
    }

    /// Writes the bytes that [`Replica::install`] takes, in pieces, with `rest` after each.
    ///
    /// # Errors
    /// Those of `writer`; also if a part of the state has no encoded form.
    pub fn write_to(&self, writer: &mut dyn io::Write, rest: &dyn Fn()) -> io::Result<()> {
        format::seal_state(&self.state, writer, rest)
    }

    /// The bytes that [`Replica::install`] takes, in memory.
    ///
    /// # Errors
    /// If a part of the state has no encoded form.
    pub fn encode(&self) -> io::Result<Bytes> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes, &|| ())?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Batch, ClusterId, LogicalTime, Record, SessionNumber, SessionStart};

    fn begin(node_id: u64) -> Bytes {
        let cluster = ClusterId(uuid::Uuid::from_u128(1 << 64));
        seal(&Record::Begin(SessionStart { cluster, node_id, at: LogicalTime(1_000) }))
    }

    fn round(at: u64) -> Bytes {
        seal(&Record::Round(Batch { session: SessionNumber(1), at: LogicalTime(at), commands: Vec::new() }))
    }

    #[test]
    fn applied_records_are_seen_by_readers_watchers_and_subscribers() {
        let replica = Replica::new();
        let (watch, mut subscription) = (replica.watch(), replica.subscribe());
        let applied = replica.apply(&begin(1)).unwrap();
        assert_eq!(applied.revision, Revision(1));
        assert_eq!(replica.read().revision(), Revision(1));
        assert_eq!(*watch.borrow(), Revision(1));
        assert_eq!(subscription.try_recv().unwrap(), applied);
        assert_eq!(replica.recent(), vec![Arc::clone(&applied)]);
        assert_eq!(replica.chain_at(Revision(1)), Some(applied.chain));
    }

    #[test]
    fn a_payload_that_is_no_record_changes_nothing() {
        let replica = Replica::new();
        assert!(matches!(replica.apply(b"garbage"), Err(ReplicaError::Record(_))));
        assert_eq!(replica.revision(), Revision(0));
    }

    #[test]
    fn a_replica_restored_from_a_snapshot_goes_on_with_the_same_hashes() {
        let (first, second) = (Replica::new(), Replica::new());
        first.apply(&begin(1)).unwrap();
        first.apply(&round(2_000)).unwrap();
        second.install(&first.snapshot().encode().unwrap()).unwrap();
        assert_eq!(first.state_hash(), second.state_hash());
        let (left, right) = (first.apply(&round(3_000)).unwrap(), second.apply(&round(3_000)).unwrap());
        assert_eq!(left, right);
        assert_eq!(second.chain_at(Revision(2)), None);
        let last = Some((Revision(3), left.chain));
        assert_eq!((second.chain_up_to(Revision(3)), second.chain_up_to(Revision(9))), (last, last));
        let before = Some((Revision(2), first.chain_at(Revision(2)).unwrap()));
        assert_eq!((first.chain_up_to(Revision(2)), second.chain_up_to(Revision(2))), (before, None));
    }

    #[test]
    fn the_last_hash_is_of_the_state_in_force() {
        let (first, second) = (Replica::new(), Replica::new());
        first.apply(&begin(1)).unwrap();
        second.apply(&begin(2)).unwrap();
        assert_eq!(second.last_state_hash(), None);
        let other = second.state_hash();
        assert_eq!(second.last_state_hash(), Some(other));
        second.install(&first.snapshot().encode().unwrap()).unwrap();
        assert_eq!(second.last_state_hash(), None, "another state at the same revision");
        assert_eq!(second.state_hash(), first.state_hash());
        second.apply(&round(2_000)).unwrap();
        assert_eq!(second.last_state_hash(), Some(first.state_hash()), "it is told with its revision");
        assert_eq!(second.state_hash().0, Revision(2));
    }

    #[test]
    fn a_snapshot_never_takes_the_state_back() {
        let (first, second) = (Replica::new(), Replica::new());
        let empty = first.snapshot().encode().unwrap();
        second.apply(&begin(1)).unwrap();
        let refused = ReplicaError::OlderSnapshot { snapshot: Revision(0), current: Revision(1) };
        assert_eq!(second.install(&empty), Err(refused));
        assert_eq!(second.revision(), Revision(1));
    }

    #[test]
    fn a_damaged_snapshot_is_refused_and_the_state_stays() {
        let replica = Replica::new();
        replica.apply(&begin(1)).unwrap();
        let mut body = replica.snapshot().encode().unwrap().to_vec();
        let last = body.len() - 1;
        body[last] ^= 1;
        assert!(matches!(replica.install(&body), Err(ReplicaError::State(_))));
        assert_eq!(replica.revision(), Revision(1));
    }

    #[tokio::test]
    async fn waiting_for_a_revision_ends_when_it_is_applied() {
        let replica = Replica::new();
        let waiting = tokio::spawn({
            let replica = replica.clone();
            async move { replica.wait_for(Revision(2)).await }
        });
        replica.apply(&begin(1)).unwrap();
        replica.apply(&round(2_000)).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(5), waiting).await.unwrap().unwrap();
    }
}
