//! The numbered invariants of the state.
//!
//! What it promises: each invariant has a number that never changes its meaning, a name, a sentence and one function in
//! `invariants/`; a check changes nothing and costs time in proportion to the state. What it must not do: repair; a
//! broken invariant stops the node. `docs/invariants.md` tells people what each means; a test keeps the two equal.

use std::fmt;

use super::state::State;

mod amounts;
mod growth;
mod membership;

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The number of the invariant.
    pub number: u8,
    /// Its name.
    pub name: &'static str,
    /// What is wrong, with ids.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I{} ({}): {}", self.number, self.name, self.detail)
    }
}

/// What is wrong, in words with ids; `Ok` if nothing is.
type Finding = Result<(), String>;

/// How an invariant is checked.
#[derive(Clone, Copy)]
enum Check {
    /// On one state.
    State(fn(&State) -> Finding),
    /// On an earlier and a later state of one log.
    Step(fn(&State, &State) -> Finding),
}

/// One invariant.
#[derive(Clone, Copy)]
pub struct Invariant {
    /// Its number, for ever.
    pub number: u8,
    /// Its name, in a few words.
    pub name: &'static str,
    /// What must hold.
    pub description: &'static str,
    check: Check,
}

/// All invariants in the order of their numbers. Append only.
pub const INVARIANTS: [Invariant; 15] = [
    Invariant {
        number: 1,
        name: "one allocation per slot",
        description: "A slot has at most one allocation, and each allocation has the slot that it names.",
        check: Check::State(membership::one_allocation_per_slot),
    },
    Invariant {
        number: 2,
        name: "allocations fit",
        description: "What is free on a TaskManager is its total less its allocations, and no slot is beyond its offer.",
        check: Check::State(amounts::allocations_fit),
    },
    Invariant {
        number: 3,
        name: "numbers only grow",
        description: "Counters, epochs and generations never fall, and a new allocation has a new, higher token.",
        check: Check::Step(growth::numbers_only_grow),
    },
    Invariant {
        number: 4,
        name: "no orphans",
        description: "Every allocation belongs to a known job, which lists it, and to a known TaskManager.",
        check: Check::State(membership::no_orphans),
    },
    Invariant {
        number: 5,
        name: "usage is the sum",
        description: "What a queue or a job is charged is the sum over its allocations; a queue counts its running jobs.",
        check: Check::State(amounts::usage_is_the_sum),
    },
    Invariant {
        number: 6,
        name: "no queue above its maximum",
        description: "What a queue is charged stays within its maximum in every dimension.",
        check: Check::State(amounts::no_queue_above_its_maximum),
    },
    Invariant {
        number: 7,
        name: "nothing on the lost",
        description: "A lost TaskManager holds no allocation.",
        check: Check::State(membership::nothing_on_the_lost),
    },
    Invariant {
        number: 8,
        name: "time and revision never fall",
        description: "Logical time, revision and session never fall, and the cluster never changes.",
        check: Check::Step(growth::time_and_revision_never_fall),
    },
    Invariant {
        number: 9,
        name: "finished jobs hold nothing",
        description: "A finished job has no allocation and no requirement line.",
        check: Check::State(membership::finished_jobs_hold_nothing),
    },
    Invariant {
        number: 10,
        name: "indexes equal a rebuild",
        description: "What is derived incrementally equals what is derived anew.",
        check: Check::State(membership::indexes_equal_a_rebuild),
    },
    Invariant {
        number: 11,
        name: "node ids are minted once",
        description: "No two minted nodes have the same id, and none is above the counter.",
        check: Check::State(growth::node_ids_are_minted_once),
    },
    Invariant {
        number: 12,
        name: "lines hold what names them",
        description: "A requirement line holds exactly the allocations that name it, and no more than it desires.",
        check: Check::State(membership::lines_hold_what_names_them),
    },
    Invariant {
        number: 13,
        name: "drains end",
        description: "A TaskManager that drains holds an allocation; one that is drained holds none.",
        check: Check::State(membership::drains_end),
    },
    Invariant {
        number: 14,
        name: "what is minted is unique",
        description: "Allocations are minted by this cluster, their tokens are unique, and none has ended and lives.",
        check: Check::State(growth::what_is_minted_is_unique),
    },
    Invariant {
        number: 15,
        name: "everything is bounded",
        description: "Every list of the state is within its limit.",
        check: Check::State(amounts::everything_is_bounded),
    },
];

impl State {
    /// Every invariant that this state breaks on its own; empty when it is sound.
    pub fn violations(&self) -> Vec<Violation> {
        let found = |invariant: &Invariant| match invariant.check {
            Check::State(check) => invariant.found(check(self)),
            Check::Step(_) => None,
        };
        INVARIANTS.iter().filter_map(found).collect()
    }

    /// Every invariant that the way from `previous`, an earlier state of the same log, to this state breaks.
    pub fn violations_since(&self, previous: &State) -> Vec<Violation> {
        let found = |invariant: &Invariant| match invariant.check {
            Check::State(_) => None,
            Check::Step(check) => invariant.found(check(previous, self)),
        };
        INVARIANTS.iter().filter_map(found).collect()
    }
}

impl Invariant {
    fn found(&self, finding: Finding) -> Option<Violation> {
        finding.err().map(|detail| Violation { number: self.number, name: self.name, detail })
    }
}

/// Turns a condition that does not hold into a finding.
fn require(holds: bool, detail: impl FnOnce() -> String) -> Finding {
    if holds { Ok(()) } else { Err(detail()) }
}

#[cfg(test)]
mod tests;
