//! `/metrics`: the figures of this node in the text form of Prometheus.
//!
//! What it promises: figures that are counted are there at any time; figures that are read off the state, the engine
//! and the log are set when somebody asks. What it must not do: count; who does something counts it.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::overview::overview;
use crate::telemetry::Metrics;

/// The figures of this node in the text form of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "Node",
    responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub(super) async fn get_metrics(State(app): State<App>) -> Response {
    set_state_figures(&app);
    set_cluster_figures(&app);
    let mut response = Body::from(app.services.metrics.encode()).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Metrics::media_type()));
    response
}

fn set_state_figures(app: &App) {
    let (counts, idempotency_keys) = {
        let state = app.state();
        (overview(&state), state.idempotency().len())
    };
    let figures = &app.services.metrics.state;
    figures.revision.set(signed(counts.revision.0));
    for (state, count) in [
        ("active", counts.task_managers.active),
        ("cordoned", counts.task_managers.cordoned),
        ("draining", counts.task_managers.draining),
        ("drained", counts.task_managers.drained),
        ("lost", counts.task_managers.lost),
    ] {
        figures.set_task_managers(state, signed(count));
    }
    figures.slots_total.set(signed(counts.slots_total));
    figures.slots_free.set(signed(counts.slots_free));
    figures.allocations.set(signed(counts.slots_allocated));
    figures.jobs_running.set(signed(counts.jobs));
    figures.slots_pending.set(signed(counts.pending_slots));
    figures.idempotency_keys.set(i64::try_from(idempotency_keys).unwrap_or(i64::MAX));
}

fn set_cluster_figures(app: &App) {
    let known = app.services.cluster.figures();
    let raft = &app.services.metrics.consensus;
    raft.term.set(signed(app.services.cluster.picture().term));
    raft.is_leader.set(i64::from(app.leader_id() == Some(app.node_id())));
    raft.last_log_index.set(signed(known.last_log_index));
    raft.committed_index.set(signed(known.committed_index));
    raft.applied_index.set(signed(known.applied_index));
    raft.snapshot_index.set(signed(known.snapshot_index));
    let log = &app.services.metrics.storage;
    log.syncs.set(signed(known.log_syncs));
    log.written_bytes.set(signed(known.log_written_bytes));
    log.sync_seconds.set(known.log_sync_time.as_secs_f64());
    log.longest_sync_seconds.set(known.log_longest_sync.as_secs_f64());
    log.mirror_bytes.set(signed(known.log_mirror_bytes));
    log.queue_length.set(signed(known.log_queue_length));
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
