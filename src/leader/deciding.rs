//! Deciding one round: what arrived, then whoever wants slots.
//!
//! What it promises: within a round commands come first, in their order of arrival, because what they free is given out
//! in the same round; then everybody who wants slots, in the order of `placing.rs`. A key that was answered before is
//! answered the same, and a key that waits waits once. What it must not do: propose, or answer from anything that a
//! failed round could take back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::intent::AllocationRequest;
use super::intent::{Intent, Submission, SubmitError, WAIT_MAX_MS};
use super::keeper;
use super::lanes::Lanes;
use super::planning::Planning;
use super::queue::{Asker, PlanQuestion, Queued, Work};
use super::session::{Session, Watchdog};
use super::shared::Shared;
use super::speculation::{Awaiting, Draft, Measured, RoundLimits, SealedRound, Speculation};
use super::waiting::{Attached, Place, Waiting, WaitingList};
use crate::domain::{
    Command, Condition, Event, KeyedCommand, LogicalTime, Outcome, Rejection, Reply, RequestKey,
    TaskManagerId,
};

/// Decisions after which the loop lets other tasks run.
const YIELD_AFTER: usize = 32;

/// Decides the rounds of one session.
pub(super) struct Deciding {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Arc<Session>,
    pub(super) speculation: Speculation,
    pub(super) planning: Planning,
    pub(super) waiting: WaitingList,
    /// Waiting requests that are to be tried: they are new, or capacity has grown since.
    pub(super) to_try: BTreeSet<Place>,
    /// Whether declarations are to be planned, for the same reasons.
    pub(super) is_fulfilling_due: bool,
    /// Requests for slots that have arrived in this session.
    arrivals: u64,
    steps: usize,
}

impl Deciding {
    pub(super) fn new(shared: Arc<Shared>, session: Arc<Session>, speculation: Speculation) -> Self {
        let planning = Planning::new(shared.seams.strategies.clone());
        Self {
            shared,
            session,
            speculation,
            planning,
            waiting: WaitingList::default(),
            to_try: BTreeSet::new(),
            is_fulfilling_due: true,
            arrivals: 0,
            steps: 0,
        }
    }

    /// Whether a round would have anything to look at.
    pub(super) fn has_work(&self, lanes: &Lanes) -> bool {
        lanes.waiting() > 0
            || !self.to_try.is_empty()
            || self.is_fulfilling_due
            || self.next_date().is_some_and(|date| date <= self.shared.seams.clock.now())
    }

    /// When somebody has waited long enough, or may be placed again where work failed to start.
    fn next_date(&self) -> Option<Instant> {
        let dates = [self.waiting.next_deadline(), self.session.start_failures().next_date()];
        dates.into_iter().flatten().min()
    }

    /// How long until a round has something to look at, whether or not anything arrives.
    pub(super) fn until_next_date(&self) -> Option<Duration> {
        let date = self.next_date()?;
        Some(date.saturating_duration_since(self.shared.seams.clock.now()))
    }

    /// Decides one round.
    ///
    /// # Errors
    /// The time for which the process stood still, if it did; nothing of the round may be proposed then.
    pub(super) async fn decide_round(
        &mut self,
        lanes: &mut Lanes,
        watchdog: &Watchdog,
    ) -> Result<Draft, Duration> {
        let options = &self.shared.options;
        let limits = RoundLimits { bytes: options.round_bytes_max, commands: options.round_commands_max };
        let mut draft = Draft::new(self.stamp(), limits);
        let arrived_before = self.arrivals;
        for _ in 0..limits.commands {
            let Some(work) = lanes.take() else { break };
            if let Err(later) = self.accept(&mut draft, work) {
                lanes.put_back(Work::Submit(*later));
                break;
            }
            self.step(watchdog).await?;
        }
        self.note_growth(&draft);
        self.place(&mut draft, watchdog, arrived_before).await?;
        Ok(draft)
    }

    /// The time of a round that begins now.
    fn stamp(&self) -> LogicalTime {
        let clock = &self.session.clock;
        let stamp = clock.stamp(self.speculation.state().now());
        self.shared.seams.metrics.rounds.clock_offset_seconds.set(clock.offset_seconds(stamp));
        stamp
    }

    /// Ends the round. Gives back those who wait for a round in which nothing was decided.
    pub(super) fn seal(&mut self, draft: Draft) -> Result<SealedRound, Vec<Awaiting>> {
        self.speculation.seal(draft)
    }

    /// Ends every wait for capacity with `error`.
    pub(super) fn refuse_waiting(&mut self, error: &SubmitError) {
        self.to_try.clear();
        self.waiting.refuse_all(error);
    }

    /// Lets other tasks run now and then, and notices when the process stood still.
    pub(super) async fn step(&mut self, watchdog: &Watchdog) -> Result<(), Duration> {
        self.steps += 1;
        if self.steps.is_multiple_of(YIELD_AFTER) {
            tokio::task::yield_now().await;
            watchdog.look()?;
        }
        Ok(())
    }

    /// Takes one piece of work; gives it back if this round has no room for it.
    fn accept(&mut self, draft: &mut Draft, work: Work) -> Result<(), Box<Queued>> {
        match work {
            Work::Plan(question) => {
                self.answer_plan(question);
                Ok(())
            }
            Work::Submit(queued) if queued.asker.has_gone() => Ok(()),
            Work::Submit(queued) => self.accept_submission(draft, queued),
        }
    }

