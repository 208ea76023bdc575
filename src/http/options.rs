//! The limits and timeouts of the HTTP server.
//!
//! What it promises: every wait and every buffer of the server is bounded by a value here. What it must not do: hold
//! what the cluster agrees on; those are replicated settings.

use std::time::Duration;

/// Bounds of one HTTP server. The defaults are those of `docs/operations.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// Connections at once. Beyond it idle ones make room, or the new one is closed without an answer. Default 16,384: a TaskManager
    /// holds one or two.
    pub connections_max: usize,
    /// Connections at once from one IP address. Beyond it: the same among those of the address. Default 16,384, because
    /// workers behind one address share it.
    pub connections_per_address_max: usize,
    /// How long the head of a request may take. Beyond it: the connection is closed. Default 5 s.
    pub header_timeout: Duration,
    /// How long the body of a request may take. Beyond it: 408. Default 10 s.
    pub body_timeout: Duration,
    /// How long a connection may stay without a request. Beyond it: closed. Default 60 s.
    pub idle_timeout: Duration,
    /// How long a client may take no byte of an answer. Beyond it: the connection is closed. Default 30 s.
    pub write_timeout: Duration,
    /// Bytes of a request body. Beyond it: 413. Default 1 MiB.
    pub body_bytes_max: usize,
    /// Headers of one request. Beyond it: 431. Default 64.
    pub headers_max: usize,
    /// Bytes of the head of one request. Beyond it: 431. Default 16 KiB.
    pub head_bytes_max: usize,
    /// HTTP/2 streams at once on one connection. Beyond it: refused. Default 100.
    pub streams_max: u32,
    /// How long a request may take on this node, beside what it asked to wait. Beyond it: 504 for a write, 503 for a
    /// read. Default 15 s.
    pub request_timeout: Duration,
    /// How long a write may be in progress on the leader while more comes than it can do; what would wait longer is turned
    /// away with 429. Default 25 ms; a third of a heartbeat interval in a server.
    pub in_progress_target: Duration,
    /// How long a request waits for a leader to appear. Beyond it: 503 `no_leader`. Default 1 s, which covers a
    /// fail-over.
    pub leader_wait: Duration,
    /// How long a read waits for `min_revision`. Beyond it: 504 `revision_timeout`. Default 10 s.
    pub revision_wait: Duration,
    /// How long connecting to the leader may take. Default 1 s.
    pub connect_timeout: Duration,
    /// How long open requests may go on when the server stops. Default 5 s.
    pub shutdown_grace: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            connections_per_address_max: 16_384,
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            body_bytes_max: 1024 * 1024,
            headers_max: 64,
            head_bytes_max: 16 * 1024,
            streams_max: 100,
            request_timeout: Duration::from_secs(15),
            in_progress_target: Duration::from_millis(25),
            leader_wait: Duration::from_secs(1),
            revision_wait: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}
