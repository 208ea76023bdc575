//! The loop of one session: take what arrived, decide it as one round, propose it, answer when it is applied.
//!
//! What it promises: an idle loop decides at once, a busy one decides everything that arrived meanwhile as one round;
//! at most `rounds_in_flight_max` rounds are proposed and not answered; answers are given only from what was applied
//! here; when the session ends, everybody who waits is answered and told whether something may have happened. What it
//! must not do: wait for company: there is no timer between an arrival and its round. Tested in `tests/leader`.

use std::collections::VecDeque;
use std::future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesOrdered, StreamExt};
use tokio_util::sync::CancellationToken;

use super::answers::{self, ProposedRound, RoundResult};
use super::deciding::Deciding;
use super::intent::SubmitError;
use super::lanes::Lanes;
use super::session::{Session, SessionEnd, Watchdog};
use super::shared::Shared;
use super::speculation::{Awaiting, SealedRound, Source, Speculation};
use crate::background;

/// A read barrier under way, or none.
type Proof = Option<BoxFuture<'static, Result<(), SubmitError>>>;

/// One session being served.
pub(super) struct Leading {
    shared: Arc<Shared>,
    session: Arc<Session>,
    deciding: Deciding,
    /// What is proposed and not answered, oldest first, and their results in the same order.
    proposed: VecDeque<ProposedRound>,
    results: FuturesOrdered<BoxFuture<'static, RoundResult>>,
    watchdog: Watchdog,
}

/// What woke the loop.
enum Wake {
    /// A round and its result, taken together, so that no other round can be answered with it.
    Settled(ProposedRound, RoundResult),
    Arrival,
    Tick,
    Proved(Result<(), SubmitError>),
    Over(SessionEnd),
}

impl Leading {
    pub(super) fn new(shared: Arc<Shared>, session: Arc<Session>, speculation: Speculation) -> Self {
        let watchdog = Watchdog::new(shared.seams.clock.clone());
        let deciding = Deciding::new(shared.clone(), session.clone(), speculation);
        let (proposed, results) = (VecDeque::new(), FuturesOrdered::new());
        Self { shared, session, deciding, proposed, results, watchdog }
    }

    /// Serves until the session ends, and answers everybody who waited in it.
    pub(super) async fn run(mut self, lanes: &mut Lanes, stop: &CancellationToken) -> SessionEnd {
        let end = self.serve(lanes, stop).await;
        self.session.end.cancel();
        self.shared.session.send_replace(None);
        self.deciding.refuse_waiting(&SubmitError::LeadershipLost);
        while let Some(Some(result)) = self.results.next().now_or_never() {
            let round = self.oldest_round();
            answers::settle_after_the_end(&self.shared, round, result);
        }
        // What is left is not known to have happened; its callers are told so when it is dropped.
        let unknown = u64::try_from(self.proposed.len()).unwrap_or(u64::MAX);
        self.shared.seams.metrics.rounds.outcome_unknown.inc_by(unknown);
        self.proposed.clear();
        // Freeing a large copy takes longer than a timer of Raft may wait.
        drop(background::run(move || drop(self.deciding)));
        end
    }

