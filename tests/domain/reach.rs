//! The generator is worth its time only if it reaches what can happen: every command done, and nearly every refusal.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use slotkeeper::domain::{Command, Event, Record, Rejection, RoundAfter, StaleDecision};

use crate::examples::{variant_of, variants_of};
use crate::generator::{play, run};

/// What random runs do not reach: the first two need more entries than a run has, the edges refuse the third, and
/// runs are of one cluster.
const OUT_OF_REACH: [&str; 4] = ["IdempotencyTableFull", "LimitReached", "UnknownAllocation", "WrongCluster"];

/// How often each command was done, each refusal given, each event told.
#[derive(Default)]
struct Counts {
    done: BTreeMap<String, u32>,
    refused: BTreeMap<String, u32>,
    stale: BTreeMap<String, u32>,
    told: BTreeMap<String, u32>,
}

fn counts(runs: usize, steps: usize) -> Counts {
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut counts = Counts::default();
    for _ in 0..runs {
        let played = play(&run(steps).new_tree(&mut runner).unwrap().current()).unwrap();
        for (record, applied) in played.log.iter().zip(&played.applied) {
            for event in &applied.events {
                *counts.told.entry(variant_of(event)).or_default() += 1;
            }
            let Record::RoundAfter(RoundAfter { batch, .. }) = record else { continue };
            for (keyed, outcome) in batch.commands.iter().zip(&applied.outcomes) {
                match &*outcome.result {
                    Ok(_) => *counts.done.entry(variant_of(&keyed.command)).or_default() += 1,
                    Err(rejection) => *counts.refused.entry(variant_of(rejection)).or_default() += 1,
                }
                if let Err(Rejection::StaleDecision(decision)) = &*outcome.result {
                    *counts.stale.entry(variant_of(decision)).or_default() += 1;
                }
            }
        }
    }
    counts
}

#[test]
fn random_runs_reach_every_command_event_and_refusal() {
    let counts = counts(300, 24);
    let missing = |all: &[&'static str], seen: &BTreeMap<String, u32>| -> Vec<&'static str> {
        all.iter().copied().filter(|name| seen.get(*name).is_none_or(|count| *count < 3)).collect()
    };
    println!(
        "done {:?}\nrefused {:?}\nstale {:?}\ntold {:?}",
        counts.done, counts.refused, counts.stale, counts.told
    );
    assert_eq!(
        missing(variants_of::<Command>(), &counts.done),
        [""; 0],
        "commands that were hardly ever done"
    );
    assert_eq!(missing(variants_of::<Event>(), &counts.told), [""; 0], "events that were hardly ever told");
    assert_eq!(
        missing(variants_of::<StaleDecision>(), &counts.stale),
        [""; 0],
        "hardly ever refused for these"
    );
    let mut unseen = missing(variants_of::<Rejection>(), &counts.refused);
    unseen.retain(|name| !OUT_OF_REACH.contains(name));
    assert_eq!(unseen, [""; 0], "refusals that were hardly ever given");
}
