//! The state with which a cluster begins anew after it has lost a majority of its disks.
//!
//! What it promises: whatever the lost members may have acknowledged beyond this state is never given out again:
//! every counter jumps over what they can have minted, and fencing tokens continue in the next restore epoch, above
//! every token of the former cluster. Every TaskManager has to register again, so that it hears what it holds from
//! the new cluster. What was granted stays granted. What it must not do: end or invent allocations; nobody knows what
//! is missing.

use uuid::Uuid;

use super::hash::ValueHasher;
use super::ids::{ClusterId, Epoch, FencingToken, Generation, Revision};
use super::outcome::ChainHash;
use super::state::State;

/// By how much counters jump: no cluster mints or applies so much between two looks of its members at each other.
pub const RECOVERY_GAP: u64 = 1 << 32;
/// The bits of a fencing token below the restore epoch.
const TOKEN_BITS: u32 = 48;

/// Why a state can not begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryRefused {
    /// Nothing was ever applied to it.
    #[error("nothing was ever applied; found a new cluster instead")]
    Empty,
    /// A counter has no room for the jump.
    #[error("a counter is exhausted")]
    Exhausted,
}

impl State {
    /// How often the cluster was restored or recovered before it gave out its last token.
    pub fn restore_epoch(&self) -> u64 {
        self.counters.fencing_token.0 >> TOKEN_BITS
    }

    /// The state for the cluster that takes this one's place. Its id keeps the half that allocation ids carry and
    /// takes `fresh` as the other one, so that old allocation ids stay valid and the old members stay out.
    ///
    /// # Errors
    /// [`RecoveryRefused`].
    pub fn recovered(mut self, fresh: u64) -> Result<Self, RecoveryRefused> {
        let former = self.cluster.ok_or(RecoveryRefused::Empty)?;
        let cluster = ClusterId(Uuid::from_u64_pair(former.0.as_u64_pair().0, fresh));
        let jump = |counter: u64| counter.checked_add(RECOVERY_GAP).ok_or(RecoveryRefused::Exhausted);
        let epoch =
            self.restore_epoch().checked_add(1).filter(|epoch| *epoch < 1 << (u64::BITS - TOKEN_BITS));
        let epoch = epoch.ok_or(RecoveryRefused::Exhausted)?;
        self.cluster = Some(cluster);
        self.revision = Revision(jump(self.revision.0)?);
        self.counters.fencing_token = FencingToken(epoch << TOKEN_BITS);
        self.counters.allocation = jump(self.counters.allocation)?;
        self.counters.epoch = Epoch(jump(self.counters.epoch.0)?);
        self.counters.node_id = jump(self.counters.node_id)?;
        self.register_anew();
        let mut hasher = ValueHasher::default();
        hasher.write(&(self.chain, "recovered", cluster, self.revision));
        self.chain = ChainHash(hasher.finish());
        self.rebuild_indexes();
        Ok(self)
    }

    /// Gives every TaskManager an epoch that it does not know yet.
    fn register_anew(&mut self) {
        let ids: Vec<_> = self.task_managers.keys().cloned().collect();
        for id in ids {
            self.counters.epoch = self.counters.epoch.next();
            let known = self.task_managers.get_mut(&id).expect("the id was just listed");
            let task_manager = std::sync::Arc::make_mut(known);
            task_manager.epoch = self.counters.epoch;
            task_manager.generation = Generation(self.revision.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Batch, Command, KeyedCommand, LogicalTime, Record, SessionStart};

    fn begun() -> State {
        let mut state = State::new();
        let cluster = ClusterId(Uuid::from_u64_pair(7, 1));
        state.apply(&Record::Begin(SessionStart { cluster, node_id: 1, at: LogicalTime(1_000) }));
        state
    }

    #[test]
    fn every_number_that_the_lost_members_may_have_given_out_is_jumped_over() {
        let before = begun();
        let after = before.clone().recovered(2).unwrap();
        assert_eq!(after.violations(), []);
        assert!(after.counters.allocation >= before.counters.allocation + RECOVERY_GAP);
        assert!(after.counters.epoch.0 >= before.counters.epoch.0 + RECOVERY_GAP);
        assert_eq!(after.revision.0, before.revision.0 + RECOVERY_GAP);
        assert_eq!((before.restore_epoch(), after.restore_epoch()), (0, 1));
        assert_eq!(after.recovered(3).unwrap().restore_epoch(), 2);
    }

    #[test]
    fn a_round_and_a_member_of_the_former_cluster_are_refused() {
        let before = begun();
        let mut after = before.clone().recovered(2).unwrap();
        let former = before.cluster().unwrap();
        let begin = SessionStart { cluster: former, node_id: 1, at: LogicalTime(2_000) };
        let applied = after.apply(&Record::Begin(begin));
        assert!(applied.outcomes[0].result.is_err());
        let start = SessionStart { cluster: after.cluster().unwrap(), node_id: 1, at: LogicalTime(2_000) };
        assert!(after.apply(&Record::Begin(start)).outcomes[0].result.is_ok());
        let commands = vec![KeyedCommand { key: None, command: Command::ExpireDue }];
        let late = Batch { session: before.session(), at: LogicalTime(2_000), commands };
        assert!(after.apply(&Record::Round(late)).outcomes[0].result.is_err());
    }

    #[test]
    fn a_state_that_never_began_and_one_without_room_are_refused() {
        assert_eq!(State::new().recovered(1).unwrap_err(), RecoveryRefused::Empty);
        let mut last = begun();
        last.counters.fencing_token = FencingToken(u64::MAX);
        assert_eq!(last.recovered(1).unwrap_err(), RecoveryRefused::Exhausted);
    }
}
