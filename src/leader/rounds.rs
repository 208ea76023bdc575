//! The life of the round loop: waiting for leadership, opening a session, serving it, and again.
//!
//! What it promises: exactly one loop per node; every submission that reaches it is answered; a session opens only
//! after its `Begin` record is applied here, on a copy of exactly that state. What it must not do: plan or decide
//! (`leading.rs` does, within a session).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::barriers::Barriers;
use super::duties::Duties;
use super::fault::LeaderFault;
use super::intent::SubmitError;
use super::keeper::LeaseKeeper;
use super::lanes::Lanes;
use super::leading::Leading;
use super::log::Leadership;
use super::session::{Session, SessionEnd};
use super::shared::Shared;
use super::speculation::Speculation;
use super::state_clock::StateClock;
use super::{expiry, verdicts};
use crate::domain::{LogicalTime, Record, Rejection, SessionNumber, SessionStart, State};
use crate::{background, replica};

/// How long to wait before a session is tried again, first and at most. A leader that was just elected is refused until a
/// quorum has answered it for the first time, so the first pause is short.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));
/// How long submissions may wait for a session to open before they are refused: longer than an election takes, shorter
/// than a client would wait.
const OPENING_PATIENCE: Duration = Duration::from_millis(500);

/// The loop, between sessions.
pub(super) struct RoundLoop {
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: Lanes,
    pub(super) duties: Duties,
    pub(super) stop: CancellationToken,
}

impl RoundLoop {
    /// Runs until the node stops or finds a fault.
    pub(super) async fn run(mut self) {
        let mut leadership = self.shared.leadership.clone();
        while !self.stop.is_cancelled() && self.shared.fault.borrow().is_none() {
            let term = leadership.borrow_and_update().term;
            match term {
                None => self.wait_to_lead(&mut leadership).await,
                Some(term) => self.serve_one_session(term).await,
            }
        }
        self.lanes.close();
        self.lanes.refuse_all(&SubmitError::Stopped);
    }

    async fn wait_to_lead(&mut self, leadership: &mut watch::Receiver<Leadership>) {
        self.lanes.refuse_all(&self.shared.not_serving());
        tokio::select! {
            () = self.stop.cancelled() => {}
            changed = leadership.changed() => {
                if changed.is_err() {
                    self.stop.cancel();
                }
            }
            // Those that were on their way when the last session ended.
            () = self.lanes.arrival() => {}
        }
    }

    async fn serve_one_session(&mut self, term: u64) {
        match self.open(term).await {
            None => {}
            Some(Ok((session, state))) => self.serve(session, state).await,
            Some(Err(fault)) => {
                self.shared.fault.send_replace(Some(fault));
            }
        }
    }

    /// Opens a session, as long as `term` lasts. What arrives meanwhile waits for it, but not for long.
    async fn open(&mut self, term: u64) -> Option<Result<(Arc<Session>, State), LeaderFault>> {
        let shared = self.shared.clone();
        let mut leadership = shared.leadership.clone();
        let opening = open(&shared, term);
        tokio::pin!(opening);
        let mut impatience = tokio::time::interval(OPENING_PATIENCE);
        impatience.tick().await;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return None,
                opened = &mut opening => return Some(opened),
                over = leadership.wait_for(|now| now.term != Some(term)) => {
                    over.ok()?;
                    return None;
                }
                _ = impatience.tick() => self.lanes.refuse_all(&shared.not_serving()),
            }
        }
    }

    async fn serve(&mut self, session: Arc<Session>, state: State) {
        tracing::info!(term = session.term, session = %session.number, "a leadership session begins");
        self.shared.seams.metrics.rounds.sessions.inc();
        let duties = [
            tokio::spawn(verdicts::run(self.shared.clone(), session.clone(), self.duties.clone())),
            tokio::spawn(expiry::run(self.shared.clone(), session.clone(), self.duties.clone())),
        ];
        self.shared.session.send_replace(Some(session.clone()));
        let speculation = Speculation::new(state, session.number);
        let leading = Leading::new(self.shared.clone(), session.clone(), speculation);
        let end = leading.run(&mut self.lanes, &self.stop).await;
        session.end.cancel();
        self.shared.session.send_replace(None);
        self.shared.seams.metrics.rounds.clock_offset_seconds.set(0.0);
        tracing::info!(term = session.term, session = %session.number, reason = %end, "the leadership session is over");
        self.lanes.refuse_all(&refusal_after(&end));
        for duty in duties {
            // A duty ends with the session; if it panicked, the panic hook has ended the process.
            let _ = duty.await;
        }
    }
}

