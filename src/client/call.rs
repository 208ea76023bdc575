//! The client itself and the loop of tries behind every call.
//!
//! Promises: all tries of a write carry one idempotency key; a call ends at its deadline at the latest; an error says
//! `Unavailable` only if no try can have been carried out, else `OutcomeUnknown`. Must not: know resources; they have a
//! file each. Tested in `client/tests/mod.rs`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::attempt::{Exchanged, Told, Transport, Trouble, Verdict};
use super::backoff::Backoff;
use super::error::{ClientError, Failure};
use super::options::{ClientOptions, Seams, ServerAddressError, normalized_address};
use super::request::{Method, Request};
use super::servers::{ServerIndex, Servers};
use crate::api::ProblemCode;

/// Redirections that one call follows; more would be a circle.
const REDIRECTIONS_MAX: u32 = 3;

/// A try that would have less time than this is not begun: it could hardly be answered, and would only make it unknown
/// whether the request was carried out.
const TRY_TIME_LEAST: Duration = Duration::from_millis(20);

/// A client of one cluster. Cheap to clone; clones share connections and what was learned about the servers.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    options: Arc<ClientOptions>,
    key: Option<Arc<str>>,
    stale_reads: bool,
}

#[derive(Debug)]
struct Shared {
    transport: Transport,
    servers: Mutex<Servers>,
    configured: usize,
    seams: Seams,
    revision: AtomicU64,
}

/// A successful answer before its body is read.
#[derive(Debug)]
pub(super) struct RawAnswer {
    pub(super) server: String,
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// If there is no server or an address is not one.
    pub fn new(options: ClientOptions, seams: Seams) -> Result<Self, ServerAddressError> {
        if options.servers.is_empty() {
            return Err(ServerAddressError {
                address: String::new(),
                problem: "at least one server is needed",
            });
        }
        let addresses: Vec<String> =
            options.servers.iter().map(|text| normalized_address(text)).collect::<Result<_, _>>()?;
        let shared = Shared {
            transport: Transport::new(options.connect_timeout),
            configured: addresses.len(),
            servers: Mutex::new(Servers::new(addresses, (seams.random)())),
            seams,
            revision: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared), options: Arc::new(options), key: None, stale_reads: false })
    }

    /// The same client with another deadline for each call (beyond the wait that a call asks for).
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let options = ClientOptions::clone(&self.options).with_deadline(deadline);
        Self { options: Arc::new(options), ..self.clone() }
    }

    /// The same client, with a deadline that is not longer than `limit`.
    #[must_use]
    pub fn with_deadline_at_most(&self, limit: Duration) -> Self {
        self.with_deadline(self.options.deadline.min(limit))
    }

    /// The same client with other limits for each call as a whole and for each of its tries.
    #[must_use]
    pub fn with_limits(&self, deadline: Duration, try_timeout: Duration) -> Self {
        let mut options = ClientOptions::clone(&self.options).with_deadline(deadline);
        options.try_timeout = try_timeout.min(deadline);
        Self { options: Arc::new(options), ..self.clone() }
    }

    /// The same client with this idempotency key for its writes, in place of a new random one for each. For repeating
    /// one call whose outcome was not known; a second, different write under it is refused.
    #[must_use]
    pub fn with_idempotency_key(&self, key: &str) -> Self {
        Self { key: Some(Arc::from(key)), ..self.clone() }
    }

    /// The same client, reading what the answering replica has applied so far instead of the latest state.
    #[must_use]
    pub fn with_stale_reads(&self) -> Self {
        Self { stale_reads: true, ..self.clone() }
    }

    /// The highest state revision that any answer to this client or its clones reflected.
    pub fn observed_revision(&self) -> u64 {
        self.shared.revision.load(Ordering::Relaxed)
    }

    /// Makes the call and reads the answer as `T`.
    pub(super) async fn call<T: DeserializeOwned>(&self, request: Request) -> Result<T, ClientError> {
        let answer = self.raw_call(request).await?;
        serde_json::from_slice(&answer.body).map_err(|error| {
            let (server, status, problem) = (answer.server, answer.status, error.to_string());
            ClientError::Unreadable(Failure::Foreign { server, status, problem })
        })
    }

    /// Makes the call and gives the body as it came.
    pub(super) async fn raw_call(&self, mut request: Request) -> Result<RawAnswer, ClientError> {
        if self.stale_reads && request.method == Method::Get {
            request.target.push(if request.target.contains('?') { '&' } else { '?' });
            request.target.push_str("consistency=stale");
        }
        let key = request.keyed.then(|| self.key_for_write());
        let mut tries = Tries::new(self, &request, key);
        let mut server = self.servers().preferred();
        loop {
            let address = self.servers().address(server).to_owned();
            let limit = tries.next_limit();
            let verdict =
                self.shared.transport.attempt(&address, &request, tries.key.as_deref(), limit).await;
            match verdict {
                Verdict::Answered { status, body, told } => {
                    self.learn(server, told);
                    return Ok(RawAnswer { server: address, status, body });
                }
                Verdict::Refused { problem, told } => {
                    self.learn(server, told);
                    return Err(ClientError::Refused(problem));
                }
                Verdict::Unreadable(failure) => return Err(ClientError::Unreadable(failure)),
                Verdict::Elsewhere { address: location } => {
                    server = self.follow(&mut tries, &address, location)?;
                }
                Verdict::Again(trouble) => {
                    self.servers().failed(server);
                    let pause = tries.pause_after(trouble, (self.shared.seams.random)())?;
                    tokio::time::sleep(pause).await;
                    server = self.servers().after(server);
                }
            }
        }
    }

    /// Makes one try at the server that calls start at, and gives its address and its answer, whatever that is.
    pub(super) async fn single_exchange(&self, request: &Request) -> (String, Result<Exchanged, Trouble>) {
        let address = {
            let servers = self.servers();
            servers.address(servers.preferred()).to_owned()
        };
        let limit = self.options.try_timeout.min(self.options.deadline);
        let exchanged = self.shared.transport.exchange(&address, request, None, limit).await;
        (address, exchanged)
    }

    fn key_for_write(&self) -> String {
        match &self.key {
            Some(key) => key.to_string(),
            None => format!("{:016x}{:016x}", (self.shared.seams.random)(), (self.shared.seams.random)()),
        }
    }

    fn follow(&self, tries: &mut Tries, from: &str, to: String) -> Result<ServerIndex, ClientError> {
        tries.redirections += 1;
        let known = self.servers().redirected(&to, self.shared.configured);
        match known {
            Some(server) if tries.redirections <= REDIRECTIONS_MAX => Ok(server),
            _ => Err(ClientError::Unreadable(Failure::Redirection { server: from.to_owned(), location: to })),
        }
    }

    fn learn(&self, server: ServerIndex, told: Told) {
        self.servers().answered(server, told.node, told.leader);
        if let Some(revision) = told.revision {
            self.shared.revision.fetch_max(revision, Ordering::Relaxed);
        }
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.shared.servers.lock().expect("nothing panics while it holds this lock")
    }

    fn now(&self) -> Instant {
        (self.shared.seams.now)()
    }
}

