//! Applying records: the round around the commands, and the dispatch of each command to its resource's file.
//!
//! What it promises: total and deterministic; `apply` of a `RoundAfter` equals `begin_round`, `apply_command` for each
//! command and `end_round`, because that is how it is written. A rejected command emits no event and changes nothing but what
//! every command changes: the idempotency table may remember the refusal, and the round around it moves revision,
//! time and chain. A round of a session that is not in force moves only revision and chain. What it must not do: hold
//! rules of a resource; those are in the file of that name.

mod allocations;
mod expiry;
mod jobs;
mod queues;
mod requirements;
mod sessions;
mod settings;
mod shape;
mod slots;
mod task_managers;

use std::sync::Arc;

use super::allocation::{FailedWork, FailureCause};
use super::command::{Batch, Command, KeyedCommand, Record};
use super::event::Event;
use super::hash::ValueHasher;
use super::idempotency::{Keeping, Remembered};
use super::ids::{LogicalTime, Revision, SessionNumber};
use super::limits;
use super::outcome::{Applied, ChainHash, Outcome, Rejection, Reply};
use super::state::State;

/// A round between `State::begin_round` and `State::end_round`.
#[derive(Debug)]
pub struct RoundInProgress {
    revision: Revision,
    is_current: bool,
    keeping: Keeping,
    hasher: ValueHasher,
    outcomes: Vec<Outcome>,
    events: Vec<Event>,
}

impl RoundInProgress {
    /// The revision that the state has after this round.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What has changed in this round so far.
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

/// One command at work: the state, and where its events go.
struct Transaction<'a> {
    state: &'a mut State,
    revision: Revision,
    events: &'a mut Vec<Event>,
}

impl State {
    /// Applies one record of the log: the revision grows by one, the chain hash takes in the record, its outcomes and
    /// its events.
    pub fn apply(&mut self, record: &Record) -> Applied {
        match record {
            Record::Begin(start) => self.begin_session(start),
            Record::Round(batch) => self.apply_batch(batch, true, Keeping::Retention),
            Record::RoundAfter(round) => {
                self.apply_batch(&round.batch, round.after == self.revision, Keeping::RetentionAtAnyRate)
            }
        }
    }

    /// Applies a batch; `follows` tells whether this is the state that it was decided on.
    fn apply_batch(&mut self, batch: &Batch, follows: bool, keeping: Keeping) -> Applied {
        let mut round = self.open_round(batch.session, batch.at, follows, keeping);
        for command in &batch.commands {
            self.apply_command(&mut round, command);
        }
        self.end_round(round)
    }

    /// Begins a round: moves the clock and forgets old idempotency keys, if the session is in force.
    pub fn begin_round(&mut self, session: SessionNumber, at: LogicalTime) -> RoundInProgress {
        self.open_round(session, at, true, Keeping::RetentionAtAnyRate)
    }

