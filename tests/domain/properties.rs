//! Properties of every log, tried on random runs.
//!
//! `SLOTKEEPER_SEQUENCES` sets how many runs the tests try together (default below). A failure prints the shrunk steps.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use slotkeeper::codec;
use slotkeeper::domain::{FormerTimeout, Record, SettingChanges, State};

use crate::generator::{Played, play, run};
use crate::support::difference;

/// Random runs that the tests here try together unless the environment says otherwise.
const SEQUENCES: u32 = 20_000;
/// How many tests share them.
const TESTS: u32 = 2;
/// Records of the longest run.
const STEPS_MAX: usize = 20;

/// Tries a property of a run and of a random place in its log. Of what fails the shrunk steps are printed, not stored.
fn holds(property: impl Fn(&Played, usize) -> Result<(), TestCaseError>) {
    let wanted = std::env::var("SLOTKEEPER_SEQUENCES").ok().and_then(|count| count.parse().ok());
    let cases = wanted.unwrap_or(SEQUENCES).div_ceil(TESTS);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let inputs = (run(STEPS_MAX), any::<prop::sample::Index>());
    let result = runner.run(&inputs, |(steps, place)| {
        let played = play(&steps)?;
        property(&played, place.index(played.log.len()))
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// A record as a replica gets it: through bytes.
fn through_bytes(record: &Record) -> Record {
    let bytes = codec::encode(record).unwrap();
    codec::decode(&bytes, bytes.len()).unwrap()
}

/// A state as a replica gets it that is too far behind: through bytes, with its indexes derived anew.
fn through_snapshot(state: &State) -> State {
    let parts = (state.without_indexes(), state.setting_changes(), state.former_timeout());
    let bytes = codec::encode(&parts).unwrap();
    let (restored, changes, former): (State, SettingChanges, Option<FormerTimeout>) =
        codec::decode(&bytes, bytes.len()).unwrap();
    let mut restored = restored.with(changes, former);
    restored.rebuild_indexes();
    restored
}

/// Applies the records from `from` on and compares what each gives.
fn follow(state: &mut State, played: &Played, from: usize) -> Result<(), TestCaseError> {
    for (record, expected) in played.log.iter().zip(&played.applied).skip(from) {
        let applied = state.apply(&through_bytes(record));
        prop_assert_eq!(&applied, expected);
    }
    prop_assert_eq!(state.chain(), played.state.chain());
    prop_assert_eq!(state.hash(), played.state.hash());
    prop_assert_eq!(difference(state, &played.state), None);
    Ok(())
}

/// The state of a replica that has the first `count` records.
fn replica_of(played: &Played, count: usize) -> State {
    let mut replica = State::new();
    for record in played.log.iter().take(count) {
        replica.apply(&through_bytes(record));
    }
    replica
}

/// The leader plays command by command on its copy; every invariant is checked after every command, and that a refused
/// command changes nothing. The replica applies record by record, and goes on from a clone that shares its parts.
#[test]
fn a_replica_follows_the_leader_to_the_same_state() {
    holds(|played, cut| {
        let kept = replica_of(played, cut);
        let hash_at_cut = kept.hash();
        let mut replica = kept.clone();
        follow(&mut replica, played, cut)?;
        prop_assert_eq!(kept.hash(), hash_at_cut, "a clone changed with its original");
        Ok(())
    });
}

#[test]
fn a_replica_restored_from_a_snapshot_follows_to_the_same_state() {
    holds(|played, cut| {
        let replica = replica_of(played, cut);
        let mut restored = through_snapshot(&replica);
        prop_assert_eq!(restored.hash(), replica.hash());
        prop_assert_eq!(difference(&restored, &replica), None, "restored at {}", cut);
        prop_assert_eq!(restored.violations(), []);
        follow(&mut restored, played, cut)
    });
}
