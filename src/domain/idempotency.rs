//! The answers that are remembered, so that a retry gets the first answer again.
//!
//! What it promises: bounded by the settings; forgets in the order of the log and by the state's own clock, so every
//! replica forgets the same; a key younger than the retention, in real time, is never forgotten: at the bound, new keys
//! are refused instead. What it must not do: judge; which answers are worth remembering is decided in `apply`.
//!
//! Answers are remembered by the million and hardly ever asked for, so they are kept as bytes (ADR 12).

use std::fmt;
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::command::RequestKey;
use super::ids::{IdempotencyKey, LogicalTime, Revision};
use super::outcome::{Outcome, Rejection, Reply};
use super::packed::PackedQueue;
use super::settings::Settings;
use super::shared_map::SharedMap;

/// A remembered answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// The key and what it was used for.
    pub request: RequestKey,
    /// When it was used.
    pub at: LogicalTime,
    /// The revision of the answer.
    pub revision: Revision,
    /// The answer.
    pub result: Arc<Result<Reply, Rejection>>,
}

/// How long answers are kept on the state's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeping {
    /// For the retention, as in rounds of older logs, whose leaders knew no bound on the rate of that clock.
    Retention,
    /// Until the retention has passed in real time too, at whatever rate that clock ran.
    RetentionAtAnyRate,
}

impl Keeping {
    fn end(self, used_at: LogicalTime, settings: &Settings) -> LogicalTime {
        match self {
            Self::Retention => used_at.after(settings.idempotency_retention_ms),
            Self::RetentionAtAnyRate => used_at.after_at_least(settings.idempotency_retention_ms),
        }
    }
}

/// How many answers a check looks at; of more it looks at one in [`LOOKED_AT_ONE_IN`].
const ANSWERS_LOOKED_AT: usize = 4_096;
const LOOKED_AT_ONE_IN: u64 = 16;

/// Items in an answer that count as one more remembered key.
const ITEMS_PER_WEIGHT: u64 = 8;

impl Remembered {
    /// How many keys it counts for: one, and one more for every eight items that the answer lists, so that the bound
    /// on keys is a bound on memory.
    fn weight(&self) -> u64 {
        let items = match &*self.result {
            Ok(Reply::TaskManagerRegistered { allocations, .. }) => allocations.len(),
            Ok(Reply::Allocated { allocations, .. }) => allocations.len(),
            Ok(Reply::Released { released, unknown }) => released.len().saturating_add(unknown.len()),
            Ok(Reply::RequirementsPut { requirements, .. }) => requirements.len(),
            Ok(Reply::Fulfilled { allocations }) => allocations.len(),
            _ => 0,
        };
        let items = u64::try_from(items).expect("a length in memory fits 64 bits");
        1 + items / ITEMS_PER_WEIGHT
    }
}

/// The beginning of the hash of a key. Keys with equal digests are told apart by their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct KeyDigest(u64);

impl From<&IdempotencyKey> for KeyDigest {
    fn from(key: &IdempotencyKey) -> Self {
        let hash = blake3::hash(key.as_str().as_bytes());
        let (beginning, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        Self(u64::from_le_bytes(*beginning))
    }
}

/// What has to be known of an answer to forget it. It lies beside the bytes of the answer: a round forgets a thousand answers,
/// each of which may list ten thousand slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Forgettable {
    at: LogicalTime,
    digest: KeyDigest,
    weight: u64,
}

impl From<&Remembered> for Forgettable {
    fn from(remembered: &Remembered) -> Self {
        let digest = KeyDigest::from(&remembered.request.key);
        Self { at: remembered.at, digest, weight: remembered.weight() }
    }
}

/// All remembered answers, oldest first.
#[derive(Debug, Clone, Default)]
pub struct IdempotencyTable {
    answers: PackedQueue<Remembered, Forgettable>,
    /// Where the answer to a key is among `answers`.
    by_key: SharedMap<(KeyDigest, u64), ()>,
    weight: u64,
}

impl IdempotencyTable {
    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// What counts against `Settings::idempotency_keys_max`: one per key, more for long answers.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// The remembered answers, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Remembered> {
        self.answers.iter().map(|(_, remembered)| remembered)
    }

    /// All answers as the bytes that they are kept as.
    pub(super) fn bytes(&self) -> EncodedAnswers<'_> {
        EncodedAnswers(self)
    }

    /// All answers for a serializer that is not `codec`'s.
    pub(super) fn values(&self) -> Values<'_> {
        Values(self)
    }

    /// The remembered answer to `request`, or the refusal because the key was used for another request.
    pub fn replay(&self, request: &RequestKey) -> Option<Outcome> {
        let (_, remembered) = self.find(&request.key)?;
        if remembered.request.fingerprint != request.fingerprint {
            let result = Arc::new(Err(Rejection::IdempotencyKeyReused));
            return Some(Outcome { result, revision: remembered.revision, replayed: false });
        }
        Some(Outcome { result: remembered.result, revision: remembered.revision, replayed: true })
    }

    fn find(&self, key: &IdempotencyKey) -> Option<(u64, Remembered)> {
        let digest = KeyDigest::from(key);
        let places = self.by_key.range((digest, 0)..=(digest, u64::MAX));
        let answers = places.filter_map(|((_, place), ())| Some((*place, self.answers.get(*place)?)));
        answers.into_iter().find(|(_, remembered)| remembered.request.key == *key)
    }

    /// Whether there is no room for a new key.
    pub(super) fn is_full(&self, settings: &Settings) -> bool {
        self.weight >= settings.idempotency_keys_max
    }

    /// Forgets at most `count` answers that are older than the retention, oldest first.
    pub(super) fn forget(&mut self, now: LogicalTime, settings: &Settings, keeping: Keeping, count: usize) {
        for _ in 0..count {
            let Some(oldest) = self.answers.front_mark() else { return };
            if keeping.end(oldest.at, settings) >= now {
                return;
            }
            let place = self.answers.drop_front().expect("the oldest answer is there");
            self.by_key.remove(&(oldest.digest, place));
            self.weight = self.weight.saturating_sub(oldest.weight);
        }
    }

    /// Remembers an answer under a key that is new.
    pub(super) fn remember(&mut self, remembered: Remembered) {
        let newest = Forgettable::from(&remembered);
        let place = self.answers.push_back(&remembered, newest);
        self.by_key.insert((newest.digest, place), ());
        self.weight = self.weight.saturating_add(newest.weight);
    }
}

