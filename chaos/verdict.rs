//! The verdict: the history against the final state.
//!
//! What it promises: it says *violation* when a slot had two owners at any revision, an acknowledged grant or release is
//! gone without a recorded reason, a token fell, a read went back, or the replicas differ; it says *invalid* when it
//! could not look, and never takes that for a pass. It reads only through the HTTP contract.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::history::{self, GrantedSlot, Happening, Line};
use crate::http::Caller;
use crate::workload::{PATIENCE, granted_slots};

/// What is left to say.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What must never happen and did.
    pub violations: Vec<String>,
    /// Acknowledged grants, releases, refusals, reads, replays.
    pub counts: BTreeMap<&'static str, usize>,
}

/// Where one grant was alive, in revisions.
struct Life {
    slot: GrantedSlot,
    granted_in: u64,
    ended_in: Option<u64>,
}

/// Judges the history at `report` against the cluster. `Err` is an invalid run.
pub async fn judge(servers: &[String], report: &Path) -> Result<Verdict, String> {
    let lines = history::load(report)?;
    let Some(Line { what: Happening::Run { jobs, .. }, .. }) = lines.first() else {
        return Err("the history does not begin with its run".to_owned());
    };
    let mut verdict = Verdict::default();
    let unknown = lines.iter().filter(|line| matches!(line.what, Happening::Unknown { .. })).count();
    if unknown > 0 {
        return Err(format!("{unknown} operations stayed unknown to the end; the cluster did not heal"));
    }
    count(&lines, &mut verdict);
    if verdict.counts.get("granted").copied().unwrap_or(0) == 0 {
        return Err("nothing was granted: the run proves nothing".to_owned());
    }
    let mut caller = Caller::new(servers, 0);
    let lives = lives(&mut caller, &lines, &mut verdict).await?;
    check_jobs(&mut caller, jobs, &lives, &mut verdict).await?;
    check_slots(lives, &mut verdict);
    check_reads(&lines, &mut verdict);
    check_replicas(&mut caller, servers, &mut verdict).await?;
    Ok(verdict)
}

fn count(lines: &[Line], verdict: &mut Verdict) {
    for line in lines {
        let kind = match &line.what {
            Happening::Granted { slots, .. } => {
                *verdict.counts.entry("slots granted").or_default() += slots.len();
                "granted"
            }
            Happening::Released { .. } => "released",
            Happening::Refused { .. } => "refused",
            Happening::Read { .. } => "reads",
            Happening::Replayed { .. } => "sent twice on purpose",
            Happening::Violation { what } => {
                verdict.violations.push(format!("seen while running: {what}"));
                "violations"
            }
            _ => continue,
        };
        *verdict.counts.entry(kind).or_default() += 1;
        if line.tries > 1 {
            *verdict.counts.entry("needed more than one try").or_default() += 1;
        }
    }
}

/// The life of each acknowledged grant, as the service records it at the end.
async fn lives(caller: &mut Caller, lines: &[Line], verdict: &mut Verdict) -> Result<Vec<Life>, String> {
    let released: BTreeSet<&str> = lines
        .iter()
        .filter_map(
            |line| if let Happening::Released { id, .. } = &line.what { Some(id.as_str()) } else { None },
        )
        .collect();
    let mut lives = Vec::new();
    for line in lines {
        let Happening::Granted { slots, .. } = &line.what else { continue };
        for slot in slots {
            let path = format!("/v1/allocations/{}", slot.id);
            let answer =
                caller.read(&path, PATIENCE).await.ok_or("the cluster does not answer at the end")?;
            let reason = answer.body["reason"].as_str();
            match (answer.status, reason) {
                (200, None) if released.contains(slot.id.as_str()) => {
                    verdict.violations.push(format!("`{}` was released, acknowledged, and lives", slot.id));
                }
                (200, Some("released")) if !released.contains(slot.id.as_str()) => {
                    verdict.violations.push(format!("`{}` is released, but nobody asked for it", slot.id));
                }
                (200, _) => {}
                (status, _) => {
                    verdict.violations.push(format!("`{}` was acknowledged and is gone: {status}", slot.id))
                }
            }
            lives.push(Life {
                slot: slot.clone(),
                granted_in: line.revision.ok_or("a grant without its revision")?,
                ended_in: answer.body["ended_in_revision"].as_u64(),
            });
        }
    }
    Ok(lives)
}

