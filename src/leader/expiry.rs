//! Ends what is due by the state's own clock: drains, unconfirmed grants, tombstones.
//!
//! What it promises: nothing polls; the leader sleeps until `State::due_at` and then submits one `ExpireDue`, and again
//! while there is more. What it must not do: decide what is due; `apply` does, by the logical time of the round.

use std::sync::Arc;
use std::time::Duration;

use super::duties::Duties;
use super::session::Session;
use super::shared::Shared;
use crate::domain::Command;

/// The shortest time between two expiry commands. After an outage the logical time catches up in bounded steps, one per
/// record, and this gives everybody time to report before what they missed ends.
const SPACING: Duration = Duration::from_millis(200);
/// The longest sleep; the wall clock may be set while we sleep.
const SLEEP_MAX: Duration = Duration::from_secs(10);
/// The shortest time between two looks at a state that changes all the time.
const LOOK_SPACING: Duration = Duration::from_millis(50);

/// Submits expiries until the session ends.
pub(super) async fn run(shared: Arc<Shared>, session: Arc<Session>, duties: Duties) {
    tokio::select! {
        () = session.end.cancelled() => {}
        () = expire(&shared, &duties) => {}
    }
}

async fn expire(shared: &Shared, duties: &Duties) {
    let mut revisions = shared.seams.replica.watch();
    loop {
        revisions.mark_unchanged();
        match until_due(shared) {
            Some(Duration::ZERO) => {
                // A refusal or a lost session is answered by trying again, or by the end of the session.
                let _ = duties.submit(Command::ExpireDue).await;
                tokio::time::sleep(SPACING).await;
            }
            until => {
                let sleep = until.unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
                // A later revision may have something that is due earlier.
                if tokio::time::timeout(sleep, revisions.changed()).await.is_ok() {
                    tokio::time::sleep(LOOK_SPACING.min(sleep)).await;
                }
            }
        }
    }
}

/// How long until something is due; `None` if nothing will be.
fn until_due(shared: &Shared) -> Option<Duration> {
    let (due_at, now) = {
        let state = shared.seams.replica.read();
        (state.due_at()?, state.now())
    };
    let stamp_ms = shared.seams.clock.wall_ms().max(now.0);
    Some(Duration::from_millis(due_at.0.saturating_sub(stamp_ms)))
}
