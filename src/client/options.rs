//! What a client is made from: addresses, time limits, and the clock and randomness that it may use.
//!
//! Promises: an address that exists is a URL of scheme `http` and an authority, without a path; durations are spelled
//! out with their defaults. Must not: look into the environment of the process (the command line does).
//! Tested below.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The port of the API when an address names none.
pub const API_PORT_DEFAULT: u16 = 7400;

/// An address that no request could be sent to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{address}` is not the address of a server: {problem}")]
pub struct ServerAddressError {
    /// The text as it was given.
    pub address: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Addresses and time limits of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The servers, each `http://HOST:PORT`, `HOST:PORT` or `HOST`; at least one. Any replica serves any call.
    pub servers: Vec<String>,
    /// How long a connection may take to open. Default 1 s.
    pub connect_timeout: Duration,
    /// How long one try may take, beyond the wait that the call itself asks for. Default 5 s.
    pub try_timeout: Duration,
    /// How long a call may take over all its tries, beyond the wait that it asks for. Default 15 s.
    pub deadline: Duration,
    /// The pause before the first repetition that is not an immediate change of the server. Default 20 ms.
    pub backoff_start: Duration,
    /// The longest pause between two tries. Default 500 ms.
    pub backoff_max: Duration,
}

impl ClientOptions {
    /// The default time limits with these servers.
    pub fn new(servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            servers: servers.into_iter().map(Into::into).collect(),
            connect_timeout: Duration::from_secs(1),
            try_timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(15),
            backoff_start: Duration::from_millis(20),
            backoff_max: Duration::from_millis(500),
        }
    }

    /// The same with another limit for a call as a whole; a single try gets no more than that either.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self.try_timeout = self.try_timeout.min(deadline);
        self.connect_timeout = self.connect_timeout.min(deadline);
        self
    }
}

/// The clock and the randomness of a client.
#[derive(Clone)]
pub struct Seams {
    /// The monotonic clock.
    pub now: Arc<dyn Fn() -> Instant + Send + Sync>,
    /// 64 random bits at each call: jitter, the first server, idempotency keys.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Seams {
    /// Takes a clock and a source of randomness.
    pub fn new(
        now: impl Fn() -> Instant + Send + Sync + 'static,
        random: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), random: Arc::new(random) }
    }
}

impl fmt::Debug for Seams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seams")
    }
}

/// The address of `text` as `http://HOST:PORT`.
///
/// # Errors
/// If the text is empty, has another scheme, has a path, or its port is not a number.
pub fn normalized_address(text: &str) -> Result<String, ServerAddressError> {
    let refused = |problem| ServerAddressError { address: text.to_owned(), problem };
    let trimmed = text.trim();
    let authority = match trimmed.split_once("://") {
        Some(("http", rest)) => rest,
        Some(("https", _)) => return Err(refused("TLS is not supported yet; use `http://`")),
        Some(_) => return Err(refused("the scheme must be `http`")),
        None => trimmed,
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.is_empty() {
        return Err(refused("the host is missing"));
    }
    if authority.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '@' | ',')) {
        return Err(refused("only a host and a port are allowed"));
    }
    let (host, port) = split_port(authority);
    let port = match port {
        None => API_PORT_DEFAULT,
        Some(port) => port.parse().map_err(|_| refused("the port is not a number from 0 to 65535"))?,
    };
    if host.is_empty() {
        return Err(refused("the host is missing"));
    }
    Ok(format!("http://{host}:{port}"))
}

/// Host and port of an authority; the colons of an IPv6 address in brackets belong to the host.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_host = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    match authority[after_host..].find(':') {
        None => (authority, None),
        Some(colon) => (&authority[..after_host + colon], Some(&authority[after_host + colon + 1..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_the_scheme_and_the_port() {
        let normalized = |text| normalized_address(text).unwrap();
        assert_eq!(normalized("http://10.0.0.1:7400"), "http://10.0.0.1:7400");
        assert_eq!(normalized("http://10.0.0.1:7400/"), "http://10.0.0.1:7400");
        assert_eq!(normalized("server-1"), "http://server-1:7400");
        assert_eq!(normalized(" localhost:80 "), "http://localhost:80");
        assert_eq!(normalized("[::1]:99"), "http://[::1]:99");
        assert_eq!(normalized("[::1]"), "http://[::1]:7400");
    }

    #[test]
    fn an_address_that_no_request_could_reach_is_refused_with_the_reason() {
        for text in ["", "http://", ":7400", "a:b", "a:70000", "ftp://a", "https://a", "a/b", "a b", "u@h"] {
            let error = normalized_address(text).expect_err(text);
            assert!(error.to_string().contains("is not the address of a server"), "{error}");
        }
    }
}
