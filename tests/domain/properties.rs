//! Properties of every log, tried on random runs.
//!
//! `SLOTKEEPER_SEQUENCES` sets how many runs are tried (default below). A failure prints the shrunk steps.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use slotkeeper::codec;
use slotkeeper::domain::{Record, State};

use crate::generator::{Played, play, run};
use crate::support::difference;

/// Random runs that one test tries unless the environment says otherwise.
const SEQUENCES: u32 = 10_000;
/// Records of the longest run.
const STEPS_MAX: usize = 20;

/// Runs with the count of the environment. What fails is printed, not stored: the shrunk steps are the report.
fn runner() -> TestRunner {
    let wanted = std::env::var("SLOTKEEPER_SEQUENCES").ok().and_then(|count| count.parse().ok());
    let cases = wanted.unwrap_or(SEQUENCES);
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

/// A record as a replica gets it: through bytes.
fn through_bytes(record: &Record) -> Record {
    let bytes = codec::encode(record).unwrap();
    codec::decode(&bytes, bytes.len()).unwrap()
}

/// A state as a replica gets it that is too far behind: through bytes, with its indexes derived anew.
fn through_snapshot(state: &State) -> State {
    let bytes = codec::encode(&state.without_indexes()).unwrap();
    let mut restored: State = codec::decode(&bytes, bytes.len()).unwrap();
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

/// The leader plays (every invariant is checked after every command, and that a refused command changes nothing), a
/// replica follows record by record, and a second one is restored from a snapshot at a random record.
#[test]
fn all_replicas_agree_however_they_came_to_a_record() {
    let cut = any::<prop::sample::Index>();
    let result = runner().run(&(run(STEPS_MAX), cut), |(steps, cut)| {
        let played = play(&steps)?;
        let cut = cut.index(played.log.len());
        let mut replica = State::new();
        for record in played.log.iter().take(cut) {
            replica.apply(&through_bytes(record));
        }
        let kept = replica.clone();
        let hash_at_cut = replica.hash();
        let mut restored = through_snapshot(&replica);
        prop_assert_eq!(restored.hash(), hash_at_cut);
        prop_assert_eq!(difference(&restored, &replica), None, "restored at {}", cut);
        follow(&mut replica, &played, cut)?;
        follow(&mut restored, &played, cut)?;
        prop_assert_eq!(kept.hash(), hash_at_cut, "a clone changed with its original");
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
