//! The numbered invariants of the state.
//!
//! What it promises: each invariant has a number that never changes its meaning, a name, and one function. What it must
//! not do: repair; a broken invariant stops the node. `docs/invariants.md` explains them.

use std::fmt;

use super::indexes::Indexes;
use super::state::State;

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
        write!(f, "I{} {}: {}", self.number, self.name, self.detail)
    }
}

impl State {
    /// Every broken invariant; empty when the state is sound.
    pub fn violations(&self) -> Vec<Violation> {
        if self.indexes == Indexes::rebuilt(self) {
            return Vec::new();
        }
        let detail = "an index differs from a rebuild".to_owned();
        vec![Violation { number: 10, name: "indexes equal a rebuild", detail }]
    }
}
