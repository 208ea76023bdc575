//! An ordered map that is cheap to clone: entries live in chunks that clones share until one of them writes.
//!
//! What it promises: the order of the keys and nothing else is visible, so two maps with equal entries are equal, print
//! alike and encode to equal bytes however they came to be; `clone` costs one reference count per chunk; a write
//! costs O(log n) and copies at most one chunk that a clone still shares. What it must not do: order by anything
//! but `Ord`. Tested below against `BTreeMap`.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::iter::FlatMap;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Entries of a full chunk.
const CHUNK_MAX: usize = 64;
/// A chunk with fewer entries is joined with a neighbour where that fits.
const CHUNK_MIN: usize = 16;

type Chunk<K, V> = Vec<(K, V)>;

/// An ordered map whose clones share what neither of them has changed.
#[derive(Clone)]
pub struct SharedMap<K, V> {
    /// Every chunk under a key that is at most its first; no chunk is empty.
    chunks: BTreeMap<K, Arc<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { chunks: BTreeMap::new(), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value under `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.get_key_value(key).map(|(_, value)| value)
    }

    /// The entry under `key`, with the key as the map holds it.
    pub fn get_key_value(&self, key: &K) -> Option<(&K, &V)> {
        let (_, chunk) = self.chunks.range(..=key).next_back()?;
        let place = chunk.binary_search_by(|(present, _)| present.cmp(key)).ok()?;
        chunk.get(place).map(|(present, value)| (present, value))
    }

    /// Whether `key` has a value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The value under `key`, to be changed. Copies the chunk if a clone shares it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (_, chunk) = self.chunks.range_mut(..=key).next_back()?;
        let place = chunk.binary_search_by(|(present, _)| present.cmp(key)).ok()?;
        Arc::make_mut(chunk).get_mut(place).map(|(_, value)| value)
    }

    /// Changes every value, in order. Copies the chunks that a clone shares.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(&mut V)) {
        for chunk in self.chunks.values_mut() {
            for (_, value) in Arc::make_mut(chunk) {
                change(value);
            }
        }
    }

    /// Puts `value` under `key`; gives back what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(bound) = self.lowered_bound_for(&key) else {
            self.chunks.insert(key.clone(), Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let is_last = self.chunks.last_key_value().is_some_and(|(last, _)| *last == bound);
        let chunk = Arc::make_mut(self.chunks.get_mut(&bound).expect("the bound was just found"));
        match chunk.binary_search_by(|(present, _)| present.cmp(&key)) {
            Ok(place) => {
                let (_, present) = chunk.get_mut(place).expect("the search gave an index within the chunk");
                Some(std::mem::replace(present, value))
            }
            Err(place) => {
                self.len += 1;
                if is_last && place == chunk.len() && place >= CHUNK_MAX {
                    // Keys that only grow fill their chunks instead of leaving halves behind.
                    self.chunks.insert(key.clone(), Arc::new(vec![(key, value)]));
                    return None;
                }
                chunk.insert(place, (key, value));
                if chunk.len() > CHUNK_MAX {
                    let upper = chunk.split_off(chunk.len() / 2);
                    let (first, _) = upper.first().expect("half of a full chunk is not empty");
                    self.chunks.insert(first.clone(), Arc::new(upper));
                }
                None
            }
        }
    }

    /// Takes the entry of `key` out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (bound, chunk) = self.chunks.range_mut(..=key).next_back()?;
        let place = chunk.binary_search_by(|(present, _)| present.cmp(key)).ok()?;
        let (_, value) = Arc::make_mut(chunk).remove(place);
        self.len -= 1;
        if chunk.len() < CHUNK_MIN {
            let bound = bound.clone();
            self.join(&bound);
        }
        Some(value)
    }

    /// The first entry.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// The last entry.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }

    /// All entries in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.into_iter()
    }

    /// All keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries whose keys are in `range`, in order; finding the first costs O(log n).
    pub fn range<R: RangeBounds<K>>(&self, range: R) -> impl Iterator<Item = (&K, &V)> {
        let bound = match range.start_bound() {
            Bound::Included(key) | Bound::Excluded(key) => self.bound_for(key),
            Bound::Unbounded => None,
        };
        let chunks = match bound {
            Some(bound) => self.chunks.range(bound..),
            None => self.chunks.range(..),
        };
        let start = range.start_bound().cloned();
        let end = range.end_bound().cloned();
        let is_before = move |key: &K| match &start {
            Bound::Included(start) => key < start,
            Bound::Excluded(start) => key <= start,
            Bound::Unbounded => false,
        };
        let is_within = move |key: &K| match &end {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        };
        chunks
            .flat_map(move |(_, chunk)| {
                let first = chunk.partition_point(|(key, _)| is_before(key));
                chunk.iter().skip(first)
            })
            .map(|(key, value)| (key, value))
            .take_while(move |(key, _)| is_within(key))
    }

    /// The bound of the chunk that holds `key` if any does: the last that is not above it.
    fn bound_for(&self, key: &K) -> Option<K> {
        self.chunks.range(..=key).next_back().map(|(bound, _)| bound.clone())
    }

    /// As [`Self::bound_for`]; but if `key` is below all, the first chunk gets it as its bound. `None` if there is no
    /// chunk.
    fn lowered_bound_for(&mut self, key: &K) -> Option<K> {
        if let Some(bound) = self.bound_for(key) {
            return Some(bound);
        }
        let (_, first) = self.chunks.pop_first()?;
        self.chunks.insert(key.clone(), first);
        Some(key.clone())
    }

    /// Joins the small chunk under `bound` with a neighbour, or drops it if it is empty.
    fn join(&mut self, bound: &K) {
        let Some(chunk) = self.chunks.get(bound) else { return };
        let len = chunk.len();
        let fits = |other: &Arc<Chunk<K, V>>| len == 0 || other.len() + len <= CHUNK_MAX / 2;
        let before = self.chunks.range(..bound).next_back().filter(|(_, other)| fits(other));
        let after = self
            .chunks
            .range((Bound::Excluded(bound), Bound::Unbounded))
            .next()
            .filter(|(_, other)| fits(other));
        let (lower, upper) = match (before, after) {
            (Some((before, _)), _) => (before.clone(), bound.clone()),
            (None, Some((after, _))) => (bound.clone(), after.clone()),
            (None, None) => {
                if len == 0 {
                    self.chunks.remove(bound);
                }
                return;
            }
        };
        let moved = self.chunks.remove(&upper).expect("the upper neighbour was just found");
        let target = Arc::make_mut(self.chunks.get_mut(&lower).expect("the lower neighbour was just found"));
        target.extend(moved.iter().cloned());
    }
}

/// The entries of a [`SharedMap`] in order.
pub struct Iter<'a, K, V> {
    entries: Entries<'a, K, V>,
}

type Chunks<'a, K, V> = btree_map::Values<'a, K, Arc<Chunk<K, V>>>;
type Entries<'a, K, V> = FlatMap<Chunks<'a, K, V>, &'a Chunk<K, V>, Opened<'a, K, V>>;
type Opened<'a, K, V> = fn(&'a Arc<Chunk<K, V>>) -> &'a Chunk<K, V>;

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next().map(|(key, value)| (key, value))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entries.next_back().map(|(key, value)| (key, value))
    }
}

impl<'a, K, V> IntoIterator for &'a SharedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        Iter { entries: self.chunks.values().flat_map(|chunk| chunk) }
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.into_iter().eq(other)
    }
}

impl<K: Eq, V: Eq> Eq for SharedMap<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: Serialize, V: Serialize> Serialize for SharedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(ExactEntries { entries: self.into_iter(), left: self.len })
    }
}

/// Tells the serializer how many entries there are, which formats without an end mark need beforehand.
struct ExactEntries<'a, K, V> {
    entries: Iter<'a, K, V>,
    left: usize,
}

impl<'a, K, V> Iterator for ExactEntries<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.saturating_sub(1);
        self.entries.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'de, K, V> Deserialize<'de> for SharedMap<K, V>
where
    K: Ord + Clone + Deserialize<'de>,
    V: Clone + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<K, V>(PhantomData<(K, V)>);

impl<'de, K, V> Visitor<'de> for EntriesVisitor<K, V>
where
    K: Ord + Clone + Deserialize<'de>,
    V: Clone + Deserialize<'de>,
{
    type Value = SharedMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = SharedMap::new();
        while let Some((key, value)) = access.next_entry()? {
            map.insert(key, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(map: &SharedMap<u16, u16>, model: &BTreeMap<u16, u16>) {
        assert_eq!(map.len(), model.len());
        assert!(map.iter().eq(model.iter()));
        assert!(map.iter().rev().eq(model.iter().rev()));
        assert!(map.chunks.values().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_MAX));
        assert!(map.chunks.iter().all(|(bound, chunk)| chunk.iter().all(|(key, _)| bound <= key)));
    }

    proptest! {
        #[test]
        fn it_does_what_a_btree_map_does(
            steps in prop::collection::vec((0_u16..400, any::<u16>(), 0_u8..5), 0..1500),
            probe in 0_u16..400,
        ) {
            let (mut map, mut model) = (SharedMap::new(), BTreeMap::new());
            for (key, value, step) in steps {
                match step {
                    0 | 1 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    _ => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                }
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!(map.len(), model.len());
            }
            check(&map, &model);
            prop_assert!(map.range(probe..).eq(model.range(probe..)));
            prop_assert!(map.range(..probe).eq(model.range(..probe)));
            let after = (Bound::Excluded(probe), Bound::Included(probe.saturating_add(90)));
            prop_assert!(map.range(after).eq(model.range(after)));
        }

        #[test]
        fn what_one_clone_writes_the_other_does_not_see(keys in prop::collection::vec(0_u16..200, 1..300)) {
            let map: SharedMap<u16, u16> = (0..200).map(|key| (key, key)).collect();
            let model: BTreeMap<u16, u16> = (0..200).map(|key| (key, key)).collect();
            let mut clone = map.clone();
            for key in keys {
                clone.remove(&key);
                clone.insert(key.wrapping_add(1000), 0);
                if let Some(value) = clone.get_mut(&0) {
                    *value += 1;
                }
            }
            check(&map, &model);
        }
    }

    #[test]
    fn a_key_below_all_others_is_found() {
        let mut map = SharedMap::from_iter([(5, 'b')]);
        map.insert(3, 'a');
        assert_eq!(map.get(&3), Some(&'a'));
        assert_eq!(map.remove(&3), Some('a'));
        assert_eq!(map.get(&3), None);
    }

    #[test]
    fn growing_keys_fill_their_chunks() {
        let map: SharedMap<u32, ()> = (0..6_400).map(|key| (key, ())).collect();
        assert_eq!(map.chunks.len(), 100);
    }

    #[test]
    fn removing_nearly_everything_leaves_few_chunks() {
        let mut map: SharedMap<u32, ()> = (0..6_400).map(|key| (key, ())).collect();
        (0..6_400).filter(|key| key % 64 != 0).for_each(|key| {
            map.remove(&key);
        });
        assert_eq!(map.len(), 100);
        assert!(map.chunks.len() <= 20, "{} chunks", map.chunks.len());
    }
}