/// The state of one call over its tries.
struct Tries<'client> {
    client: &'client Client,
    key: Option<String>,
    ends_at: Instant,
    try_timeout: Duration,
    backoff: Backoff,
    made: u32,
    redirections: u32,
    /// Servers that failed in a row, before the first pause.
    failed_servers: usize,
    may_be_done: bool,
    /// The last problem that a server named.
    named: Option<Failure>,
    /// When the try that is under way began.
    began_at: Instant,
    /// A try that would have less time than this is not begun.
    time_least: Duration,
}

impl<'client> Tries<'client> {
    fn new(client: &'client Client, request: &Request, key: Option<String>) -> Self {
        let options = &client.options;
        let now = client.now();
        Self {
            client,
            key,
            ends_at: now + request.wait + options.deadline,
            try_timeout: request.wait + options.try_timeout,
            backoff: Backoff::new(options.backoff_start, options.backoff_max),
            made: 0,
            redirections: 0,
            failed_servers: 0,
            may_be_done: false,
            named: None,
            began_at: now,
            time_least: TRY_TIME_LEAST,
        }
    }

    /// How long the try that begins now may take.
    fn next_limit(&mut self) -> Duration {
        self.made += 1;
        self.began_at = self.client.now();
        self.try_timeout.min(self.remaining())
    }

    fn remaining(&self) -> Duration {
        self.ends_at.saturating_duration_since(self.client.now())
    }

    /// The pause before the next try, or the end of the call.
    fn pause_after(&mut self, trouble: Trouble, random: u64) -> Result<Duration, ClientError> {
        self.may_be_done |= trouble.may_be_done;
        self.failed_servers += usize::from(trouble.server_failed);
        if trouble.failure.code() == Some(ProblemCode::NoLeader) {
            // Servers wait for a leader before they say this. Cut short, the next would say nothing, and the outcome of a
            // write that nobody took would be unknown.
            let waited = self.client.now().saturating_duration_since(self.began_at);
            self.time_least = self.time_least.max(waited + TRY_TIME_LEAST);
        }
        let others_left = self.failed_servers < self.client.servers().count();
        if trouble.failure.code().is_some() {
            self.named = Some(trouble.failure.clone());
        }
        let pause = if trouble.server_failed && others_left {
            Duration::ZERO
        } else {
            self.backoff.pause(random, trouble.retry_after)
        };
        let enough_time = pause + self.time_least < self.remaining();
        if enough_time { Ok(pause) } else { Err(self.given_up(trouble.failure)) }
    }

    /// A problem that a server named says more than a server that can not be reached, whichever came last.
    fn given_up(&mut self, last: Failure) -> ClientError {
        let tries = self.made;
        let last = if last.code().is_some() { last } else { self.named.take().unwrap_or(last) };
        match self.key.take() {
            Some(key) if self.may_be_done => ClientError::OutcomeUnknown { key, tries, last },
            _ => ClientError::Unavailable { tries, last },
        }
    }
}
