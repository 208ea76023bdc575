//! The leader's own copy of the state, ahead of the applied one, and the round that is being decided on it.
//!
//! What it promises: what is decided is applied to the copy at once, so that later requests of the round, and the next
//! round, see it; the sealed round gives every replica exactly what it gave the copy. A round that decided nothing
//! leaves the copy untouched. What is decided here and applied there is twice in memory, so the copy is taken anew now and
//! then. What it must not do: plan, or wait for anything.

use bytes::Bytes;

use super::keeper::Touched;
use super::queue::Asker;
use crate::domain::{
    Applied, Batch, ChainHash, Event, KeyedCommand, LogicalTime, Outcome, Record, Revision, RoundAfter,
    RoundInProgress, SessionNumber, State,
};
use crate::replica;

/// The copy.
#[derive(Debug)]
pub(super) struct Speculation {
    state: State,
    session: SessionNumber,
    /// Commands decided since the copy was taken, and what they changed.
    changes: u64,
}

/// Where an answer comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// The command of this position in the round.
    Command(usize),
    /// An answer that was given before, or that is not the state's; it waits for the round that it may rest on.
    Given(Outcome),
}

/// Who waits for a round, and for what of it.
#[derive(Debug)]
pub(super) struct Awaiting {
    pub(super) source: Source,
    pub(super) asker: Asker,
}

/// Bounds of a round.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundLimits {
    pub(super) bytes: usize,
    pub(super) commands: usize,
}

/// A round that is being decided.
#[derive(Debug)]
pub(super) struct Draft {
    at: LogicalTime,
    limits: RoundLimits,
    progress: Option<RoundInProgress>,
    commands: Vec<KeyedCommand>,
    bytes: usize,
    awaiting: Vec<Awaiting>,
}

/// A command and how many bytes it adds to a round.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) keyed: KeyedCommand,
    bytes: usize,
}

impl Measured {
    /// Measures `keyed`.
    pub(super) fn of(keyed: KeyedCommand) -> Self {
        let bytes = replica::command_bytes(&keyed);
        Self { keyed, bytes }
    }
}

/// A round that is decided.
#[derive(Debug)]
pub(super) struct SealedRound {
    pub(super) payload: Bytes,
    pub(super) commands: usize,
    pub(super) decided: Decided,
}

/// What a round must give when it is applied, and who waits for it.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) revision: Revision,
    pub(super) chain: ChainHash,
    pub(super) touched: Touched,
    pub(super) awaiting: Vec<Awaiting>,
}

impl Draft {
    /// An empty round with the stamp `at`.
    pub(super) fn new(at: LogicalTime, limits: RoundLimits) -> Self {
        Self { at, limits, progress: None, commands: Vec::new(), bytes: 0, awaiting: Vec::new() }
    }

    /// Whether `measured` still goes into this round. The first command always does.
    pub(super) fn has_room(&self, measured: &Measured) -> bool {
        self.commands.is_empty()
            || (self.commands.len() < self.limits.commands
                && self.bytes + measured.bytes <= self.limits.bytes)
    }

    /// Whether commands of common sizes still go into this round, with room left for what is larger.
    pub(super) fn is_roomy(&self) -> bool {
        self.commands.len() < self.limits.commands && self.bytes < self.limits.bytes / 2
    }

    /// Lets `asker` wait for this round with an answer that is known already.
    pub(super) fn ride(&mut self, asker: Asker, outcome: Outcome) {
        if !asker.claim() {
            return;
        }
        self.awaiting.push(Awaiting { source: Source::Given(outcome), asker });
    }

    /// What has changed in this round so far.
    pub(super) fn events(&self) -> &[Event] {
        self.progress.as_ref().map_or(&[], RoundInProgress::events)
    }
}

impl Speculation {
    /// A copy for rounds of `session`.
    pub(super) fn new(state: State, session: SessionNumber) -> Self {
        Self { state, session, changes: 0 }
    }

