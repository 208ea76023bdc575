//! Whether the log that was found is the log that was acknowledged.
//!
//! The engine may hold more than the tip record says, because a crash can fall between the sync of the engine and
//! the sync of the tip: that surplus was never acknowledged, it is whole, and it is kept. The engine must not hold
//! less. Every step of the writer leaves one of these states behind, and only these are accepted:
//!
//! * appends, votes and purges: the engine holds a prefix of the steps after the tip, each later than the tip by its
//!   sequence number;
//! * a truncation is written, synced and followed by a tip record on its own, so a shorter log than the tip's is
//!   meant only if the newest step of all is a truncation, and its mark names the very end that the tip names.
//!
//! Everything else is a quarantine. Nothing is repaired by cutting: the only tail that disappears is one that the
//! engine itself could not read behind its last sync, and the comparison proves that nothing acknowledged was in it.
//! Tested in `tests/storage/quarantine.rs`, `faults.rs` and `power_cut.rs`.

use super::chain::ChainHash;
use super::image::Image;
use super::tip::{Position, TipFile, TipState};
use super::{Damage, StorageError};

/// The tip state that belongs to an image.
pub(super) fn tip_state_of(image: &Image) -> TipState {
    let purged =
        image.purged.as_ref().map(|mark| Position { index: mark.index, term: mark.term, chain: mark.chain });
    let last = image
        .entries
        .last()
        .map(|entry| Position { index: entry.index, term: entry.term, chain: entry.hash() })
        .or(purged);
    let vote = image.vote.as_ref().map(|record| ChainHash::of_bytes(&record.vote));
    TipState { sequence: image.sequence, vote, last, purged }
}

/// Accepts an image that holds at least what the tip record says.
///
/// # Errors
/// [`StorageError::Quarantine`] that names what is missing.
pub(super) fn compare(image: &Image, tip: &TipFile) -> Result<(), StorageError> {
    let acknowledged = tip.state();
    if image.tip_counter > tip.counter() {
        let detail = format!("the log has seen tip {}, the file has {}", image.tip_counter, tip.counter());
        return Err(StorageError::quarantine(Damage::TipStale, detail));
    }
    if image.sequence < acknowledged.sequence {
        return Err(stale_log(image, acknowledged));
    }
    compare_vote(image, acknowledged)?;
    compare_purge_mark(image, acknowledged)?;
    match acknowledged.last {
        Some(last) => compare_last(image, acknowledged, last),
        None => Ok(()),
    }
}

/// The log is older than the tip. If entries are missing at its end, they are named.
fn stale_log(image: &Image, acknowledged: &TipState) -> StorageError {
    let found = tip_state_of(image);
    let detail = format!(
        "the log ends at write {} and entry {:?}, acknowledged were write {} and entry {:?}",
        image.sequence,
        found.last.map(|last| last.index),
        acknowledged.sequence,
        acknowledged.last.map(|last| last.index),
    );
    match (found.last, acknowledged.last) {
        (Some(found), Some(last)) if found.index < last.index => {
            StorageError::quarantine(Damage::EntriesLost { first: found.index + 1, last: last.index }, detail)
        }
        _ => StorageError::quarantine(Damage::LogStale, detail),
    }
}

fn compare_vote(image: &Image, acknowledged: &TipState) -> Result<(), StorageError> {
    let found = tip_state_of(image).vote;
    let is_newer = image.vote.as_ref().is_some_and(|record| record.stamp.sequence > acknowledged.sequence);
    if is_newer || found == acknowledged.vote {
        return Ok(());
    }
    Err(StorageError::quarantine(Damage::VoteLost, "the vote in the log is not the acknowledged one"))
}

fn compare_purge_mark(image: &Image, acknowledged: &TipState) -> Result<(), StorageError> {
    let found = tip_state_of(image).purged;
    let is_newer = image.purged.as_ref().is_some_and(|mark| {
        mark.stamp.sequence > acknowledged.sequence
            && acknowledged.purged.is_none_or(|purged| purged.index < mark.index)
    });
    if is_newer || found == acknowledged.purged {
        return Ok(());
    }
    let detail = format!(
        "the log is purged through {:?}, acknowledged was {:?}",
        found.map(|purged| purged.index),
        acknowledged.purged.map(|purged| purged.index),
    );
    Err(StorageError::quarantine(Damage::PurgeMarkLost, detail))
}

fn compare_last(image: &Image, acknowledged: &TipState, last: Position) -> Result<(), StorageError> {
    if let Some(mark) = &image.purged
        && mark.index >= last.index
    {
        // A mark beyond the acknowledged end replaces it; a mark at the end must be the end.
        return if mark.index > last.index || mark.chain == last.chain {
            Ok(())
        } else {
            Err(StorageError::quarantine(
                Damage::ChainBroken { index: last.index },
                "the purge mark is not the tip",
            ))
        };
    }
    let found = image.entries.iter().rev().find(|entry| entry.index == last.index);
    match found {
        Some(entry) if entry.hash() == last.chain => Ok(()),
        Some(_) => {
            let detail = "the log holds another entry than the acknowledged one";
            Err(StorageError::quarantine(Damage::ChainBroken { index: last.index }, detail))
        }
        None if was_cut_on_purpose(image, acknowledged, last) => Ok(()),
        None => {
            let end = tip_state_of(image).last.map(|end| end.index);
            let damage = Damage::EntriesLost { first: end.map_or(0, |end| end + 1), last: last.index };
            Err(StorageError::quarantine(damage, format!("the log ends at {end:?}")))
        }
    }
}

fn was_cut_on_purpose(image: &Image, acknowledged: &TipState, last: Position) -> bool {
    image.truncation.as_ref().is_some_and(|mark| {
        mark.stamp.sequence > acknowledged.sequence
            && mark.stamp.sequence == image.sequence
            && mark.cut_last == Some((last.index, last.chain))
    })
}
