//! What a storm is about: independent parts, each with a queue, a pool of slots and a few jobs of its own.
//!
//! What it promises: parts share no queue, no job and no TaskManager, so the history of each can be judged on its own; no
//! TaskManager is given up while the run lasts, so nothing ends unless a client ends it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::{Value, json};

use crate::history::Recorder;
use crate::http::Caller;
use crate::linear::operation::{Held, Place, Setting};
use crate::task_managers::{self, Fleet, Recruit, SLOTS};
use crate::workload::granted_slots;

const PATIENCE: Duration = Duration::from_secs(60);
/// TaskManagers of each part.
const TASK_MANAGERS: u32 = 2;

/// What every run has, but for the number of parts.
pub fn setting(parts: u16) -> Setting {
    Setting { parts, jobs: 2, slots: TASK_MANAGERS * SLOTS, maximum: 6 }
}

pub fn queue_path(part: u16) -> String {
    format!("/v1/queues/part-{part}")
}

pub fn job_path(part: u16, job: u8) -> String {
    format!("/v1/jobs/part-{part}-job-{job}")
}

/// The name of a master.
pub fn master_name(master: u32) -> String {
    format!("master-{master}")
}

/// Who pays for a job, and who speaks for it.
pub fn job_body(part: u16, master: u32) -> Value {
    json!({"queue": format!("part-{part}"), "job_master_id": master_name(master)})
}

/// A request for slots of the part's own pool.
pub fn allocation_body(part: u16, slots: u32, all: bool) -> Value {
    let mode = if all { "all_or_nothing" } else { "best_effort" };
    let pool = json!({"label": "part", "op": "=", "values": [part.to_string()]});
    json!({"slots": slots, "mode": mode, "constraints": [pool]})
}

/// The slots in a list of allocations, as the history names them. `None` if one is not of this run.
pub fn held_slots(list: &Value) -> Option<Vec<Held>> {
    let slots = granted_slots(list);
    (slots.len() == list.as_array()?.len()).then_some(())?;
    let held = |slot: crate::history::GrantedSlot| {
        let task_manager = slot.task_manager.rsplit('-').next()?.parse().ok()?;
        let place = Place { task_manager, slot_index: u16::try_from(slot.slot_index).ok()? };
        Some(Held { id: slot.id.parse().ok()?, place, fencing_token: slot.fencing_token })
    };
    slots.into_iter().map(held).collect()
}

/// Makes queues, jobs and TaskManagers.
pub async fn prepare(
    servers: &[String],
    setting: &Setting,
    recorder: &Arc<Recorder>,
    over: &Arc<AtomicBool>,
) -> Result<Fleet, String> {
    let mut caller = Caller::new(servers, 0);
    put(&mut caller, "PATCH", "/v1/settings", &json!({"heartbeat_timeout": "10m"})).await?;
    let mut recruits = Vec::new();
    for part in 0..setting.parts {
        let queue = json!({"maximum": {"slots": setting.maximum}});
        put(&mut caller, "PUT", &queue_path(part), &queue).await?;
        for job in 0..setting.jobs {
            put(&mut caller, "PUT", &job_path(part, job), &job_body(part, 0)).await?;
        }
        recruits.extend((0..TASK_MANAGERS).map(|number| Recruit {
            id: format!("part-{part}-tm-{number}"),
            session: format!("part-{part}-session-{number}"),
            labels: json!({"part": part.to_string()}),
            stops_at: None,
        }));
    }
    task_managers::start(servers, recruits, recorder, over).await
}

async fn put(caller: &mut Caller, method: &str, path: &str, body: &Value) -> Result<(), String> {
    let key = format!("prepare-{}", path.replace('/', "-"));
    let answer = caller.write((method, path), &key, body, PATIENCE).await;
    let answer = answer.ok_or_else(|| format!("no answer to {method} {path}"))?;
    if answer.is_done() { Ok(()) } else { Err(format!("{method} {path}: {}", answer.body)) }
}
