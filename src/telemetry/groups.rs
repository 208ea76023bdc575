//! The metrics themselves: one group per room that counts.
//!
//! What it promises: base units (seconds, bytes) in every name; labels with few values only, never an id. What it must
//! not do: hold a figure that a room decides by.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;

use super::metrics::{Counter, Gauge, Histogram, Registration};
use super::timing::{COUNT_BUCKETS, LATENCY_BUCKETS};

/// What the leader's round loop counts.
#[derive(Debug, Clone)]
pub struct RoundMetrics {
    /// Rounds that were proposed.
    pub proposed: Counter,
    /// Rounds whose outcome is not known, because leadership was lost after proposing.
    pub outcome_unknown: Counter,
    /// Commands per round.
    pub commands: Histogram,
    /// From the first submission of a round to its answers, in seconds.
    pub duration_seconds: Histogram,
    /// Of that, planning, in seconds.
    pub planning_seconds: Histogram,
    /// Requests that wait to be planned.
    pub queued: Gauge,
    /// Requests refused because the queue was full.
    pub overloaded: Counter,
    /// Leadership sessions that this node began.
    pub sessions: Counter,
}

impl RoundMetrics {
    pub(super) fn register(to: &mut Registration) -> Self {
        Self {
            proposed: to.counter("rounds_proposed", "Rounds that were proposed"),
            outcome_unknown: to.counter("rounds_outcome_unknown", "Rounds whose outcome is not known"),
            commands: to.histogram("round_commands", "Commands in one round", &COUNT_BUCKETS),
            duration_seconds: to.histogram(
                "round_duration_seconds",
                "From the first submission of a round to its answers",
                &LATENCY_BUCKETS,
            ),
            planning_seconds: to.histogram(
                "round_planning_seconds",
                "Planning of one round",
                &LATENCY_BUCKETS,
            ),
            queued: to.gauge("round_queue_length", "Requests that wait to be planned"),
            overloaded: to.counter("round_queue_overloaded", "Requests refused because the queue was full"),
            sessions: to.counter("leadership_sessions", "Leadership sessions that this node began"),
        }
    }
}

/// What the leader's leases count.
#[derive(Debug, Clone)]
pub struct LeaseMetrics {
    /// Heartbeats of TaskManagers that were answered.
    pub heartbeats: Counter,
    /// Heartbeats that were refused, with any reason.
    pub heartbeats_refused: Counter,
    /// TaskManagers that were declared lost.
    pub task_managers_expired: Counter,
    /// Jobs that were ended by their lease.
    pub jobs_expired: Counter,
    /// 1 while so many TaskManagers are due at once that none is declared lost.
    pub mass_loss_guard: Gauge,
    /// Leases that are tracked.
    pub tracked: Gauge,
}

impl LeaseMetrics {
    pub(super) fn register(to: &mut Registration) -> Self {
        Self {
            heartbeats: to.counter("heartbeats", "Heartbeats of TaskManagers that were answered"),
            heartbeats_refused: to.counter("heartbeats_refused", "Heartbeats that were refused"),
            task_managers_expired: to
                .counter("task_managers_expired", "TaskManagers that were declared lost"),
            jobs_expired: to.counter("jobs_expired", "Jobs that were ended by their lease"),
            mass_loss_guard: to.gauge(
                "mass_loss_guard_active",
                "1 while too many TaskManagers are due at once and none is declared lost",
            ),
            tracked: to.gauge("leases_tracked", "Leases that are tracked"),
        }
    }
}

/// What the Raft adapter counts.
#[derive(Debug, Clone)]
pub struct ConsensusMetrics {
    /// The current term.
    pub term: Gauge,
    /// 1 if this node leads.
    pub is_leader: Gauge,
    /// Times that this node saw the leader change.
    pub leader_changes: Counter,
    /// Index of the last log entry.
    pub last_log_index: Gauge,
    /// Index of the last applied entry.
    pub applied_index: Gauge,
    /// From a proposal to its application, in seconds.
    pub propose_seconds: Histogram,
    /// One read barrier, in seconds.
    pub read_barrier_seconds: Histogram,
    /// Read barriers that were asked for; many share one round trip.
    pub read_barriers: Counter,
    /// Snapshots that this node made.
    pub snapshots_built: Counter,
    /// Snapshots that this node took from the leader.
    pub snapshots_installed: Counter,
}

impl ConsensusMetrics {
    pub(super) fn register(to: &mut Registration) -> Self {
        Self {
            term: to.gauge("raft_term", "The current term"),
            is_leader: to.gauge("raft_is_leader", "1 if this node leads"),
            leader_changes: to.counter("raft_leader_changes", "Leader changes that this node saw"),
            last_log_index: to.gauge("raft_last_log_index", "Index of the last log entry"),
            applied_index: to.gauge("raft_applied_index", "Index of the last applied entry"),
            propose_seconds: to.histogram(
                "raft_propose_seconds",
                "From a proposal to its application",
                &LATENCY_BUCKETS,
            ),
            read_barrier_seconds: to.histogram(
                "raft_read_barrier_seconds",
                "One read barrier",
                &LATENCY_BUCKETS,
            ),
            read_barriers: to.counter("raft_read_barriers", "Read barriers that were asked for"),
            snapshots_built: to.counter("raft_snapshots_built", "Snapshots that this node made"),
            snapshots_installed: to
                .counter("raft_snapshots_installed", "Snapshots that this node took from the leader"),
        }
    }
}

