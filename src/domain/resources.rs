//! Amounts of resources, in integers only.
//!
//! What it promises: CPU in millicores, memory in bytes, named amounts as integers, checked arithmetic throughout; a
//! zero amount of an extended resource is never stored, so equal profiles have equal bytes. What it must not do:
//! parse or print units (the HTTP API does), or use floats.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::Name;

/// What a slot or a TaskManager has (Flink's ResourceProfile). Missing amounts are zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceProfile {
    /// CPU in thousandths of a core.
    pub cpu_millis: u64,
    /// Heap for tasks, in bytes.
    pub task_heap_bytes: u64,
    /// Off-heap memory for tasks, in bytes.
    pub task_off_heap_bytes: u64,
    /// Managed memory, in bytes.
    pub managed_bytes: u64,
    /// Network memory, in bytes.
    pub network_bytes: u64,
    /// Named amounts, for example `gpu`. Private, so that no zero is ever stored.
    extended: BTreeMap<Name, u64>,
}

impl ResourceProfile {
    /// Sets a named amount; zero removes it.
    #[must_use]
    pub fn with_extended(mut self, name: Name, amount: u64) -> Self {
        if amount == 0 {
            self.extended.remove(&name);
        } else {
            self.extended.insert(name, amount);
        }
        self
    }

    /// The named amounts, in the order of their names.
    pub fn extended(&self) -> &BTreeMap<Name, u64> {
        &self.extended
    }

    /// Whether every amount is zero.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Whether every amount is at most that of `capacity`.
    pub fn fits_within(&self, capacity: &Self) -> bool {
        let has = |name: &Name| capacity.extended.get(name).copied().unwrap_or(0);
        self.plain().into_iter().zip(capacity.plain()).all(|(wanted, has)| wanted <= has)
            && self.extended.iter().all(|(name, wanted)| *wanted <= has(name))
    }

    /// The first dimension, by its name in the API, in which `self` exceeds `capacity`.
    pub fn first_exceeding(&self, capacity: &Self) -> Option<String> {
        let plain = self.plain();
        let limit = capacity.plain();
        let exceeded = PLAIN_NAMES.iter().zip(plain).zip(limit).find(|((_, wanted), has)| wanted > has);
        if let Some(((name, _), _)) = exceeded {
            return Some((*name).to_owned());
        }
        self.extended
            .iter()
            .find(|(name, amount)| **amount > capacity.extended.get(*name).copied().unwrap_or(0))
            .map(|(name, _)| name.to_string())
    }

    /// The sum, or `None` if an amount would exceed 64 bits.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        self.combine(other, u64::checked_add)
    }

    /// The difference, or `None` if an amount would fall below zero.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        self.combine(other, u64::checked_sub)
    }

    /// This profile `count` times, or `None` beyond 64 bits.
    #[must_use]
    pub fn checked_mul(&self, count: u64) -> Option<Self> {
        self.map(|amount| amount.checked_mul(count))
    }

    /// An equal share of `parts`, each amount rounded down (Flink's default slot profile). `parts` of zero count as one.
    #[must_use]
    pub fn divided_by(&self, parts: u64) -> Self {
        let parts = parts.max(1);
        self.map(|amount| amount.checked_div(parts)).expect("a division by at least one has a result")
    }

    /// The five unnamed amounts in their fixed order.
    pub fn plain(&self) -> [u64; 5] {
        [
            self.cpu_millis,
            self.task_heap_bytes,
            self.task_off_heap_bytes,
            self.managed_bytes,
            self.network_bytes,
        ]
    }

    /// A profile of the five unnamed amounts in the order of [`PLAIN_NAMES`].
    pub fn from_plain(
        [cpu_millis, task_heap_bytes, task_off_heap_bytes, managed_bytes, network_bytes]: [u64; 5],
    ) -> Self {
        Self {
            cpu_millis,
            task_heap_bytes,
            task_off_heap_bytes,
            managed_bytes,
            network_bytes,
            extended: BTreeMap::new(),
        }
    }

    fn combine(&self, other: &Self, operation: impl Fn(u64, u64) -> Option<u64>) -> Option<Self> {
        let mut plain = [0; 5];
        for ((sum, left), right) in plain.iter_mut().zip(self.plain()).zip(other.plain()) {
            *sum = operation(left, right)?;
        }
        let mut result = Self::from_plain(plain);
        result.extended = self.extended.clone();
        for (name, right) in &other.extended {
            let left = result.extended.get(name).copied().unwrap_or(0);
            match operation(left, *right)? {
                0 => result.extended.remove(name),
                amount => result.extended.insert(name.clone(), amount),
            };
        }
        Some(result)
    }

    fn map(&self, operation: impl Fn(u64) -> Option<u64>) -> Option<Self> {
        let mut plain = self.plain();
        for amount in &mut plain {
            *amount = operation(*amount)?;
        }
        let mut result = Self::from_plain(plain);
        for (name, amount) in &self.extended {
            let amount = operation(*amount)?;
            if amount != 0 {
                result.extended.insert(name.clone(), amount);
            }
        }
        Some(result)
    }
}

