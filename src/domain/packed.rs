//! A queue of values that are many and seldom looked at: they are kept as bytes, in pages that clones share. Beside each lies
//! a mark, which can be looked at for nothing.
//!
//! What it promises: values go in at the back and out at the front, and keep their number; a clone costs one reference count
//! per page; a write copies at most the last page; two queues with equal values are equal wherever their pages
//! begin. What it must not do: know what the values are. Tested below against `VecDeque`.
//!
//! A value takes the bytes of its encoding, four more, and its mark. As a value of its own it takes several times as much: most of an
//! answer in memory is pointers, and what the allocator rounds up.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::ser::SerializeTuple;
use serde::{Serialize, Serializer};

use crate::codec;

/// Values of a full page. Few enough that a copy of a page is cheap, many enough that pages are few.
const PAGE_VALUES: usize = 64;

/// Values one after the other.
#[derive(Debug, Clone)]
struct Page<M> {
    bytes: Vec<u8>,
    /// Where each value ends, and its mark.
    ends: Vec<(u32, M)>,
}

impl<M> Default for Page<M> {
    fn default() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }
}

/// A queue whose values are encoded, each with a mark.
#[derive(Debug)]
pub struct PackedQueue<T, M> {
    pages: VecDeque<Arc<Page<M>>>,
    /// The number of the first value of the first page.
    base: u64,
    /// The number of the first value that is still in the queue.
    first: u64,
    /// The number that the next value gets.
    next: u64,
    values: PhantomData<fn() -> T>,
}

impl<M: Copy> Page<M> {
    fn value(&self, place: usize) -> Option<&[u8]> {
        let (end, _) = self.ends.get(place)?;
        let start = match place.checked_sub(1) {
            Some(before) => self.ends.get(before)?.0,
            None => 0,
        };
        self.bytes.get(index(start)..index(*end))
    }

    fn push<T: Serialize>(&mut self, value: &T, mark: M) {
        codec::encode_onto(&mut self.bytes, value).expect("values of the domain encode: no type refuses");
        let end =
            u32::try_from(self.bytes.len()).expect("64 values that fit into rounds are shorter than 4 GiB");
        self.ends.push((end, mark));
        if self.is_full() {
            // Copies, because an allocator may leave a block that shrinks to more than half of it where and as large as it is.
            self.bytes = self.bytes.as_slice().to_vec();
            self.ends = self.ends.as_slice().to_vec();
        }
    }

    fn is_full(&self) -> bool {
        self.ends.len() == PAGE_VALUES
    }
}

fn index(offset: u32) -> usize {
    usize::try_from(offset).expect("an offset into memory fits an index")
}

impl<T: Serialize + DeserializeOwned, M: Copy> PackedQueue<T, M> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        usize::try_from(self.next - self.first).expect("a length in memory fits an index")
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first == self.next
    }

    /// Puts `value` with its mark at the back and gives its number.
    pub fn push_back(&mut self, value: &T, mark: M) -> u64 {
        if self.pages.back().is_none_or(|page| page.is_full()) {
            self.pages.push_back(Arc::default());
        }
        Arc::make_mut(self.pages.back_mut().expect("a page was just added")).push(value, mark);
        let number = self.next;
        self.next = number.checked_add(1).expect("fewer values than 2^64 are ever put in");
        number
    }

    /// The value with this number, if it is in the queue.
    pub fn get(&self, number: u64) -> Option<T> {
        self.bytes(number).map(decoded)
    }

    /// The mark of the first value.
    pub fn front_mark(&self) -> Option<M> {
        if self.is_empty() { None } else { self.mark(self.first) }
    }

    /// Drops the first value and gives the number that it had.
    pub fn drop_front(&mut self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let number = self.first;
        self.first += 1;
        let is_page_over = self.first - self.base >= PAGE_VALUES.try_into().expect("a page is small");
        if is_page_over {
            self.pages.pop_front();
            self.base = self.first;
        }
        Some(number)
    }

    /// All values with their numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, T)> {
        (self.first..self.next).filter_map(|number| Some((number, self.get(number)?)))
    }

    /// All marks with the numbers of their values, in order.
    pub fn marks(&self) -> impl Iterator<Item = (u64, M)> {
        (self.first..self.next).filter_map(|number| Some((number, self.mark(number)?)))
    }

    fn mark(&self, number: u64) -> Option<M> {
        let place = usize::try_from(number.checked_sub(self.base)?).ok()?;
        let (_, mark) = self.pages.get(place / PAGE_VALUES)?.ends.get(place % PAGE_VALUES)?;
        Some(*mark)
    }

    /// All values in order, as they are encoded.
    pub fn encoded(&self) -> impl Iterator<Item = Encoded<'_>> {
        (self.first..self.next).filter_map(|number| self.bytes(number).map(Encoded))
    }

    fn bytes(&self, number: u64) -> Option<&[u8]> {
        if !(self.first..self.next).contains(&number) {
            return None;
        }
        let place = usize::try_from(number - self.base).ok()?;
        self.pages.get(place / PAGE_VALUES)?.value(place % PAGE_VALUES)
    }
}

