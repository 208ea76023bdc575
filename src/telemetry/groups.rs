//! The metrics themselves: one group per room that counts.
//!
//! What it promises: base units (seconds, bytes) in every name; labels with few values only, never an id. What it must
//! not do: hold a figure that a room decides by.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;

use super::metrics::{Counter, FloatGauge, Gauge, Histogram, Registration};
use super::timing::{COUNT_BUCKETS, LATENCY_BUCKETS};

/// What the leader's round loop counts.
#[derive(Debug, Clone)]
pub struct RoundMetrics {
    /// Rounds that were proposed.
    pub proposed: Counter,
    /// Rounds whose outcome is not known, because leadership was lost after proposing.
    pub outcome_unknown: Counter,
    /// Times the leader took its copy of the state anew within a session.
    pub copies: Counter,
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
    /// How far the wall clock of this node is ahead of the state's clock, in seconds; 0 where this node does not lead.
    pub clock_offset_seconds: FloatGauge,
}

impl RoundMetrics {
    pub(super) fn register(to: &mut Registration) -> Self {
        Self {
            proposed: to.counter("rounds_proposed", "Rounds that were proposed"),
            outcome_unknown: to.counter("rounds_outcome_unknown", "Rounds whose outcome is not known"),
            copies: to.counter("leader_copies", "Times the leader took its copy of the state anew"),
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
            clock_offset_seconds: to.float_gauge(
                "state_clock_offset_seconds",
                "How far the leader's wall clock is ahead of the state's clock; 0 where this node does not lead",
            ),
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

/// Figures of the Raft engine, set when somebody reads them.
#[derive(Debug, Clone)]
pub struct ConsensusMetrics {
    /// The current term.
    pub term: Gauge,
    /// 1 if this node leads.
    pub is_leader: Gauge,
    /// Index of the last log entry.
    pub last_log_index: Gauge,
    /// Index of the last entry that is known to be committed.
    pub committed_index: Gauge,
    /// Index of the last applied entry.
    pub applied_index: Gauge,
    /// Index of the last entry in the newest snapshot.
    pub snapshot_index: Gauge,
}

impl ConsensusMetrics {
    pub(super) fn register(to: &mut Registration) -> Self {
        Self {
            term: to.gauge("raft_term", "The current term"),
            is_leader: to.gauge("raft_is_leader", "1 if this node leads"),
            last_log_index: to.gauge("raft_last_log_index", "Index of the last log entry"),
            committed_index: to.gauge("raft_committed_index", "Index of the last committed entry"),
            applied_index: to.gauge("raft_applied_index", "Index of the last applied entry"),
            snapshot_index: to.gauge("raft_snapshot_index", "Index of the last entry in the newest snapshot"),
        }
    }
}

/// Figures of the writer of the log, set when somebody reads them.
#[derive(Debug, Clone)]
pub struct StorageMetrics {
    /// Writes that were made durable since the log was opened.
    pub syncs: Gauge,
    /// Bytes that were written since then.
    pub written_bytes: Gauge,
    /// Time that they took together, in seconds.
    pub sync_seconds: FloatGauge,
    /// The longest of them, in seconds.
    pub longest_sync_seconds: FloatGauge,
    /// Memory of the part of the log that is held in memory.
    pub mirror_bytes: Gauge,
    /// Requests that wait for the writer.
    pub queue_length: Gauge,
}

impl StorageMetrics {
    pub(super) fn register(to: &mut Registration) -> Self {
        Self {
            syncs: to.gauge("log_syncs", "Writes made durable since the log was opened"),
            written_bytes: to.gauge("log_written_bytes", "Bytes written since the log was opened"),
            sync_seconds: to.float_gauge("log_sync_seconds", "Time of all writes together"),
            longest_sync_seconds: to.float_gauge("log_longest_sync_seconds", "Time of the longest write"),
            mirror_bytes: to.gauge("log_mirror_bytes", "Memory of the log that is held in memory"),
            queue_length: to.gauge("log_queue_length", "Requests that wait for the writer of the log"),
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
    /// Idle connections that had to make room for others.
    pub connections_told_to_go: Counter,
    /// Writes that were turned away because more came than could be served in time.
    pub turned_away: Counter,
    /// Requests that were forwarded to the leader.
    pub forwarded: Counter,
    /// Forwarded requests whose outcome is not known.
    pub forwards_unknown: Counter,
    /// Requests whose handling panicked; each is a bug.
    pub panics: Counter,
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
            connections_told_to_go: to
                .counter("http_connections_told_to_go", "Idle connections that had to make room for others"),
            turned_away: to.counter(
                "http_turned_away",
                "Writes that were turned away because more came than could be served in time",
            ),
            forwarded: to.counter("http_forwarded", "Requests that were forwarded to the leader"),
            forwards_unknown: to
                .counter("http_forwards_unknown", "Forwarded requests whose outcome is not known"),
            panics: to.counter("http_panics", "Requests whose handling panicked; each is a bug"),
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
