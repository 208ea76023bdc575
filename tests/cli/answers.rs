//! Answers as a server gives them.

use serde_json::{Value, json};

pub const ALLOCATION: &str = "6f1c2d52-7d64-4f0e-0000-000000000001";

pub fn allocation() -> Value {
    json!({
        "allocation_id": ALLOCATION, "job_id": "wordcount", "task_manager_id": "tm-1", "address": "10.0.0.1:6122",
        "slot_index": 2, "profile": {"cpu_cores": 1.5, "task_heap_memory": 1_073_741_824_u64}, "fencing_token": 7,
        "state": "active"
    })
}

pub fn job() -> Value {
    json!({
        "job_id": "wordcount", "queue": "default", "priority": 5, "state": "running", "job_master_id": null,
        "lease_ms": 30000, "epoch": 3, "requirements_version": 2, "slots_allocated": 1, "slots_pending": 4,
        "used": {"slots": 1, "cpu_cores": 1.5, "task_heap_memory": 0, "task_off_heap_memory": 0, "managed_memory": 0,
                 "network_memory": 0, "extended_resources": {}},
        "created_at": "2026-01-01T00:00:00.000Z"
    })
}

pub fn task_manager() -> Value {
    json!({
        "task_manager_id": "tm-1", "session_id": "s1", "epoch": 4, "generation": 9, "address": "10.0.0.1:6122",
        "state": "draining", "drain_deadline": "2026-01-01T00:10:00.000Z", "slots_total": 4, "slots_free": 3,
        "total_profile": {"cpu_cores": 4}, "free_profile": {"cpu_cores": 2.5}, "slot_profile": {},
        "labels": {"zone": "a", "disk": "ssd"}, "allocations": [allocation()], "last_heartbeat_ago_ms": 12,
        "registered_at": "2026-01-01T00:00:00.000Z"
    })
}

pub fn changed() -> Value {
    json!({"task_manager_id": "tm-1", "revision": 21})
}

pub fn page(item: Value) -> Value {
    json!({"items": [item]})
}

pub fn queue() -> Value {
    json!({
        "name": "batch", "maximum": {"slots": 10, "cpu_cores": 4}, "state": "running",
        "used": {"slots": 2, "cpu_cores": 1, "task_heap_memory": 0, "task_off_heap_memory": 0, "managed_memory": 0,
                 "network_memory": 0, "extended_resources": {}},
        "pending": 1, "jobs": 1, "changed_in_revision": 5
    })
}

fn setting_values(heartbeat_timeout: &str) -> Value {
    json!({
        "strategy": "least_utilization", "heartbeat_interval": "1s", "heartbeat_timeout": heartbeat_timeout,
        "lease_grace": "5s", "expiries_per_second_max": 10, "mass_loss_share_percent": 30, "confirm_timeout": null,
        "tombstone_retention": "1h", "idempotency_retention": "15m", "idempotency_keys_max": 1_000_000
    })
}

pub fn settings() -> Value {
    let mut settings = setting_values("10s");
    settings["changed_in_revision"] = json!(8);
    settings["changed_in_revisions"] = json!({"heartbeat_timeout": 8, "heartbeat_interval": 0});
    settings["defaults"] = setting_values("5s");
    settings["ranges"] = json!({"heartbeat_interval": "50ms to 1m"});
    settings
}

pub fn cluster(leader_id: Option<u64>) -> Value {
    json!({
        "cluster_id": "6f1c2d52-7d64-4f0e-8000-000000000000", "leader_id": leader_id, "term": 3,
        "members": [
            {"node_id": 1, "api_addr": "a:7400", "peer_addr": "a:7401", "role": "voter", "state": "leader",
             "applied_index": 40, "last_log_index": 40, "lag": 0,
             "state_hash": {"hash": "0123456789abcdef0123", "revision": 17}},
            {"node_id": 2, "api_addr": "b:7400", "peer_addr": "b:7401", "role": "learner", "state": "unreachable",
             "applied_index": null, "last_log_index": null, "lag": null, "state_hash": null}
        ]
    })
}

pub fn overview() -> Value {
    json!({
        "task_managers": {"total": 4, "active": 3, "cordoned": 0, "draining": 0, "drained": 0, "lost": 1},
        "slots_total": 12, "slots_free": 9, "slots_allocated": 3, "jobs": 1, "jobs_finished": 0,
        "pending_requirements": 1, "pending_slots": 2, "queues": 1, "revision": 17, "alarms": []
    })
}

pub fn readiness(ready: bool) -> Value {
    let reasons = if ready { json!([]) } else { json!(["no contact with a quorum"]) };
    json!({"ready": ready, "reasons": reasons, "node_id": 1, "leader_id": 1, "revision": 17})
}

pub fn member_changed(role: Value) -> Value {
    json!({"node_id": 4, "api_addr": "d:7400", "peer_addr": "d:7401", "role": role})
}

pub fn requirements() -> Value {
    json!({
        "job_id": "wordcount", "version": 2,
        "requirements": [{
            "name": "workers", "profile": {"cpu_cores": 1}, "min": 2, "desired": 4, "granted": 1, "pending": 3,
            "reasons": [{"reason": "no_free_slot", "task_managers": 3}]
        }]
    })
}