/// What the writer of the log counts.
#[derive(Debug, Clone)]
pub struct StorageMetrics {
    /// Appends that were made durable.
    pub appends: Counter,
    /// Bytes of log entries that were made durable.
    pub append_bytes: Counter,
    /// One write made durable, in seconds.
    pub sync_seconds: Histogram,
    /// Entries that share one sync.
    pub entries_per_sync: Histogram,
    /// Bytes of the newest snapshot.
    pub snapshot_bytes: Gauge,
}

impl StorageMetrics {
    pub(super) fn register(to: &mut Registration) -> Self {
        Self {
            appends: to.counter("storage_appends", "Log entries that were made durable"),
            append_bytes: to.counter("storage_append_bytes", "Bytes of log entries that were made durable"),
            sync_seconds: to.histogram("storage_sync_seconds", "One write made durable", &LATENCY_BUCKETS),
            entries_per_sync: to.histogram(
                "storage_entries_per_sync",
                "Log entries that share one sync",
                &COUNT_BUCKETS,
            ),
            snapshot_bytes: to.gauge("storage_snapshot_bytes", "Bytes of the newest snapshot"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

/// What the HTTP server counts.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    /// From the head of a request to the head of its answer, in seconds; long polls and waits included.
    pub duration_seconds: Histogram,
    /// Requests that are being served.
    pub in_flight: Gauge,
    /// Connections that are open.
    pub connections: Gauge,
    /// Connections that were refused at a limit.
    pub connections_refused: Counter,
    /// Requests that were forwarded to the leader.
    pub forwarded: Counter,
    /// Forwarded requests whose outcome is not known.
    pub forwards_unknown: Counter,
}

impl HttpMetrics {
    pub(super) fn register(to: &mut Registration) -> Self {
        Self {
            requests: to.add("http_requests", "Requests by method, route and status", Family::default()),
            duration_seconds: to.histogram(
                "http_request_duration_seconds",
                "From the head of a request to the head of its answer",
                &LATENCY_BUCKETS,
            ),
            in_flight: to.gauge("http_requests_in_flight", "Requests that are being served"),
            connections: to.gauge("http_connections", "Connections that are open"),
            connections_refused: to
                .counter("http_connections_refused", "Connections that were refused at a limit"),
            forwarded: to.counter("http_forwarded", "Requests that were forwarded to the leader"),
            forwards_unknown: to
                .counter("http_forwards_unknown", "Forwarded requests whose outcome is not known"),
        }
    }

    /// Counts one answered request. `route` is the pattern of the route, never the path itself.
    pub fn observe(&self, method: &'static str, route: &str, status: u16, seconds: f64) {
        let labels = RequestLabels { method, route: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        self.duration_seconds.observe(seconds);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    state: &'static str,
}

/// Figures of the replicated state as this replica has applied it.
#[derive(Debug, Clone)]
pub struct StateMetrics {
    /// The revision.
    pub revision: Gauge,
    task_managers: Family<ConditionLabels, Gauge>,
    /// Slots of TaskManagers that are not lost.
    pub slots_total: Gauge,
    /// Of those, free.
    pub slots_free: Gauge,
    /// Living allocations.
    pub allocations: Gauge,
    /// Running jobs.
    pub jobs_running: Gauge,
    /// Slots that declared requirements still lack.
    pub slots_pending: Gauge,
    /// Idempotency keys that are remembered.
    pub idempotency_keys: Gauge,
}

impl StateMetrics {
    pub(super) fn register(to: &mut Registration) -> Self {
        Self {
            revision: to.gauge("revision", "The applied revision"),
            task_managers: to.add("task_managers", "TaskManagers by state", Family::default()),
            slots_total: to.gauge("slots", "Slots of TaskManagers that are not lost"),
            slots_free: to.gauge("slots_free", "Free slots"),
            allocations: to.gauge("allocations", "Living allocations"),
            jobs_running: to.gauge("jobs_running", "Running jobs"),
            slots_pending: to.gauge("slots_pending", "Slots that declared requirements still lack"),
            idempotency_keys: to.gauge("idempotency_keys", "Idempotency keys that are remembered"),
        }
    }

    /// Sets how many TaskManagers are in `state`, one of the five names of the API.
    pub fn set_task_managers(&self, state: &'static str, count: i64) {
        self.task_managers.get_or_create(&ConditionLabels { state }).set(count);
    }
}