    fn answer_plan(&mut self, question: PlanQuestion) {
        let failures = self.session.start_failures();
        let plan = self.planning.plan(self.speculation.state(), &question.request, failures.avoidance());
        let _ = question.answer.send(Ok(plan));
    }

    fn accept_submission(&mut self, draft: &mut Draft, queued: Queued) -> Result<(), Box<Queued>> {
        let Queued { submission: Submission { key, intent }, asker, arrived } = queued;
        let Some(asker) = self.answer_known_key(draft, key.as_ref(), asker) else {
            return Ok(());
        };
        let command = match intent {
            Intent::Command(command) => command,
            Intent::PutRequirements(declaration) => Command::PutRequirements(declaration),
            Intent::Allocate(request) => {
                self.let_wait(key, request, asker, arrived);
                return Ok(());
            }
        };
        if !self.is_current(&command) {
            asker.answer(Err(SubmitError::LeadershipLost));
            return Ok(());
        }
        let measured = Measured::of(KeyedCommand { key, command });
        if draft.has_room(&measured) {
            self.decide_command(draft, measured, asker);
            return Ok(());
        }
        let KeyedCommand { key, command } = measured.keyed;
        let submission = Submission { key, intent: Intent::Command(command) };
        Err(Box::new(Queued { submission, asker, arrived }))
    }

    /// Serves a key that was answered before or that waits already; gives back the asker of any other.
    fn answer_known_key(
        &mut self,
        draft: &mut Draft,
        key: Option<&RequestKey>,
        asker: Asker,
    ) -> Option<Asker> {
        let Some(key) = key else { return Some(asker) };
        if let Some(outcome) = self.speculation.state().replay(key) {
            draft.ride(asker, outcome);
            return None;
        }
        match self.waiting.attach(key, asker) {
            Attached::Joined => None,
            Attached::NotWaiting(asker) => Some(asker),
            Attached::KeyReused(asker) => {
                draft.ride(asker, self.refusal(Rejection::IdempotencyKeyReused));
                None
            }
        }
    }

    /// A refusal that changes nothing and is not remembered.
    pub(super) fn refusal(&self, rejection: Rejection) -> Outcome {
        let revision = self.speculation.state().revision();
        Outcome { result: Arc::new(Err(rejection)), revision, replayed: false }
    }

    fn let_wait(
        &mut self,
        key: Option<RequestKey>,
        request: AllocationRequest,
        asker: Asker,
        arrived: Instant,
    ) {
        let priority = self.speculation.state().jobs().get(&request.job).map_or(0, |job| job.priority);
        let place = Place::new(priority, self.arrivals);
        self.arrivals += 1;
        let deadline = arrived + Duration::from_millis(request.wait_ms.min(WAIT_MAX_MS));
        self.waiting.insert(place, Waiting { key, request, askers: vec![asker], deadline });
        self.to_try.insert(place);
    }

    /// Whether a duty's command still says what is so. A verdict that a registration has overtaken does not.
    fn is_current(&self, command: &Command) -> bool {
        match command {
            Command::ExpireTaskManager { id, epoch } => self.session.leases.verdict_stands(id, *epoch),
            _ => true,
        }
    }

    fn decide_command(&mut self, draft: &mut Draft, measured: Measured, asker: Asker) {
        if !asker.claim() {
            return;
        }
        let registers = registered_id(&measured.keyed.command);
        let outcome = self.speculation.decide(draft, measured, vec![asker]);
        if let (Some(id), Ok(Reply::TaskManagerRegistered { epoch, .. })) = (registers, &*outcome.result) {
            let timeout = keeper::timeout(self.speculation.state().settings());
            self.session.leases.registration_decided(&id, *epoch, self.shared.seams.clock.now(), timeout);
        }
    }

    /// If the round so far may have made room or raised needs, everybody who wants slots is looked at again.
    fn note_growth(&mut self, draft: &Draft) {
        let may_place_again = {
            let mut failures = self.session.start_failures();
            let now = self.shared.seams.clock.now();
            failures.pass_time(now);
            failures.note(draft.events(), self.speculation.state(), now);
            failures.take_allowed()
        };
        if may_place_again || draft.events().iter().any(may_serve_more) {
            self.is_fulfilling_due = true;
            self.planning.note_growth();
            self.to_try.extend(self.waiting.places());
        }
    }
}

fn registered_id(command: &Command) -> Option<TaskManagerId> {
    match command {
        Command::RegisterTaskManager { id, .. } => Some(id.clone()),
        _ => None,
    }
}

/// Whether somebody who waits may be served after this event.
fn may_serve_more(event: &Event) -> bool {
    match event {
        Event::TaskManagerRegistered { .. }
        | Event::TaskManagerChanged { condition: Condition::Active, .. }
        | Event::AllocationEnded { .. }
        | Event::RequirementsPut { .. }
        | Event::JobPut { .. }
        | Event::JobFinished { .. }
        | Event::QueuePut { .. }
        | Event::SettingsChanged => true,
        Event::SessionBegan { .. }
        | Event::TaskManagerChanged { .. }
        | Event::TaskManagerRemoved { .. }
        | Event::JobForgotten { .. }
        | Event::AllocationGranted { .. }
        | Event::AllocationActive { .. }
        | Event::QueueDeleted { .. }
        | Event::NodeIdMinted { .. } => false,
    }
}
