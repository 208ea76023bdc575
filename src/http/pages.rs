//! Cutting lists into pages.
//!
//! What it promises: pages follow the order of the keys, and the cursor is the last key that was looked at; so an item
//! that exists during the whole listing is listed exactly once. A page looks at a bounded number of items, so that a
//! filter over a large state never holds the state for long.

use std::fmt::Display;
use std::ops::Bound;
use std::str::FromStr;

use super::extract::QueryParameters;
use super::refusal::Refusal;
use crate::api::Page;
use crate::api::pages::{PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX};

/// Items that one page looks at at most.
const LOOKED_AT_MAX: usize = 10_000;

/// Which page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageOf<K> {
    limit: usize,
    after: Option<K>,
}

impl<K> PageOf<K>
where
    K: FromStr + Ord + Display,
    K::Err: Display,
{
    /// Takes `limit` and `cursor` out of the query.
    pub(super) fn take(query: &mut QueryParameters) -> Result<Self, Refusal> {
        let limit = query.take_with("limit", |text| {
            let limit = text.parse::<u32>().ok().filter(|limit| (1..=PAGE_LIMIT_MAX).contains(limit));
            limit.ok_or_else(|| format!("it is 1 to {PAGE_LIMIT_MAX}"))
        })?;
        let after = query.take_with("cursor", |text| {
            text.parse::<K>().map_err(|_| "it is not a cursor of this list".to_owned())
        })?;
        let limit = limit.unwrap_or(PAGE_LIMIT_DEFAULT);
        Ok(Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), after })
    }

    /// The range of keys that this page and all later ones cover.
    pub(super) fn range(&self) -> (Bound<&K>, Bound<&K>) {
        let start = self.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        (start, Bound::Unbounded)
    }

    /// Makes the page of `entries`, which come in the order of their keys from [`Self::range`]. `show` gives the
    /// item of an entry, or `None` if a filter leaves it out; with it comes what the item counts for beside itself, so
    /// that a page of large items gets shorter.
    pub(super) fn fill<I: Display, V, T>(
        &self,
        entries: impl Iterator<Item = (I, V)>,
        mut show: impl FnMut(&I, V) -> Option<(T, usize)>,
    ) -> Page<T> {
        let mut items = Vec::new();
        let mut looked_at = 0_usize;
        let mut last: Option<I> = None;
        for (key, value) in entries {
            if items.len() >= self.limit || looked_at >= LOOKED_AT_MAX {
                return Page { items, next_cursor: last.map(|last| last.to_string()) };
            }
            looked_at += 1;
            if let Some((item, weight)) = show(&key, value) {
                items.push(item);
                looked_at += weight;
            }
            last = Some(key);
        }
        Page { items, next_cursor: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn numbers(count: u32) -> BTreeMap<u32, u32> {
        (0..count).map(|number| (number, number)).collect()
    }

    fn list(map: &BTreeMap<u32, u32>, after: Option<u32>, limit: usize) -> Page<u32> {
        let page = PageOf { limit, after };
        page.fill(map.range(page.range()), |_, number| (number % 2 == 0).then_some((*number, 0)))
    }

    #[test]
    fn pages_with_a_filter_list_each_item_once() {
        let map = numbers(100);
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = list(&map, after, 7);
            listed.extend(page.items);
            match page.next_cursor {
                Some(cursor) => after = Some(cursor.parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(listed, (0..100).step_by(2).collect::<Vec<_>>());
    }

    #[test]
    fn the_last_page_has_no_cursor_also_when_it_is_full() {
        assert_eq!(list(&numbers(4), None, 2).next_cursor, Some("2".to_owned()));
        assert_eq!(list(&numbers(3), None, 2).next_cursor, None);
        assert_eq!(list(&numbers(0), None, 2).items, Vec::<u32>::new());
    }

    #[test]
    fn a_page_looks_at_a_bounded_number_of_items() {
        let map: BTreeMap<u32, u32> = (0..30_000).map(|number| (number, 1)).collect();
        let page = list(&map, None, 5);
        assert_eq!((page.items.len(), page.next_cursor), (0, Some("9999".to_owned())));
    }
}
