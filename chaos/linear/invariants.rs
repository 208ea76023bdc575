//! What must hold over all operations of a history, without a search: linear in its length.
//!
//! What it promises: it finds an allocation granted twice, a fencing token that fell or came twice on a slot, two lives on
//! one slot at one revision, an acknowledged grant that is gone without a release, a queue above its maximum, and an answer
//! that shows less than an earlier answer did.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::operation::{Action, Held, Operation, Outcome, Place};

/// One grant and when it was made.
struct Life {
    held: Held,
    granted_in: u64,
}

/// Everything that is broken.
pub fn broken(operations: &[Operation]) -> Vec<String> {
    let mut found = Vec::new();
    queues_keep_their_maximum(operations, &mut found);
    slots_have_one_owner(operations, &mut found);
    grants_last_until_released(operations, &mut found);
    answers_never_go_back(operations, &mut found);
    found
}

fn queues_keep_their_maximum(operations: &[Operation], found: &mut Vec<String>) {
    for operation in operations {
        if let Outcome::Queue { maximum, used } = operation.outcome
            && used > maximum
        {
            found.push(format!("the queue of part {} held {used} of {maximum}", operation.part));
        }
    }
}

/// Which releases of an id may have taken effect, and in which revision at the latest.
fn releases(operations: &[Operation]) -> HashMap<Uuid, Option<u64>> {
    let mut releases: HashMap<Uuid, Option<u64>> = HashMap::new();
    for operation in operations {
        let Action::Release { ids, .. } = &operation.action else { continue };
        for id in ids {
            // One with an unknown outcome may have been the one that took effect, in a revision that nobody knows.
            let known = operation.revision.filter(|_| operation.is_known());
            releases
                .entry(*id)
                .and_modify(|first| *first = first.zip(known).map(|(first, known)| first.min(known)))
                .or_insert(known);
        }
    }
    releases
}

fn slots_have_one_owner(operations: &[Operation], found: &mut Vec<String>) {
    let mut slots: BTreeMap<(u16, Place), Vec<Life>> = BTreeMap::new();
    let mut granted = HashSet::new();
    for operation in operations {
        let (Outcome::Granted { slots: list }, Some(granted_in)) = (&operation.outcome, operation.revision)
        else {
            continue;
        };
        for held in list {
            if !granted.insert(held.id) {
                found.push(format!("allocation {} was granted twice", held.id));
            }
            let lives = slots.entry((operation.part, held.place)).or_default();
            lives.push(Life { held: *held, granted_in });
        }
    }
    let releases = releases(operations);
    for ((part, place), mut lives) in slots {
        lives.sort_by_key(|life| life.held.fencing_token);
        for pair in lives.windows(2) {
            if let Some(what) = conflict(&pair[0], &pair[1], &releases) {
                found.push(format!("{place:?} of part {part}: {what}"));
            }
        }
    }
}

fn conflict(earlier: &Life, later: &Life, releases: &HashMap<Uuid, Option<u64>>) -> Option<String> {
    if earlier.held.fencing_token == later.held.fencing_token {
        return Some(format!("token {} twice", later.held.fencing_token));
    }
    if later.granted_in < earlier.granted_in {
        return Some(format!(
            "tokens fell between revisions {} and {}",
            later.granted_in, earlier.granted_in
        ));
    }
    let both = format!("{} and {} at one revision", earlier.held.id, later.held.id);
    match releases.get(&earlier.held.id) {
        None => Some(format!("{both}; nobody released the first")),
        Some(Some(ended_in)) if *ended_in > later.granted_in => Some(both),
        Some(_) => None,
    }
}

/// What was granted and never released is in the last read of its job.
fn grants_last_until_released(operations: &[Operation], found: &mut Vec<String>) {
    let mut last: BTreeMap<(u16, u8), (&Operation, BTreeSet<Uuid>)> = BTreeMap::new();
    for operation in operations {
        if let (Action::ReadJob { job }, Outcome::Shown { slots }) = (&operation.action, &operation.outcome) {
            let shown = || (operation, slots.iter().map(|held| held.id).collect());
            let entry = last.entry((operation.part, *job)).or_insert_with(shown);
            if entry.0.began_ns < operation.began_ns {
                *entry = shown();
            }
        }
    }
    let releases = releases(operations);
    for operation in operations {
        let (Action::Allocate { job, .. }, Outcome::Granted { slots }) =
            (&operation.action, &operation.outcome)
        else {
            continue;
        };
        let Some((read, shown)) = last.get(&(operation.part, *job)) else { continue };
        let is_earlier = operation.ended_ns.is_some_and(|ended_ns| ended_ns < read.began_ns);
        for held in slots.iter().filter(|_| is_earlier) {
            if !shown.contains(&held.id) && !releases.contains_key(&held.id) {
                found.push(format!("allocation {} was acknowledged, never released, and is gone", held.id));
            }
        }
    }
}

/// A read that began after an answer arrived shows at least that answer's revision.
fn answers_never_go_back(operations: &[Operation], found: &mut Vec<String>) {
    let mut answers: Vec<(u64, u64)> =
        operations.iter().filter_map(|operation| Some((operation.ended_ns?, operation.revision?))).collect();
    answers.sort_unstable();
    let mut highest = 0;
    for answer in &mut answers {
        highest = highest.max(answer.1);
        answer.1 = highest;
    }
    let reads = operations
        .iter()
        .filter(|operation| matches!(operation.action, Action::ReadJob { .. } | Action::ReadQueue));
    for read in reads {
        let before = answers.partition_point(|(ended_ns, _)| *ended_ns < read.began_ns);
        let least = before.checked_sub(1).map_or(0, |index| answers[index].1);
        if read.revision.is_some_and(|revision| revision < least) {
            found.push(format!(
                "client {} read revision {:?} after an answer of revision {least}",
                read.client, read.revision
            ));
        }
    }
}
