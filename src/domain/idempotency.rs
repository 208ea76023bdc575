//! The answers that are remembered, so that a retry gets the first answer again.
//!
//! What it promises: bounded by the settings; forgets in the order of the log and by the state's own clock, so every
//! replica forgets the same; a key younger than the retention, in real time, is never forgotten: at the bound, new keys
//! are refused instead. What it must not do: judge; which answers are worth remembering is decided in `apply`.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::command::RequestKey;
use super::ids::{IdempotencyKey, LogicalTime, Revision};
use super::outcome::{Outcome, Rejection, Reply};
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

/// All remembered answers, oldest first.
#[derive(Debug, Clone, Default)]
pub struct IdempotencyTable {
    by_order: SharedMap<u64, Arc<Remembered>>,
    by_key: SharedMap<IdempotencyKey, u64>,
    weight: u64,
}

impl IdempotencyTable {
    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.by_order.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_order.is_empty()
    }

    /// What counts against `Settings::idempotency_keys_max`: one per key, more for long answers.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// The remembered answers, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Remembered> {
        self.by_order.values().map(|remembered| &**remembered)
    }

    /// The remembered answer to `request`, or the refusal because the key was used for another request.
    pub fn replay(&self, request: &RequestKey) -> Option<Outcome> {
        let remembered = self.by_order.get(self.by_key.get(&request.key)?)?;
        if remembered.request.fingerprint != request.fingerprint {
            let result = Arc::new(Err(Rejection::IdempotencyKeyReused));
            return Some(Outcome { result, revision: remembered.revision, replayed: false });
        }
        Some(Outcome { result: remembered.result.clone(), revision: remembered.revision, replayed: true })
    }

    /// Whether there is no room for a new key.
    pub(super) fn is_full(&self, settings: &Settings) -> bool {
        self.weight >= settings.idempotency_keys_max
    }

    /// Forgets at most `count` answers that are older than the retention, oldest first.
    pub(super) fn forget(&mut self, now: LogicalTime, settings: &Settings, keeping: Keeping, count: usize) {
        for _ in 0..count {
            let Some((order, oldest)) = self.by_order.first_key_value() else { return };
            if keeping.end(oldest.at, settings) >= now {
                return;
            }
            let order = *order;
            let oldest = self.by_order.remove(&order).expect("the first entry was just seen");
            self.by_key.remove(&oldest.request.key);
            self.weight = self.weight.saturating_sub(oldest.weight());
        }
    }

    /// Remembers an answer under a key that is new.
    pub(super) fn remember(&mut self, remembered: Remembered) {
        let order = self.by_order.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        self.weight = self.weight.saturating_add(remembered.weight());
        self.by_key.insert(remembered.request.key.clone(), order);
        self.by_order.insert(order, Arc::new(remembered));
    }
}

impl IdempotencyTable {
    /// Whether what is kept beside the answers agrees with them; names the first thing that does not.
    pub(super) fn check(&self) -> Result<(), String> {
        let weight: u64 = self.iter().map(Remembered::weight).sum();
        if weight != self.weight {
            return Err(format!("the remembered answers weigh {weight}, not {}", self.weight));
        }
        let is_found = |(order, remembered): (&u64, &Arc<Remembered>)| {
            self.by_key.get(&remembered.request.key) == Some(order)
        };
        if self.by_key.len() != self.by_order.len() || !self.by_order.iter().all(is_found) {
            return Err("a remembered answer is not found under its key".to_owned());
        }
        Ok(())
    }
}

/// Only the answers and their order count, not how they are numbered.
impl PartialEq for IdempotencyTable {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Serialize for IdempotencyTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        let mut sequence = serializer.serialize_seq(Some(self.len()))?;
        for remembered in self.iter() {
            sequence.serialize_element(remembered)?;
        }
        sequence.end()
    }
}

impl<'de> Deserialize<'de> for IdempotencyTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = Self::default();
        for remembered in Vec::<Remembered>::deserialize(deserializer)? {
            table.remember(remembered);
        }
        Ok(table)
    }
}
