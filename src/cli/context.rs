//! What every verb gets: the way to the cluster, the printer, and what the options of all verbs say.

use std::time::Duration;

use super::failure::Failure;
use super::printer::{Output, Printer};
use crate::api::units::DurationText;
use crate::client::{Client, ClientOptions, Seams};
use crate::clock::{Clock as _, SystemClock};

/// The options of all verbs.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options of all verbs")]
pub(super) struct GlobalOptions {
    /// Servers to talk to, as HOST:PORT or http://HOST:PORT; any replica takes any request
    #[arg(
        long,
        global = true,
        env = "SLOTKEEPER_SERVERS",
        value_name = "SERVER,...",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7400"
    )]
    pub(super) servers: Vec<String>,
    /// How data on standard output looks
    #[arg(long, global = true, env = "SLOTKEEPER_OUTPUT", value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    /// How long a request may take over all its tries
    #[arg(
        long,
        global = true,
        env = "SLOTKEEPER_TIMEOUT",
        value_name = "DURATION",
        value_parser = DurationText::parse,
        default_value = "10s"
    )]
    pub(super) timeout: DurationText,
    /// Do not ask before something is destroyed
    #[arg(long, global = true)]
    pub(super) yes: bool,
    /// Repeat a write whose outcome is not known, under the key that it had
    #[arg(long, global = true, value_name = "KEY", value_parser = idempotency_key)]
    pub(super) idempotency_key: Option<String>,
}

fn idempotency_key(text: &str) -> Result<String, String> {
    let valid = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if valid { Ok(text.to_owned()) } else { Err("a key has 1 to 128 visible ASCII characters".to_owned()) }
}

/// What every verb gets.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) printer: Printer,
    pub(super) yes: bool,
    pub(super) idempotency_key: Option<String>,
    pub(super) servers: Vec<String>,
    /// How long a request may take over all its tries.
    pub(super) deadline: Duration,
}

impl Context {
    /// # Errors
    /// If a server's address is not one.
    pub(super) fn new(options: GlobalOptions) -> Result<Self, Failure> {
        let deadline = Duration::from_millis(options.timeout.ms);
        let mut client = client_of(options.servers.clone(), deadline)?;
        if let Some(key) = &options.idempotency_key {
            client = client.with_idempotency_key(key);
        }
        let (printer, yes) = (Printer::new(options.output), options.yes);
        Ok(Self {
            client,
            printer,
            yes,
            idempotency_key: options.idempotency_key,
            servers: options.servers,
            deadline,
        })
    }
}

/// How long a look at what one server knows may take.
pub(super) const STALE_LIMIT: Duration = Duration::from_secs(1);

impl Context {
    /// A client for what one server knows, where nobody can be asked what is.
    pub(super) fn stale_client(&self) -> Client {
        self.client.with_limits(STALE_LIMIT, STALE_LIMIT).with_stale_reads()
    }
}

/// A client of these servers.
///
/// # Errors
/// If an address is not one.
pub(super) fn client_of(servers: Vec<String>, deadline: Duration) -> Result<Client, Failure> {
    let options = ClientOptions::new(servers).with_deadline(deadline);
    Client::new(options, system_seams()).map_err(|error| {
        Failure::usage(error.to_string()).with_hint("for example `--servers 127.0.0.1:7400`")
    })
}

/// The clock and the randomness of this process.
pub(super) fn system_seams() -> Seams {
    Seams::new(|| SystemClock.now(), rand::random)
}