/// Each job holds at the end exactly what the history says.
async fn check_jobs(
    caller: &mut Caller,
    jobs: &[String],
    lives: &[Life],
    verdict: &mut Verdict,
) -> Result<(), String> {
    let known: BTreeSet<&str> = lives.iter().map(|life| life.slot.id.as_str()).collect();
    for job in jobs {
        let path = format!("/v1/jobs/{job}/allocations?limit=1000");
        let answer = caller.read(&path, PATIENCE).await.ok_or("the cluster does not answer at the end")?;
        for slot in granted_slots(&answer.body["items"]) {
            if !known.contains(slot.id.as_str()) {
                verdict.violations.push(format!("job `{job}` holds `{}`, which nobody was told of", slot.id));
            }
        }
    }
    Ok(())
}

/// On each slot, tokens rise and lives do not overlap.
fn check_slots(lives: Vec<Life>, verdict: &mut Verdict) {
    let mut slots: BTreeMap<(String, u64), Vec<Life>> = BTreeMap::new();
    for life in lives {
        slots.entry((life.slot.task_manager.clone(), life.slot.slot_index)).or_default().push(life);
    }
    for ((task_manager, slot_index), mut lives) in slots {
        lives.sort_by_key(|life| life.slot.fencing_token);
        for pair in lives.windows(2) {
            let (earlier, later) = (&pair[0], &pair[1]);
            let place = format!("slot {slot_index} of `{task_manager}`");
            if earlier.slot.fencing_token == later.slot.fencing_token {
                verdict.violations.push(format!("{place}: token {} twice", later.slot.fencing_token));
            }
            if later.granted_in < earlier.granted_in {
                verdict.violations.push(format!("{place}: tokens fell between revisions"));
            }
            if earlier.ended_in.is_none_or(|ended| ended > later.granted_in) {
                let (first, second) = (&earlier.slot.id, &later.slot.id);
                verdict.violations.push(format!("{place}: `{first}` and `{second}` at one revision"));
            }
        }
    }
}

/// A read begun after an answer arrived shows at least that answer's revision.
fn check_reads(lines: &[Line], verdict: &mut Verdict) {
    let mut acknowledged: Vec<(u64, u64)> =
        lines.iter().filter_map(|line| Some((line.ended_ms, line.revision?))).collect();
    acknowledged.sort_unstable();
    let mut highest = Vec::with_capacity(acknowledged.len());
    for (ended_ms, revision) in acknowledged {
        let so_far = highest.last().map_or(0, |(_, highest)| *highest);
        highest.push((ended_ms, revision.max(so_far)));
    }
    for line in lines.iter().filter(|line| matches!(line.what, Happening::Read { .. })) {
        let before = highest.partition_point(|(ended_ms, _)| *ended_ms < line.began_ms);
        let Some((_, least)) = before.checked_sub(1).and_then(|index| highest.get(index)) else { continue };
        if line.revision.is_some_and(|revision| revision < *least) {
            let began = line.began_ms;
            verdict
                .violations
                .push(format!("a read begun at {began} ms shows {:?} after {least}", line.revision));
        }
    }
}

/// All replicas come to the same state hash at the same revision.
pub async fn check_replicas(
    caller: &mut Caller,
    servers: &[String],
    verdict: &mut Verdict,
) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer =
            caller.read("/v1/cluster", PATIENCE).await.ok_or("the cluster does not answer at the end")?;
        let members = answer.body["members"].as_array().cloned().unwrap_or_default();
        let hash_of = |member: &Value| {
            let hash = &member["state_hash"];
            Some((hash["revision"].as_u64()?, hash["hash"].as_str()?.to_owned()))
        };
        let hashes: Vec<_> = members.iter().map(hash_of).collect();
        let complete = members.len() >= servers.len().min(3) && hashes.iter().all(Option::is_some);
        let known: BTreeSet<_> = hashes.into_iter().flatten().collect();
        let revisions: BTreeSet<u64> = known.iter().map(|(revision, _)| *revision).collect();
        if known.len() > revisions.len() {
            verdict.violations.push(format!("replicas differ at one revision: {known:?}"));
            return Ok(());
        }
        if complete && revisions.len() == 1 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the replicas did not come together: {}", answer.body));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
