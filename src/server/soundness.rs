//! Whether the state of this replica keeps its own invariants.
//!
//! What it promises: the numbered invariants of `domain/invariants.rs` are checked on the state in force from time to
//! time, beside the serving threads; a broken one is named, and the node ends rather than serve from a state that can not
//! be. What it must not do: hold up the applying (it checks a copy), use more than a small share of one processor
//! however large the state is, or repair anything.

use std::sync::Arc;
use std::time::Duration;

use crate::background;
use crate::clock::Clock;
use crate::domain::State;
use crate::replica::Replica;

/// The least time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// After a check that took long, the pause is this many times as long: one percent of one processor.
const PAUSE_PER_COST: u32 = 100;
/// Violations that are named.
const NAMED_MAX: usize = 5;

/// Checks until an invariant is broken, and gives the sentence that says so.
pub(super) async fn broken(replica: Replica, clock: Arc<dyn Clock>) -> String {
    let mut earlier: Option<State> = None;
    let mut pause = CHECK_INTERVAL;
    loop {
        tokio::time::sleep(pause).await;
        let (checking, before) = (replica.clone(), earlier.take());
        let began = clock.now();
        let checked = background::aside(move |_| check(&checking, before)).await;
        let (state, violations) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                tracing::warn!(%error, "the invariants were not checked");
                continue;
            }
        };
        let cost = clock.now().saturating_duration_since(began);
        tracing::debug!(?cost, revision = %state.revision(), "the invariants were checked");
        if let Some(violations) = violations {
            return violations;
        }
        earlier = Some(state);
        pause = pause_after(cost);
    }
}

/// Copies the state in force and checks the copy; freeing the earlier one is a part of the cost.
fn check(replica: &Replica, earlier: Option<State>) -> (State, Option<String>) {
    let state = replica.read().clone();
    let violations = violations(&state, earlier.as_ref());
    (state, violations)
}

fn pause_after(cost: Duration) -> Duration {
    CHECK_INTERVAL.max(cost * PAUSE_PER_COST)
}

/// What is broken in `state`, or on the way to it from a state that was in force earlier.
fn violations(state: &State, earlier: Option<&State>) -> Option<String> {
    let mut found = state.violations();
    if let Some(earlier) = earlier {
        found.extend(state.violations_since(earlier));
    }
    if found.is_empty() {
        return None;
    }
    let named: Vec<String> = found.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = found.len().saturating_sub(NAMED_MAX);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    Some(format!("the state at revision {} is broken: {}{more}", state.revision(), named.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ClusterId, LogicalTime, Record, SessionStart};
    use crate::replica::PreparedState;

    fn begun() -> State {
        let cluster = ClusterId(uuid::Uuid::from_u128(1 << 64));
        let mut state = State::new();
        state.apply(&Record::Begin(SessionStart { cluster, node_id: 1, at: LogicalTime(1_000) }));
        state
    }

    /// A state whose default queue is charged for a slot that nobody holds.
    fn unsound() -> State {
        let mut json = serde_json::to_value(begun()).unwrap();
        json["queues"]["default"]["used"]["slots"] = 1.into();
        let mut state: State = serde_json::from_value(json).unwrap();
        state.rebuild_indexes();
        state
    }

    #[test]
    fn a_broken_invariant_of_the_state_in_force_is_named() {
        let replica = Replica::new();
        assert_eq!(check(&replica, None).1, None);
        replica.replace(PreparedState::unchecked(unsound())).unwrap();
        let sentence = check(&replica, None).1.unwrap();
        assert!(
            sentence.starts_with("the state at revision 1 is broken: I5 (usage is the sum): "),
            "{sentence}"
        );
    }

    #[test]
    fn a_state_that_went_back_is_named_and_a_sound_one_is_not() {
        let (earlier, later) = (State::new(), begun());
        assert_eq!(violations(&later, Some(&earlier)), None);
        assert!(violations(&earlier, Some(&later)).is_some_and(|sentence| sentence.contains("I8 ")));
    }

    #[test]
    fn the_pause_grows_with_the_cost() {
        assert_eq!(pause_after(Duration::from_millis(1)), CHECK_INTERVAL);
        assert_eq!(pause_after(Duration::from_secs(2)), Duration::from_secs(200));
    }
}
