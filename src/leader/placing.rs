//! Giving out slots within a round: waiting requests and declarations.
//!
//! What it promises: requests go by priority, then by arrival; nobody who asks later passes somebody who waits and
//! could be served; a request whose wait is over is decided with what there is; declarations go before requests unless
//! a request that is looked at has a higher priority. One round tries a bounded number and the next goes on. What it
//! must not do: look again at requests that found no place while no capacity has come.

use std::time::{Duration, Instant};

use super::deciding::Deciding;
use super::intent::SubmitError;
use super::planning;
use super::queue::RETRY_AFTER_MS;
use super::session::Watchdog;
use super::speculation::{Draft, Measured};
use super::waiting::{Place, Waiting};
use crate::domain::{Command, KeyedCommand, Outcome, Rejection};
use crate::scheduler::Plan;

/// Waiting requests that one round tries at most.
const TRIES_PER_ROUND_MAX: usize = 1024;

/// What came of trying one request.
#[derive(Debug, PartialEq, Eq)]
enum Tried {
    /// It is decided, refused, or nobody waits for it any more.
    Done,
    /// It goes on waiting.
    Waits,
    /// This round has no room for its command.
    NoRoom,
}

impl Deciding {
    /// Gives out slots to whoever is to be looked at. `arrived_before` is the number of arrivals before this round.
    pub(super) async fn place(
        &mut self,
        draft: &mut Draft,
        watchdog: &Watchdog,
        arrived_before: u64,
    ) -> Result<(), Duration> {
        let now = self.shared.seams.clock.now();
        self.to_try.extend(self.waiting.due(now));
        if self.declarations_go_first() {
            self.fulfil(draft, watchdog).await?;
        }
        for _ in 0..TRIES_PER_ROUND_MAX {
            let Some(place) = self.to_try.pop_first() else { break };
            match self.try_one(draft, place, now) {
                Tried::NoRoom => {
                    self.to_try.insert(place);
                    break;
                }
                Tried::Waits if place.arrival() >= arrived_before => self.check_length(place),
                Tried::Done | Tried::Waits => {}
            }
            self.step(watchdog).await?;
        }
        self.fulfil(draft, watchdog).await
    }

    fn declarations_go_first(&self) -> bool {
        let declared = planning::highest_pending_priority(self.speculation.state());
        declared >= self.to_try.first().map(|place| place.priority())
    }

    /// Plans and decides what declarations lack, once after anything changed for them.
    async fn fulfil(&mut self, draft: &mut Draft, watchdog: &Watchdog) -> Result<(), Duration> {
        if !self.is_fulfilling_due {
            return Ok(());
        }
        self.planning.begin_fulfilling();
        while draft.is_roomy() {
            let next = {
                let failures = self.session.start_failures();
                self.planning.next_fulfil(self.speculation.state(), failures.avoidance())
            };
            let Some(fulfil) = next else { break };
            let command = Command::Fulfil(fulfil);
            let measured = Measured::of(KeyedCommand { key: None, command });
            note_refusal(&self.speculation.decide(draft, measured, Vec::new()));
            self.step(watchdog).await?;
        }
        self.is_fulfilling_due = !self.planning.is_fulfilling_finished();
        Ok(())
    }

    fn try_one(&mut self, draft: &mut Draft, place: Place, now: Instant) -> Tried {
        let Some(waiting) = self.waiting.get_mut(place) else { return Tried::Done };
        waiting.askers.retain(|asker| !asker.has_gone());
        if waiting.askers.is_empty() {
            self.waiting.remove(place);
            return Tried::Done;
        }
        let state = self.speculation.state();
        let plan = {
            let failures = self.session.start_failures();
            self.planning.plan(state, &waiting.request, failures.avoidance())
        };
        let plan = match plan {
            Ok(plan) => plan,
            // What the request itself is wrong about needs no log; what the state says of it does.
            Err(rejection @ Rejection::InvalidCommand { .. }) => {
                let refusal = self.refusal(rejection);
                self.answer_all(place, &Ok(refusal));
                return Tried::Done;
            }
            Err(_) => Plan { missing: waiting.request.slots, ..Plan::default() },
        };
        if plan.missing > 0 && now < waiting.deadline && waiting.request.may_be_served(state) {
            return Tried::Waits;
        }
        let command = Command::Allocate(waiting.request.decided(plan));
        let keyed = KeyedCommand { key: waiting.key.clone(), command };
        let measured = Measured::of(keyed);
        if !draft.has_room(&measured) {
            return Tried::NoRoom;
        }
        let Waiting { askers, .. } = self.waiting.remove(place).expect("it was just looked at");
        let askers: Vec<_> = askers.into_iter().filter(|asker| asker.claim()).collect();
        if !askers.is_empty() {
            note_refusal(&self.speculation.decide(draft, measured, askers));
        }
        Tried::Done
    }

    /// Refuses the request at `place`, which has just begun to wait, if too many wait already.
    fn check_length(&mut self, place: Place) {
        if self.waiting.len() > self.shared.options.waiting_length {
            self.shared.seams.metrics.rounds.overloaded.inc();
            self.answer_all(place, &Err(SubmitError::Overloaded { retry_after_ms: RETRY_AFTER_MS }));
        }
    }

    fn answer_all(&mut self, place: Place, answer: &Result<Outcome, SubmitError>) {
        for asker in self.waiting.remove(place).into_iter().flat_map(|waiting| waiting.askers) {
            asker.answer(answer.clone());
        }
    }
}

/// The copy refuses what was just planned on it: planner and checks disagree. Safe, but somebody has to know.
fn note_refusal(outcome: &Outcome) {
    if let Err(Rejection::StaleDecision(check)) = &*outcome.result {
        tracing::warn!(%check, "a placement that was just planned was refused");
    }
}
