//! Generated histories: legal ones pass, and one altered answer is found.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedMutRandom;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::generator;
use super::linear::check::{Report, check};
use super::linear::model::Part;
use super::linear::operation::{Action, Operation, Outcome};
use super::linear::search::{Finding, Limit, search};

fn find(history: &[Operation], configurations: usize) -> Finding {
    let limit = Limit { configurations, deadline: Instant::now() + Duration::from_secs(60) };
    search(&Part::new(&generator::setting(), history), history, limit)
}

/// Gives one answer another text, of the same shape; `false` if this operation has nothing to alter.
fn alter(operation: &mut Operation, random: &mut StdRng) -> bool {
    match (&operation.action, &mut operation.outcome) {
        (Action::Allocate { all: true, .. } | Action::PutMaximum { .. } | Action::Renew { .. }, outcome)
            if *outcome == Outcome::Refused =>
        {
            *outcome = match operation.action {
                Action::PutMaximum { maximum } => {
                    Outcome::Queue { maximum, used: random.random_range(0..=maximum) }
                }
                Action::Renew { .. } => Outcome::Done,
                _ => Outcome::Granted { slots: Vec::new() },
            };
        }
        (_, Outcome::Granted { slots } | Outcome::Shown { slots }) if !slots.is_empty() => {
            let at = random.random_range(0..slots.len());
            match random.random_range(0..2) {
                0 => slots[at].id = Uuid::from_u128(random.random()),
                _ => drop(slots.remove(at)),
            }
        }
        (_, Outcome::Queue { used, .. } | Outcome::Job { slots: used }) => {
            *used = (*used + random.random_range(1..=8)) % 9;
        }
        (Action::Renew { .. }, outcome) => *outcome = Outcome::Refused,
        _ => return false,
    }
    true
}

#[test]
fn two_hundred_legal_histories_pass() {
    for seed in 0..200 {
        let lost = [0, 40, 15, 8][usize::try_from(seed % 4).unwrap()];
        let clients = 2 + u16::try_from(seed % 5).unwrap();
        let history = generator::legal(seed, clients, 80, lost);
        assert_eq!(find(&history, 1_000_000), Finding::Linearizable, "seed {seed}");
    }
}

#[test]
fn one_altered_answer_in_a_thousand_histories_is_found_and_nothing_else() {
    let (mut altered, mut found) = (0, 0);
    for seed in 1_000..2_000 {
        let mut history = generator::legal(seed, 3, 50, if seed % 2 == 0 { 0 } else { 60 });
        assert_eq!(find(&history, 1_000_000), Finding::Linearizable, "a false alarm at seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        while !alter(history.choose_mut(&mut random).unwrap(), &mut random) {}
        altered += 1;
        found += usize::from(matches!(find(&history, 1_000_000), Finding::Violation(_)));
    }
    // An altered answer may be legal too, where operations overlap.
    assert!(found * 100 >= altered * 95, "only {found} of {altered} altered histories were found");
}

#[test]
fn a_limit_is_no_answer() {
    assert_eq!(find(&generator::legal(7, 4, 80, 0), 10), Finding::Undecided);
}

#[test]
fn a_long_history_takes_memory_and_time_in_proportion() {
    let history = generator::legal(5, 6, 4_000, 300);
    assert_eq!(find(&history, history.len() * 10), Finding::Linearizable);
}

#[test]
fn the_whole_check_passes_legal_histories_and_counts_them() {
    for seed in 0..20 {
        let history = generator::legal(seed, 4, 200, 40);
        let length = history.len();
        let Report { violations, undecided, counts } = check(&generator::setting(), history);
        assert!(violations.is_empty() && undecided.is_empty(), "seed {seed}: {violations:?} {undecided:?}");
        assert_eq!(counts.done + counts.refused + counts.unknown, length);
    }
}