    async fn serve(&mut self, lanes: &mut Lanes, stop: &CancellationToken) -> SessionEnd {
        let session = self.session.clone();
        let mut leadership = self.shared.leadership.clone();
        let mut ticks = tokio::time::interval(self.shared.options.tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut proof: Proof = None;
        loop {
            if let Err(end) = self.propose_rounds(lanes).await {
                return end;
            }
            let (has_slot, until_date) = (self.has_slot(), self.deciding.until_next_date());
            let wake = tokio::select! {
                biased;
                () = stop.cancelled() => Wake::Over(SessionEnd::Stopping),
                () = session.end.cancelled() => Wake::Over(SessionEnd::Cancelled),
                _ = leadership.wait_for(|now| now.term != Some(session.term)) => {
                    Wake::Over(SessionEnd::LeadershipLost)
                }
                Some(result) = self.results.next() => Wake::Settled(self.oldest_round(), result),
                proved = wait_for(&mut proof) => Wake::Proved(proved),
                _ = ticks.tick() => Wake::Tick,
                () = sleep(until_date), if has_slot => Wake::Arrival,
                () = lanes.arrival(), if has_slot => Wake::Arrival,
            };
            if let Err(end) = self.wake(wake, &mut proof) {
                return end;
            }
        }
    }

    /// The round that the result just taken belongs to.
    fn oldest_round(&mut self) -> ProposedRound {
        self.proposed.pop_front().expect("every result belongs to a proposed round")
    }

    fn wake(&mut self, wake: Wake, proof: &mut Proof) -> Result<(), SessionEnd> {
        if let Err(gap) = self.watchdog.look() {
            if let Wake::Settled(round, result) = wake {
                answers::settle_after_the_end(&self.shared, round, result);
            }
            return Err(SessionEnd::Gap(gap));
        }
        match wake {
            Wake::Over(end) => Err(end),
            Wake::Settled(round, result) => answers::settle(&self.shared, &self.session, round, result),
            Wake::Proved(Ok(())) => {
                *proof = None;
                Ok(())
            }
            Wake::Proved(Err(_)) => Err(SessionEnd::BarrierFailed),
            Wake::Tick if proof.is_none() => {
                let barriers = self.session.barriers.clone();
                *proof = Some(async move { barriers.pass().await }.boxed());
                Ok(())
            }
            Wake::Tick | Wake::Arrival => Ok(()),
        }
    }

    fn has_slot(&self) -> bool {
        let in_flight_max = if self.is_copy_stale() { 1 } else { self.shared.options.rounds_in_flight_max };
        self.proposed.len() < in_flight_max
    }

    fn is_copy_stale(&self) -> bool {
        self.deciding.speculation.is_stale(self.shared.options.copy_changes_max)
    }

    /// Takes the copy of the state anew where it is time to. Every round must be answered: then the applied state
    /// is where the copy is.
    async fn renew_copy(&mut self) {
        if !self.proposed.is_empty() || !self.is_copy_stale() {
            return;
        }
        let replica = self.shared.seams.replica.clone();
        // With a large state this takes longer than a timer of Raft may wait.
        let copying = background::run(move || replica.read().clone());
        // It is not done only where the runtime ends; the old copy is as good.
        let Ok(mut state) = copying.await else { return };
        if self.deciding.speculation.renew(&mut state) {
            self.shared.seams.metrics.rounds.copies.inc();
        }
        drop(background::run(move || drop(state)));
    }

    /// Decides and proposes rounds while there is work and room for another round in flight.
    async fn propose_rounds(&mut self, lanes: &mut Lanes) -> Result<(), SessionEnd> {
        self.renew_copy().await;
        while self.has_slot() && self.deciding.has_work(lanes) {
            let started = self.shared.seams.clock.now();
            let draft = self.deciding.decide_round(lanes, &self.watchdog).await.map_err(SessionEnd::Gap)?;
            let metrics = &self.shared.seams.metrics.rounds;
            metrics.queued.set(i64::try_from(lanes.waiting()).unwrap_or(i64::MAX));
            match self.deciding.seal(draft) {
                Ok(sealed) => self.propose(sealed, started),
                Err(riders) => self.carry(riders),
            }
        }
        Ok(())
    }

    fn propose(&mut self, sealed: SealedRound, started: Instant) {
        let metrics = &self.shared.seams.metrics.rounds;
        metrics.proposed.inc();
        metrics.commands.observe(f64::from(u32::try_from(sealed.commands).unwrap_or(u32::MAX)));
        let planned = self.shared.seams.clock.now().saturating_duration_since(started);
        metrics.planning_seconds.observe(planned.as_secs_f64());
        self.results.push_back(self.shared.seams.log.propose(sealed.payload));
        self.proposed.push_back(ProposedRound { decided: sealed.decided, started });
    }

    /// Lets those who wait for answers that are known already wait for the rounds in flight, which the answers may rest
    /// on; without such rounds the answers are as good as applied.
    fn carry(&mut self, riders: Vec<Awaiting>) {
        if let Some(last) = self.proposed.back_mut() {
            last.decided.awaiting.extend(riders);
            return;
        }
        for Awaiting { source, asker } in riders {
            match source {
                Source::Given(outcome) => asker.answer(Ok(outcome)),
                Source::Command(_) => unreachable!("a round with a command is not empty"),
            }
        }
    }
}

/// Sleeps for `duration`, or for ever.
async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => future::pending().await,
    }
}

async fn wait_for(proof: &mut Proof) -> Result<(), SubmitError> {
    match proof {
        Some(proof) => proof.await,
        None => future::pending().await,
    }
}
