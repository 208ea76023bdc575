//! The state machine as the Raft engine wants it, over the replica and the snapshot files.
//!
//! What it promises: entries are applied in log order and answered at once; a snapshot is the state at exactly the
//! entry that it names, built beside the applying; an installed snapshot is checked, then durable, then in force, in
//! this order; what an entry does to the state is the replica's business. What it must not do: keep state that is not
//! in the snapshot. Tested by the engine's suite in `tests/consensus/suite.rs` and over clusters beside it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};

use super::types::{
    Answer, EntryPayload, LogId, Payload, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, log_id,
};
use crate::replica::{PreparedState, Replica, SnapshotView};
use crate::storage::{SnapshotId, SnapshotStorage, WriteBody};
use crate::{background, codec};

/// The replica of this node, and up to where the log has reached it.
pub struct StateMachine {
    replica: Replica,
    snapshots: Arc<dyn SnapshotStorage>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
}

/// The body of a snapshot: a sealed state.
pub struct SnapshotBody {
    /// Its bytes. None of one that was just built: the disk has them, and the engine asks for its description only.
    pub sealed: Bytes,
    /// The state that they hold, if they were opened before the engine got them. It moves on when the snapshot is installed,
    /// so that there is one of it.
    prepared: Option<PreparedState>,
}

impl SnapshotBody {
    /// What is on the disk.
    fn stored() -> Self {
        Self::own(Bytes::new())
    }

    /// Bytes that this node has written itself.
    pub(super) fn own(sealed: Bytes) -> Self {
        Self { sealed, prepared: None }
    }

    /// Bytes that somebody has sent, and the state that they were found to hold.
    pub(super) fn received(sealed: Bytes, prepared: PreparedState) -> Self {
        Self { sealed, prepared: Some(prepared) }
    }
}

impl StateMachine {
    /// A state machine that nothing has been applied to; the engine restores it from the newest snapshot and the log.
    pub fn new(replica: Replica, snapshots: Arc<dyn SnapshotStorage>) -> Self {
        Self { replica, snapshots, last_applied: None, membership: StoredMembership::default() }
    }

    fn apply_payload(&mut self, log_id: LogId, payload: &EntryPayload) -> io::Result<Answer> {
        match payload {
            EntryPayload::Blank => Ok(Answer(None)),
            EntryPayload::Normal(Payload(record)) => {
                let applied = self.replica.apply(record).map_err(unreadable)?;
                Ok(Answer(Some(applied)))
            }
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(log_id), membership.clone());
                Ok(Answer(None))
            }
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotBody;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let answer = self.apply_payload(entry.log_id, &entry.payload)?;
            self.last_applied = Some(entry.log_id);
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        // Copying a large state takes long enough to delay heartbeats, so it leaves this thread.
        let replica = self.replica.clone();
        let taken = in_background(move || Ok(replica.snapshot())).await;
        let view = taken.unwrap_or_else(|_| self.replica.snapshot());
        let meta = SnapshotMeta { last_log_id: self.last_applied, last_membership: self.membership.clone() };
        SnapshotBuilder { view: Some(view), meta, snapshots: self.snapshots.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotBody) -> io::Result<()> {
        let (replica, snapshots, meta_bytes) =
            (self.replica.clone(), self.snapshots.clone(), meta_bytes(meta));
        let id = snapshot_id(meta.last_log_id);
        in_background(move || {
            let SnapshotBody { sealed, prepared } = snapshot;
            let prepared = match prepared {
                Some(prepared) => prepared,
                None => replica.prepare(&sealed).map_err(unreadable)?,
            };
            let is_stored = snapshots.newest_id()? == Some(id);
            if !is_stored {
                snapshots.save(id, &meta_bytes, &|writer| writer.write_all(&sealed))?;
            }
            replica.replace(prepared).map(drop).map_err(unreadable)
        })
        .await?;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        tracing::info!(%meta, revision = %self.replica.revision(), "installed a snapshot");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshots = self.snapshots.clone();
        let newest = in_background(move || Ok(snapshots.newest(None)?)).await?;
        let Some(stored) = newest else { return Ok(None) };
        let meta = codec::decode(&stored.meta, stored.meta.len()).map_err(unreadable)?;
        Ok(Some(Snapshot { meta, snapshot: SnapshotBody::own(stored.body) }))
    }
}

/// Builds one snapshot from a view, beside the applying.
pub struct SnapshotBuilder {
    view: Option<SnapshotView>,
    meta: SnapshotMeta,
    snapshots: Arc<dyn SnapshotStorage>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotBody;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let view = self.view.take().ok_or_else(|| io::Error::other("a builder builds one snapshot"))?;
        let (id, meta, snapshots) =
            (snapshot_id(self.meta.last_log_id), self.meta.clone(), self.snapshots.clone());
        background::aside(move |pace| {
            let write_body: &WriteBody<'_> = &|writer| view.write_to(writer, &|| pace.rest());
            let bytes = snapshots.save(id, &meta_bytes(&meta), write_body)?;
            tracing::info!(revision = %view.revision(), index = id.index, bytes, "snapshot saved");
            Ok(Snapshot { meta, snapshot: SnapshotBody::stored() })
        })
        .await?
    }
}

/// A snapshot of a state to which nothing was applied counts as one of the place before the log.
pub(super) fn snapshot_id(last_log_id: Option<LogId>) -> SnapshotId {
    let LogId { leader_id, index } = last_log_id.unwrap_or_else(|| log_id(0, 0));
    SnapshotId { index, term: leader_id.term }
}

pub(super) fn meta_bytes(meta: &SnapshotMeta) -> Vec<u8> {
    codec::encode(meta).expect("the description of a snapshot has an encoded form")
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    background::run(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_of_a_snapshots_description_does_not_change() {
        let membership = openraft::Membership::default();
        let last_membership = StoredMembership::new(Some(log_id(1, 2)), membership);
        let meta = SnapshotMeta { last_log_id: Some(log_id(3, 300)), last_membership };
        assert_eq!(meta_bytes(&meta), [1, 3, 251, 44, 1, 1, 1, 2, 0, 0, 0]);
    }

    #[test]
    fn a_snapshot_is_named_after_the_last_entry_it_covers() {
        assert_eq!(snapshot_id(Some(log_id(4, 9))), SnapshotId { index: 9, term: 4 });
        assert_eq!(snapshot_id(None), SnapshotId { index: 0, term: 0 });
    }
}