/// A value that is encoded already. To a serializer of `codec` it is the value: an array of bytes is nothing but its bytes
/// there, so that it is neither decoded nor encoded again.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a>(&'a [u8]);

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = serializer.serialize_tuple(self.0.len())?;
        for byte in self.0 {
            bytes.serialize_element(byte)?;
        }
        bytes.end()
    }
}

impl<'a> Encoded<'a> {
    /// Only its bytes, to any serializer.
    pub fn as_byte_string(self) -> ByteString<'a> {
        ByteString(self.0)
    }
}

/// Bytes that are written as a string of bytes, with its length.
#[derive(Debug, Clone, Copy)]
pub struct ByteString<'a>(&'a [u8]);

impl Serialize for ByteString<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// What was encoded here, decoded.
fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> T {
    codec::decode(bytes, bytes.len()).expect("what was encoded in this process decodes")
}

impl<T, M> Default for PackedQueue<T, M> {
    fn default() -> Self {
        Self { pages: VecDeque::new(), base: 0, first: 0, next: 0, values: PhantomData }
    }
}

impl<T, M> Clone for PackedQueue<T, M> {
    fn clone(&self) -> Self {
        let Self { pages, base, first, next, values } = self;
        Self { pages: pages.clone(), base: *base, first: *first, next: *next, values: *values }
    }
}

/// Equal values have equal bytes; how they are numbered, and their marks, do not count.
impl<T: Serialize + DeserializeOwned, M: Copy> PartialEq for PackedQueue<T, M> {
    fn eq(&self, other: &Self) -> bool {
        let is_equal = |place| self.bytes(self.first + place) == other.bytes(other.first + place);
        self.len() == other.len() && (0..self.next - self.first).all(is_equal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Push(String),
        Drop,
        /// Goes on with the clone, and keeps the original to see that it stays as it is.
        Clone,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => ".{0,40}".prop_map(Step::Push),
            4 => Just(Step::Drop),
            1 => Just(Step::Clone),
        ]
    }

    fn values(queue: &PackedQueue<String, usize>) -> Vec<String> {
        queue.iter().map(|(_, value)| value).collect()
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_queue_holds(steps in prop::collection::vec(step(), 0..600)) {
            let (mut queue, mut model) = (PackedQueue::default(), VecDeque::new());
            let (mut dropped, mut kept) = (0, Vec::new());
            for step in steps {
                match step {
                    Step::Push(value) => {
                        let number = queue.push_back(&value, value.len());
                        model.push_back(value);
                        prop_assert_eq!(number + 1 - dropped, u64::try_from(model.len()).unwrap());
                    }
                    Step::Drop => {
                        let number = model.pop_front().map(|_| dropped);
                        prop_assert_eq!(queue.drop_front(), number);
                        dropped += u64::from(number.is_some());
                    }
                    Step::Clone => kept.push((queue.clone(), model.clone())),
                }
                prop_assert_eq!(queue.front_mark(), model.front().map(String::len));
                prop_assert_eq!(queue.get(dropped), model.front().cloned());
                prop_assert_eq!(queue.len(), model.len());
            }
            kept.push((queue, model));
            for (queue, model) in kept {
                prop_assert_eq!(values(&queue), Vec::from(model));
            }
        }
    }

    #[test]
    fn queues_are_equal_by_their_values_and_not_by_their_pages() {
        let (mut early, mut late) = (PackedQueue::default(), PackedQueue::default());
        for number in 0..200_u64 {
            early.push_back(&number, ());
        }
        for _ in 0..100 {
            early.drop_front();
        }
        for number in 100..200_u64 {
            assert_ne!(early, late);
            late.push_back(&number, ());
        }
        assert_eq!(early, late);
        assert_eq!((early.get(99), early.get(100), early.get(200)), (None, Some(100), None));
    }

    #[test]
    fn an_encoded_value_is_written_as_the_value() {
        let (mut queue, values) = (PackedQueue::default(), [("ab".to_owned(), 300_u16), (String::new(), 7)]);
        for value in &values {
            queue.push_back(value, ());
        }
        let encoded: Vec<Encoded<'_>> = queue.encoded().collect();
        assert_eq!(codec::encode(&encoded).unwrap(), codec::encode(&values.to_vec()).unwrap());
    }

    #[test]
    fn pages_without_values_are_let_go() {
        let mut queue = PackedQueue::default();
        for number in 0..6_400_u64 {
            queue.push_back(&number, ());
            if number >= 64 {
                queue.drop_front();
            }
            assert!(queue.pages.len() <= 2);
        }
    }
}