impl IdempotencyTable {
    /// Whether what is kept beside the answers agrees with them; names the first thing that does not. Of many answers only some
    /// are looked at, by `round` others each time.
    pub(super) fn check(&self, round: u64) -> Result<(), String> {
        let (mut weight, mut places) = (0_u64, 0);
        let looked_at_one_in = if self.len() <= ANSWERS_LOOKED_AT { 1 } else { LOOKED_AT_ONE_IN };
        for (place, mark) in self.answers.marks() {
            if place % looked_at_one_in == round % looked_at_one_in {
                self.check_answer(place, mark)?;
            }
            weight = weight.saturating_add(mark.weight);
            places += 1;
        }
        if weight != self.weight {
            return Err(format!("the remembered answers weigh {weight}, not {}", self.weight));
        }
        if self.by_key.len() != places {
            return Err("a key leads to an answer that is not remembered".to_owned());
        }
        Ok(())
    }

    fn check_answer(&self, place: u64, mark: Forgettable) -> Result<(), String> {
        let remembered = self.answers.get(place).ok_or("a remembered answer is not there")?;
        if mark != Forgettable::from(&remembered) {
            return Err("what is known of a remembered answer is not what it is".to_owned());
        }
        if !self.by_key.contains_key(&(mark.digest, place)) {
            return Err("a remembered answer is not found under its key".to_owned());
        }
        let earlier = self.by_key.range((mark.digest, 0)..(mark.digest, place));
        let mut earlier = earlier.filter_map(|((_, place), ())| self.answers.get(*place));
        if earlier.any(|other| other.request.key == remembered.request.key) {
            return Err("a key is remembered twice".to_owned());
        }
        Ok(())
    }
}

/// Only the answers and their order count, not how they are numbered.
impl PartialEq for IdempotencyTable {
    fn eq(&self, other: &Self) -> bool {
        self.answers == other.answers
    }
}

/// The answers are kept as the bytes of `codec`, which is the only compact form that a state is written in.
impl Serialize for IdempotencyTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return self.values().serialize(serializer);
        }
        let mut sequence = serializer.serialize_seq(Some(self.len()))?;
        self.answers.encoded().try_for_each(|encoded| sequence.serialize_element(&encoded))?;
        sequence.end()
    }
}

/// The same answers, each as a string of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct EncodedAnswers<'a>(&'a IdempotencyTable);

impl Serialize for EncodedAnswers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        let mut answers = self.0.answers.encoded();
        answers.try_for_each(|encoded| sequence.serialize_element(&encoded.as_byte_string()))?;
        sequence.end()
    }
}

/// The same answers for any other serializer: each is decoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a>(&'a IdempotencyTable);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|remembered| sequence.serialize_element(&remembered))?;
        sequence.end()
    }
}

impl<'de> Deserialize<'de> for IdempotencyTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Packing)
    }
}

/// Packs answers one by one as they are read; all of them as values take several times the memory.
struct Packing;

impl<'de> Visitor<'de> for Packing {
    type Value = IdempotencyTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("remembered answers, oldest first")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut answers: A) -> Result<Self::Value, A::Error> {
        let mut table = IdempotencyTable::default();
        while let Some(remembered) = answers.next_element()? {
            table.remember(remembered);
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(key: &str, number: u8) -> Remembered {
        let key = IdempotencyKey::new(key).unwrap();
        Remembered {
            request: RequestKey { key, fingerprint: [number; 16] },
            at: LogicalTime(1),
            revision: Revision(1),
            result: Arc::new(Ok(Reply::Done)),
        }
    }

    #[test]
    fn of_many_answers_each_is_looked_at_in_its_turn() {
        let mut table = IdempotencyTable::default();
        for number in 0..=ANSWERS_LOOKED_AT {
            table.remember(remembered(&format!("key-{number}"), 1));
        }
        assert_eq!(table.check(0), Ok(()));
        table.remember(remembered("key-7", 1));
        let found = (0..LOOKED_AT_ONE_IN).filter(|round| table.check(*round).is_err()).count();
        assert_eq!(found, 1);
    }

    #[test]
    fn a_key_that_is_remembered_twice_is_noticed() {
        let remembered = |number| remembered("key", number);
        let mut table = IdempotencyTable::default();
        table.remember(remembered(1));
        assert_eq!(table.check(0), Ok(()));
        table.remember(remembered(2));
        assert_eq!(table.check(0), Err("a key is remembered twice".to_owned()));
    }
}
