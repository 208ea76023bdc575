//! What must be true: a reference state that every committed record is applied to, and what everybody was told.
//!
//! Every invariant is checked after every record. The numbers in the messages are those of `docs/invariants.md` for the
//! state, and words for what only an observer of the whole can see.

use std::collections::BTreeMap;

use slotkeeper::domain::{
    ChainHash, Condition, Event, FencingToken, IdempotencyKey, LogicalTime, Outcome, Record, Rejection,
    Revision, State, StateHash, TaskManagerId,
};
use slotkeeper::replica::{self, Replica};

use crate::losses::Loss;
use crate::trace;

/// What became of a TaskManager.
pub enum Fate {
    Lost(Box<Loss>),
    /// It was registered, or changed.
    Touched(TaskManagerId),
}

pub struct Oracle {
    state: State,
    chains: Vec<ChainHash>,
    /// The first answer to every key.
    answers: BTreeMap<IdempotencyKey, Outcome>,
    tokens: BTreeMap<(TaskManagerId, u32), FencingToken>,
    /// The newest revision that anybody outside was told of.
    told: Revision,
    /// What became of TaskManagers since somebody asked, in order.
    fates: Vec<Fate>,
    /// The state's clock after the first record.
    began_at: Option<LogicalTime>,
    pub records: u64,
}

impl Oracle {
    pub fn new() -> Self {
        let state = State::new();
        let chains = vec![state.chain()];
        Self {
            state,
            chains,
            answers: BTreeMap::new(),
            tokens: BTreeMap::new(),
            told: Revision(0),
            fates: Vec::new(),
            began_at: None,
            records: 0,
        }
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn told(&self) -> Revision {
        self.told
    }

    /// The next committed record.
    pub fn committed(&mut self, payload: &[u8]) {
        let record = replica::open(payload).expect("a committed record can be read");
        let previous = self.state.clone();
        let applied = self.state.apply(&record);
        self.records += 1;
        self.began_at.get_or_insert(self.state.now());
        self.chains.push(applied.chain);
        assert_eq!(self.state.violations(), [], "after {record:?}");
        assert_eq!(self.state.violations_since(&previous), [], "after {record:?}");
        let batch = match &record {
            Record::Begin(_) => None,
            Record::Round(batch) => Some(batch),
            Record::RoundAfter(round) => Some(&round.batch),
        };
        if let Some(batch) = batch {
            for (keyed, outcome) in batch.commands.iter().zip(&applied.outcomes) {
                self.answered(keyed.key.as_ref().map(|key| &key.key), outcome);
            }
        }
        for event in &applied.events {
            self.happened(event, &previous);
        }
        trace::note(&format!(
            "commit {} {} outcomes {} events {:02x?}",
            applied.revision,
            applied.outcomes.len(),
            applied.events.len(),
            &applied.chain.0[..4]
        ));
    }

    /// The state's clock may not have gone faster than 5/4 of real time, which begins at zero.
    pub fn check_time(&self, now_ms: u64) {
        let gone_ms = self.began_at.map_or(0, |began_at| self.state.now().0 - began_at.0);
        assert!(gone_ms <= now_ms + now_ms / 4, "the state's clock went on by {gone_ms} ms in {now_ms} ms");
    }

    fn answered(&mut self, key: Option<&IdempotencyKey>, outcome: &Outcome) {
        let Some(key) = key else { return };
        if let Err(Rejection::StaleSession | Rejection::StaleDecision(_)) = &*outcome.result {
            return;
        }
        match self.answers.get(key) {
            None => {
                assert!(!outcome.replayed, "the first answer to {key:?} is a replay");
                self.answers.insert(key.clone(), outcome.clone());
            }
            Some(first) => assert_eq!(first.result, outcome.result, "a second effect of {key:?}"),
        }
    }

    fn happened(&mut self, event: &Event, before: &State) {
        match event {
            Event::AllocationGranted { task_manager, slot_index, fencing_token, .. } => {
                let slot = (task_manager.clone(), *slot_index);
                let before = self.tokens.insert(slot, *fencing_token);
                assert!(
                    before.is_none_or(|before| before < *fencing_token),
                    "the fencing token of {task_manager}/{slot_index} fell from {before:?} to {fencing_token}"
                );
            }
            Event::TaskManagerChanged { id, condition: Condition::Lost { .. } } => {
                self.fates.push(Fate::Lost(Box::new(Loss::of(id, before))));
            }
            Event::TaskManagerRegistered { id, .. } | Event::TaskManagerChanged { id, .. } => {
                self.fates.push(Fate::Touched(id.clone()));
            }
            _ => {}
        }
    }

    /// What became of TaskManagers since the last call.
    pub fn take_fates(&mut self) -> Vec<Fate> {
        std::mem::take(&mut self.fates)
    }

    /// Somebody outside was given `outcome`, under `key` if there was one.
    pub fn acknowledged(&mut self, key: &IdempotencyKey, outcome: &Outcome) {
        let Some(first) = self.answers.get(key) else {
            assert!(outcome.result.is_err(), "{key:?} was granted and is not in the log: {outcome:?}");
            return;
        };
        assert_eq!(first.result, outcome.result, "the answer to {key:?} is not the one in the log");
        assert_eq!(first.revision, outcome.revision, "the answer to {key:?} is of another revision");
        self.told = self.told.max(outcome.revision);
    }

    /// Somebody outside read the state at `revision`, having asked when `told_before` was known.
    pub fn read(&mut self, who: &str, revision: Revision, told_before: Revision) {
        assert!(
            revision >= told_before,
            "{who} read revision {revision} although {told_before} was known before it asked"
        );
        self.told = self.told.max(revision);
    }

    /// A replica must be at a place of the one history.
    pub fn check_replica(&self, who: &str, replica: &Replica) {
        let (revision, chain) = {
            let state = replica.read();
            (state.revision(), state.chain())
        };
        let known = usize::try_from(revision.0).ok().and_then(|place| self.chains.get(place));
        assert_eq!(known, Some(&chain), "{who} has another history at revision {revision}");
    }

    /// A replica at the end must be the reference.
    pub fn check_final(&self, who: &str, replica: &Replica) {
        let expected: (Revision, StateHash) = (self.state.revision(), self.state.hash());
        assert_eq!(replica.state_hash(), expected, "{who} has another state at the end");
        assert_eq!(replica.read().violations(), [], "{who}");
    }
}
