//! Records and states whose bytes are wrong although their checksums are right, as a faulty writer would leave them.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use slotkeeper::codec;
use slotkeeper::domain::{Record, State};
use slotkeeper::replica::{self, RECORD_FORMAT, Replica, STATE_FORMAT, seal};

use crate::generator::{Played, play, run};
use crate::mutation::{Dice, cases, mutated};

/// A run of a cluster of up to so many steps that is the same every time.
pub fn played(seed: u8, steps: usize) -> Played {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    play(&run(steps).new_tree(&mut runner).unwrap().current()).unwrap()
}

/// The state that the records before the last one lead to.
fn state_before_last(log: &[Record]) -> State {
    let mut state = State::new();
    for record in &log[..log.len() - 1] {
        state.apply(record);
    }
    state
}

#[test]
fn a_record_of_wrong_content_is_refused_or_applied_without_breaking_a_rule() {
    let (mut refused, mut applied) = (0, 0);
    for seed in 0..20 {
        let log = played(seed, 40).log;
        let state = state_before_last(&log);
        let body = codec::encode(log.last().unwrap()).unwrap();
        let mut dice = Dice::new(u64::from(seed));
        for case in 0..cases(100) {
            let sealed = codec::seal_bytes(RECORD_FORMAT, &mutated(&body, &mut dice));
            let Ok(record) = replica::open(&sealed) else {
                refused += 1;
                continue;
            };
            let mut after = state.clone();
            after.apply(&record);
            assert_eq!(after.violations(), [], "seed {seed}, case {case}: {record:?}");
            assert_eq!(after.violations_since(&state), [], "seed {seed}, case {case}: {record:?}");
            applied += 1;
        }
    }
    assert!(
        refused > 100 && applied > 100,
        "{refused} refused and {applied} applied: one kind is hardly tried"
    );
}

#[test]
fn a_damaged_record_is_never_taken_for_another_one() {
    let log = played(1, 40).log;
    let mut dice = Dice::new(1);
    for record in &log {
        let sealed = seal(record);
        for _ in 0..cases(20) {
            let damaged = mutated(&sealed, &mut dice);
            assert!(damaged == sealed || replica::open(&damaged).is_err(), "{record:?}");
        }
    }
}

#[test]
fn a_state_of_wrong_content_is_refused_whole() {
    let log = played(2, 40).log;
    let replica = Replica::new();
    for record in &log {
        replica.apply(&seal(record)).unwrap();
    }
    let sealed = replica.snapshot().encode().unwrap();
    let body = codec::open_bytes(STATE_FORMAT, &sealed).unwrap();
    let mut dice = Dice::new(2);
    for case in 0..cases(1_000) {
        let wrong = mutated(body, &mut dice);
        if wrong == body {
            continue;
        }
        let installed = Replica::new().install(&codec::seal_bytes(STATE_FORMAT, &wrong));
        assert!(installed.is_err(), "case {case}: a state was taken that nobody wrote");
    }
}

#[test]
fn a_name_of_dots_that_an_earlier_build_took_is_still_read_from_the_disk() {
    for text in [".", ".."] {
        let stored = slotkeeper::codec::encode(text).unwrap();
        let name: slotkeeper::domain::JobId = slotkeeper::codec::decode(&stored, 100).unwrap();
        assert_eq!(name.as_str(), text);
    }
}
