//! Values that many entries of the index have in common, kept once.
//!
//! What it promises: [`Shared`] compares, orders and prints as its content, and compares in one step when both sides
//! are the same allocation. What it must not do: let an address decide anything that can be seen.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// A value that is kept once and shared.
#[derive(Debug)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Shares `value`.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Borrow<T> for Shared<T> {
    fn borrow(&self) -> &T {
        &self.0
    }
}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: Ord> PartialOrd for Shared<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> Ord for Shared<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

/// Values in use, each with the number of its users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interned<T: Ord>(BTreeMap<Shared<T>, u32>);

impl<T: Ord> Default for Interned<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Ord + Clone> Interned<T> {
    /// The shared form of `value`, with one more user.
    pub(super) fn take(&mut self, value: &T) -> Shared<T> {
        let shared = match self.0.get_key_value(value) {
            Some((shared, _)) => shared.clone(),
            None => Shared::new(value.clone()),
        };
        *self.0.entry(shared.clone()).or_insert(0) += 1;
        shared
    }

    /// One user less; the last one takes the value along.
    pub(super) fn release(&mut self, value: &Shared<T>) {
        let Some(users) = self.0.get_mut(value) else { return };
        *users -= 1;
        if *users == 0 {
            self.0.remove(value);
        }
    }

    /// All values in use, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Shared<T>> {
        self.0.keys()
    }
}