/// The names of [`ResourceProfile::plain`] in the API, in the same order.
pub const PLAIN_NAMES: [&str; 5] =
    ["cpu_cores", "task_heap_memory", "task_off_heap_memory", "managed_memory", "network_memory"];

/// A ceiling: only what is named is limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// Slots at once.
    pub slots: Option<u64>,
    /// The five unnamed amounts in the order of [`PLAIN_NAMES`]; `None` is unlimited.
    pub plain: [Option<u64>; 5],
    /// Named amounts; a name that is missing is unlimited.
    pub extended: BTreeMap<Name, u64>,
}

/// What is charged to a queue, or held by a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Slots held.
    pub slots: u64,
    /// The sum of their profiles.
    pub profile: ResourceProfile,
}

impl Usage {
    /// This usage and one more slot of `profile`, or `None` beyond 64 bits.
    #[must_use]
    pub fn checked_with(&self, profile: &ResourceProfile) -> Option<Self> {
        Some(Self { slots: self.slots.checked_add(1)?, profile: self.profile.checked_add(profile)? })
    }

    /// This usage less one slot of `profile`, or `None` below zero.
    #[must_use]
    pub fn checked_without(&self, profile: &ResourceProfile) -> Option<Self> {
        Some(Self { slots: self.slots.checked_sub(1)?, profile: self.profile.checked_sub(profile)? })
    }
}

impl ResourceLimit {
    /// Whether `usage` stays within this ceiling in every named dimension.
    pub fn admits(&self, usage: &Usage) -> bool {
        let within = |limit: &Option<u64>, amount: u64| limit.is_none_or(|limit| amount <= limit);
        within(&self.slots, usage.slots)
            && self.plain.iter().zip(usage.profile.plain()).all(|(limit, amount)| within(limit, amount))
            && self
                .extended
                .iter()
                .all(|(name, limit)| usage.profile.extended().get(name).copied().unwrap_or(0) <= *limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(cpu_millis: u64, gpus: u64) -> ResourceProfile {
        let gpu = Name::new("gpu").unwrap();
        ResourceProfile { cpu_millis, ..Default::default() }.with_extended(gpu, gpus)
    }

    #[test]
    fn what_is_taken_and_given_back_leaves_equal_bytes() {
        let total = profile(4000, 1);
        let left = total.checked_sub(&profile(1000, 1)).unwrap();
        assert_eq!(left, profile(3000, 0));
        assert_eq!(left.checked_add(&profile(1000, 1)).unwrap(), total);
    }

    #[test]
    fn nothing_falls_below_zero_or_wraps() {
        assert_eq!(profile(1, 0).checked_sub(&profile(2, 0)), None);
        assert_eq!(profile(1, 0).checked_sub(&profile(0, 1)), None);
        assert_eq!(profile(u64::MAX, 0).checked_add(&profile(1, 0)), None);
    }

    #[test]
    fn the_first_dimension_that_does_not_fit_is_named_as_the_api_names_it() {
        assert_eq!(profile(2, 0).first_exceeding(&profile(1, 9)), Some("cpu_cores".to_owned()));
        assert_eq!(profile(1, 2).first_exceeding(&profile(1, 1)), Some("gpu".to_owned()));
        assert_eq!(profile(1, 1).first_exceeding(&profile(1, 1)), None);
    }

    #[test]
    fn a_limit_binds_only_what_it_names() {
        let limit = ResourceLimit { slots: Some(2), ..Default::default() };
        assert!(limit.admits(&Usage { slots: 2, profile: profile(u64::MAX, 99) }));
        assert!(!limit.admits(&Usage { slots: 3, profile: profile(0, 0) }));
    }
}