    fn open_round(
        &mut self,
        session: SessionNumber,
        at: LogicalTime,
        follows: bool,
        keeping: Keeping,
    ) -> RoundInProgress {
        let is_current = follows && self.cluster.is_some() && session == self.session;
        if is_current {
            self.now = self.now.max(at.min(self.now.after(limits::TIME_STEP_MAX_MS)));
            self.idempotency.forget(self.now, &self.settings, keeping, FORGOTTEN_PER_ROUND_MAX);
        }
        let mut hasher = ValueHasher::default();
        hasher.write(&(self.chain, "round", session, at));
        RoundInProgress {
            revision: self.revision.next(),
            is_current,
            keeping,
            hasher,
            outcomes: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Applies one command of a round, or gives the remembered answer to its key.
    pub fn apply_command(&mut self, round: &mut RoundInProgress, keyed: &KeyedCommand) -> Outcome {
        let outcome = self.answer(round, keyed);
        round.hasher.write(&(keyed, &outcome));
        round.outcomes.push(outcome.clone());
        outcome
    }

    /// Ends a round: takes its revision and extends the chain hash.
    pub fn end_round(&mut self, round: RoundInProgress) -> Applied {
        let RoundInProgress { revision, mut hasher, outcomes, events, .. } = round;
        hasher.write(&("end", revision, &events));
        self.revision = revision;
        self.chain = ChainHash(hasher.finish());
        Applied { revision, outcomes, events, chain: self.chain }
    }

    fn answer(&mut self, round: &mut RoundInProgress, keyed: &KeyedCommand) -> Outcome {
        let revision = round.revision;
        let first = |result| Outcome { result: Arc::new(result), revision, replayed: false };
        if !round.is_current {
            return first(Err(Rejection::StaleSession));
        }
        let Some(request) = &keyed.key else {
            return first(self.execute(round, &keyed.command));
        };
        if let Some(outcome) = self.idempotency.replay(request) {
            return outcome;
        }
        self.idempotency.forget(self.now, &self.settings, round.keeping, FORGOTTEN_PER_KEY_MAX);
        let is_full = self.idempotency.is_full(&self.settings);
        if is_full && !keyed.command.is_release() {
            return first(Err(Rejection::IdempotencyTableFull));
        }
        let outcome = first(self.execute(round, &keyed.command));
        if !is_full && !matches!(&*outcome.result, Err(Rejection::StaleDecision(_))) {
            let result = outcome.result.clone();
            self.idempotency.remember(Remembered {
                request: request.clone(),
                at: self.now,
                revision,
                result,
            });
        }
        outcome
    }

    fn execute(&mut self, round: &mut RoundInProgress, command: &Command) -> Result<Reply, Rejection> {
        Transaction { state: self, revision: round.revision, events: &mut round.events }.execute(command)
    }
}

/// Old keys that one round forgets at most; more wait for the next round, so that no round stalls.
const FORGOTTEN_PER_ROUND_MAX: usize = 1024;
/// Old keys that one new key pushes out at most; two, so that the table shrinks towards what is young.
const FORGOTTEN_PER_KEY_MAX: usize = 2;

impl Transaction<'_> {
    fn execute(&mut self, command: &Command) -> Result<Reply, Rejection> {
        match command {
            Command::RegisterTaskManager { id, session, address, offer, labels } => self
                .register_task_manager(id, task_managers::Registration { session, address, offer, labels }),
            Command::DeregisterTaskManager { id } => self.deregister_task_manager(id),
            Command::ExpireTaskManager { id, epoch } => self.expire_task_manager(id, *epoch),
            Command::Cordon { id } => self.cordon(id),
            Command::Uncordon { id } => self.uncordon(id),
            Command::Drain { id, deadline_ms } => self.drain(id, *deadline_ms),
            Command::Confirm { id, epoch, started, failed } => {
                let ended = |(id, reason): &(_, Arc<str>)| (*id, FailureCause::StartFailed, reason.clone());
                self.report(id, *epoch, started, failed.iter().map(ended).collect())
            }
            Command::PutJob { id, queue, priority, job_master_id, lease_ms } => {
                let job_master_id = job_master_id.clone();
                let put = jobs::JobPut { queue, priority: *priority, job_master_id, lease_ms: *lease_ms };
                self.put_job(id, put)
            }
            Command::DeleteJob { id } => self.delete_job(id),
            Command::ExpireJob { id, epoch } => self.expire_job(id, *epoch),
            Command::Allocate(allocate) => self.allocate(allocate),
            Command::Release { job, allocations } => self.release(job, allocations),
            Command::PutRequirements(put) => self.put_requirements(put),
            Command::Fulfil(fulfil) => self.fulfil(fulfil),
            Command::PutQueue { name, maximum, phase } => self.put_queue(name, maximum, *phase),
            Command::DeleteQueue { name } => self.delete_queue(name),
            Command::PatchSettings(patch) => self.patch_settings(patch),
            Command::ChangeSettings(patch) => self.change_settings(patch),
            Command::ExpireDue => self.expire_due(),
            Command::MintNodeId { peer_addr, incarnation } => self.mint_node_id(peer_addr, *incarnation),
            Command::LeaveTaskManager { id, epoch } => self.leave_task_manager(id, *epoch),
            Command::Report { id, epoch, started, failed } => {
                let ended = |failed: &FailedWork| (failed.allocation, failed.cause, failed.detail.clone());
                self.report(id, *epoch, started, failed.iter().map(ended).collect())
            }
            Command::EndNotHeld { id, epoch, allocations } => self.end_not_held(id, *epoch, allocations),
        }
    }
}
