//! Values that many allocations have in common, kept once.
//!
//! Applying takes names and profiles from where the state holds them already; a decoded state has a copy of each for every
//! allocation. What it promises: nothing that can be seen changes, only what it takes. What it must not do: be needed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::state::State;

/// Values of which equal ones are to be shared.
#[derive(Debug)]
struct Pool<T>(BTreeSet<T>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T: Ord + Clone> Pool<T> {
    /// Puts the value that is equal and was seen first in the place of `value`.
    fn share(&mut self, value: &mut T) {
        match self.0.get(value) {
            Some(known) => *value = known.clone(),
            None => {
                self.0.insert(value.clone());
            }
        }
    }
}

impl State {
    /// Shares what equal parts of allocations have each for themselves; of use once after decoding a state.
    pub fn share_equal_values(&mut self) {
        let (mut jobs, mut task_managers, mut profiles) = (Pool::default(), Pool::default(), Pool::default());
        self.allocations.for_each_mut(|allocation| {
            let allocation = Arc::make_mut(allocation);
            jobs.share(&mut allocation.job);
            task_managers.share(&mut allocation.task_manager);
            profiles.share(&mut allocation.profile);
        });
    }
}