fn refusal_after(end: &SessionEnd) -> SubmitError {
    match end {
        SessionEnd::Stopping | SessionEnd::Fault => SubmitError::Stopped,
        _ => SubmitError::LeadershipLost,
    }
}

/// Why no session could be opened.
#[derive(Debug, thiserror::Error)]
enum OpenFailure {
    #[error("this node does not belong to a cluster yet")]
    NoIdentity,
    #[error("the beginning was not taken into the log: {0}")]
    NotProposed(String),
    #[error("another session began in between")]
    Superseded,
    #[error("{0}")]
    Fault(LeaderFault),
}

/// Tries to open a session until it is open.
async fn open(shared: &Shared, term: u64) -> Result<(Arc<Session>, State), LeaderFault> {
    let (mut pause, pause_max) = RETRY_AFTER;
    let mut is_told = false;
    loop {
        match try_open(shared, term).await {
            Ok(opened) => return Ok(opened),
            Err(OpenFailure::Fault(fault)) => return Err(fault),
            Err(failure) if pause == pause_max && !is_told => {
                is_told = true;
                tracing::info!(term, %failure, "no leadership session can be opened");
            }
            Err(failure) => tracing::debug!(term, %failure, "no leadership session could be opened yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(pause_max);
    }
}

/// The stamp of a beginning. It moves no clock, because nobody knows how long ago the last stamp was given; only the very
/// first record of a cluster sets the state's clock, to the wall clock as it is.
async fn beginning_time(shared: &Shared) -> Result<LogicalTime, OpenFailure> {
    let replica = &shared.seams.replica;
    let recorded = || {
        let state = replica.read();
        state.cluster().is_some().then(|| state.now())
    };
    if let Some(now) = recorded() {
        return Ok(now);
    }
    // Nothing is applied here; that nothing is in the log either has to be made sure of.
    shared.seams.log.read_barrier().await.map_err(|error| OpenFailure::NotProposed(error.to_string()))?;
    Ok(recorded().unwrap_or_else(|| LogicalTime(shared.seams.clock.wall_ms())))
}

/// Puts the beginning of a session into the log and takes a copy of the state that it left.
async fn try_open(shared: &Shared, term: u64) -> Result<(Arc<Session>, State), OpenFailure> {
    let identity = shared.seams.log.identity().ok_or(OpenFailure::NoIdentity)?;
    let at = beginning_time(shared).await?;
    let begin = SessionStart { cluster: identity.cluster, node_id: identity.node_id, at };
    let proposed = shared.seams.log.propose(replica::seal(&Record::Begin(begin)));
    let applied = proposed.await.map_err(|error| OpenFailure::NotProposed(error.to_string()))?;
    if applied.outcomes.iter().any(|outcome| matches!(&*outcome.result, Err(Rejection::WrongCluster))) {
        return Err(OpenFailure::Fault(LeaderFault::WrongCluster));
    }
    let (replica, clock) = (shared.seams.replica.clone(), shared.seams.clock.clone());
    // With a large state this takes longer than a timer of Raft may wait.
    let copying = background::run(move || {
        let state = replica.read().clone();
        let leases = LeaseKeeper::begin(replica, &state, clock.now());
        (state, leases)
    });
    let (state, leases) = copying.await.expect("copying the state does not panic");
    if state.revision() != applied.revision || state.chain() != applied.chain {
        return Err(OpenFailure::Superseded);
    }
    let end = CancellationToken::new();
    let session = Session {
        number: SessionNumber(applied.revision.0),
        term,
        clock: StateClock::begin(shared.seams.clock.clone(), state.now()),
        leases,
        barriers: Barriers::start(shared.seams.log.clone(), shared.options.barrier_spacing, end.clone()),
        start_failures: Mutex::default(),
        end,
    };
    Ok((Arc::new(session), state))
}