    /// Whether so much was decided on the copy that it shares little with the applied state any more. Taking it anew costs
    /// time in proportion to the state, so a large state waits for an eighth of its entries: the cost of a command
    /// stays the same, and what is kept twice stays small beside what is kept.
    pub(super) fn is_stale(&self, changes_max: u64) -> bool {
        let entries = self.state.allocations().len() + self.state.idempotency().len();
        self.changes >= changes_max.max(u64::try_from(entries).unwrap_or(u64::MAX) / 8)
    }

    /// Takes the copy anew: swaps it with `applied`, a clone of the applied state, and tells whether it did. It does not if
    /// `applied` is not where the copy is: somebody else's round was applied then, the session is over, and whatever is
    /// proposed next will show it. The one of the two that is not needed takes time to free.
    pub(super) fn renew(&mut self, applied: &mut State) -> bool {
        let is_where_the_copy_is =
            (applied.revision(), applied.chain()) == (self.state.revision(), self.state.chain());
        if is_where_the_copy_is {
            self.changes = 0;
            std::mem::swap(&mut self.state, applied);
        }
        is_where_the_copy_is
    }

    /// The copy.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Applies the command to the copy and puts it into the round; `askers` wait for its outcome.
    pub(super) fn decide(&mut self, draft: &mut Draft, measured: Measured, askers: Vec<Asker>) -> Outcome {
        let progress = draft.progress.get_or_insert_with(|| self.state.begin_round(self.session, draft.at));
        let events_before = progress.events().len();
        let outcome = self.state.apply_command(progress, &measured.keyed);
        let events = progress.events().len() - events_before;
        self.changes += 1 + u64::try_from(events).expect("a length in memory fits 64 bits");
        let position = draft.commands.len();
        draft.commands.push(measured.keyed);
        draft.bytes += measured.bytes;
        let awaiting = askers.into_iter().map(|asker| Awaiting { source: Source::Command(position), asker });
        draft.awaiting.extend(awaiting);
        outcome
    }

    /// Ends the round.
    ///
    /// # Errors
    /// Gives back those who wait for a round in which nothing was decided.
    pub(super) fn seal(&mut self, draft: Draft) -> Result<SealedRound, Vec<Awaiting>> {
        let Some(progress) = draft.progress else {
            return Err(draft.awaiting);
        };
        let after = self.state.revision();
        let Applied { revision, chain, events, .. } = self.state.end_round(progress);
        let commands = draft.commands.len();
        let batch = Batch { session: self.session, at: draft.at, commands: draft.commands };
        let payload = replica::seal(&Record::RoundAfter(RoundAfter { after, batch }));
        let decided = Decided { revision, chain, touched: Touched::by(&events), awaiting: draft.awaiting };
        Ok(SealedRound { payload, commands, decided })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Command, JobId};
    use crate::replica::Replica;

    const LIMITS: RoundLimits = RoundLimits { bytes: 1 << 20, commands: 100 };

    fn round(speculation: &mut Speculation, job: &str) -> SealedRound {
        let mut draft = Draft::new(LogicalTime(1), LIMITS);
        let id = JobId::new(job).unwrap();
        let keyed = KeyedCommand { key: None, command: Command::DeleteJob { id } };
        let measured = Measured::of(keyed);
        speculation.decide(&mut draft, measured, Vec::new());
        speculation.seal(draft).unwrap()
    }

    #[test]
    fn a_copy_is_taken_anew_when_the_applied_state_is_where_it_is() {
        let replica = Replica::new();
        let mut speculation = Speculation::new(replica.read().clone(), SessionNumber(0));
        let first = round(&mut speculation, "a");
        assert!(speculation.is_stale(1) && !speculation.is_stale(2));
        assert!(!speculation.renew(&mut replica.read().clone()), "the applied state is behind");
        assert!(speculation.is_stale(1));

        replica.apply(&first.payload).unwrap();
        assert!(speculation.renew(&mut replica.read().clone()));
        assert!(!speculation.is_stale(1));
        let second = round(&mut speculation, "b");
        assert_eq!(replica.apply(&second.payload).unwrap().chain, second.decided.chain);
    }
}
