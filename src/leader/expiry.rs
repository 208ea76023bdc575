//! Ends what is due by the state's own clock: drains, unconfirmed grants, tombstones. Keeps that clock going.
//!
//! What it promises: nothing polls; the leader sleeps until `State::due_at` and then submits one `ExpireDue`, and again
//! while there is more. While nothing else is decided it does so every half minute, so that the time is in the log: what
//! is not there is lost with the leader, and a record takes no more than a minute. What it must not do: decide what is due;
//! `apply` does, by the logical time of the round.

use std::sync::Arc;
use std::time::Duration;

use super::duties::Duties;
use super::session::Session;
use super::shared::Shared;
use crate::domain::{Command, limits};

/// The time is put into the log at least this often: at its fastest it stays below one step of `apply`.
const RECORDED_EVERY_MS: u64 = limits::TIME_STEP_MAX_MS / 2;
/// The shortest time between two expiry commands: one ends many things, and others have work too.
const SPACING: Duration = Duration::from_millis(200);
/// The longest sleep; the wall clock may be set while we sleep.
const SLEEP_MAX: Duration = Duration::from_secs(10);
/// The shortest time between two looks at a state that changes all the time.
const LOOK_SPACING: Duration = Duration::from_millis(50);

/// Submits expiries until the session ends.
pub(super) async fn run(shared: Arc<Shared>, session: Arc<Session>, duties: Duties) {
    tokio::select! {
        () = session.end.cancelled() => {}
        () = expire(&shared, &session, &duties) => {}
    }
}

async fn expire(shared: &Shared, session: &Session, duties: &Duties) {
    let mut revisions = shared.seams.replica.watch();
    loop {
        revisions.mark_unchanged();
        match until_due(shared, session) {
            Duration::ZERO => {
                // A refusal or a lost session is answered by trying again, or by the end of the session.
                let _ = duties.submit(Command::ExpireDue).await;
                tokio::time::sleep(SPACING).await;
            }
            until => {
                let sleep = until.min(SLEEP_MAX);
                // A later revision may have something that is due earlier.
                if tokio::time::timeout(sleep, revisions.changed()).await.is_ok() {
                    tokio::time::sleep(LOOK_SPACING.min(sleep)).await;
                }
            }
        }
    }
}

/// How long until something is due or the time has to be recorded, if the state's clock runs at the rate of real time.
fn until_due(shared: &Shared, session: &Session) -> Duration {
    let (due_at, recorded) = {
        let state = shared.seams.replica.read();
        (state.due_at(), state.now())
    };
    let next_record = recorded.after(RECORDED_EVERY_MS);
    let due_at = due_at.map_or(next_record, |due_at| due_at.min(next_record));
    Duration::from_millis(due_at.0.saturating_sub(session.clock.stamp(recorded).0))
}
