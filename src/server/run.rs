//! The program `slotkeeper server`: from the options to the exit status.
//!
//! What it promises: the log is set up before anything happens; a signal that comes at any time stops the server in
//! order, a second one at once; the last line of the log names the reason and the status. What it must not do: print;
//! the command line does.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::config::{self, ServerConfig};
use super::exit::{self, ServerError};
use super::node::{Listeners, Node, NodeSeams};
use super::options::ServerOptions;
use super::panic_hook;
use super::signals::StopSignals;
use crate::clock::SystemClock;
use crate::consensus::TcpTransport;

/// How long threads that are in the kernel may hold up the end of the process.
pub(super) const THREADS_DEADLINE: std::time::Duration = std::time::Duration::from_secs(1);

/// Runs a server until it is asked to stop or can not go on. Blocks; call it once, from the main thread.
///
/// # Errors
/// Why it did not start or did not go on; [`ServerError::exit_status`] is the status to exit with.
pub fn run(options: ServerOptions) -> Result<(), ServerError> {
    let config = ServerConfig::from_options(options.with_file()?)?;
    config::init_log(config.log_format, &config.log_filter)?;
    panic_hook::install();
    let (runtime, serving) = (runtime(Some(node_threads()))?, runtime(config.worker_threads)?);
    let seams = NodeSeams { serving: Some(serving.handle().clone()), ..system_seams() };
    let ended = runtime.block_on(serve(config, seams));
    match &ended {
        Ok(()) => tracing::info!(status = exit::CLEAN, "the server has stopped"),
        Err(error) => tracing::error!(%error, status = error.exit_status(), "the server ends"),
    }
    serving.shutdown_timeout(THREADS_DEADLINE);
    runtime.shutdown_timeout(THREADS_DEADLINE);
    ended
}

/// The clock, the network and the randomness of this machine.
pub(super) fn system_seams() -> NodeSeams {
    NodeSeams {
        clock: Arc::new(SystemClock),
        transport: Arc::new(TcpTransport),
        random: Arc::new(rand::random),
        serving: None,
    }
}

/// Threads of the node itself: its engine and its rounds are a few tasks, each of which is busy at times.
fn node_threads() -> u32 {
    processors().min(4)
}

/// Processors that this process may use, and at least two.
fn processors() -> u32 {
    let count = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    u32::try_from(count).unwrap_or(u32::MAX).max(2)
}

/// A runtime of `worker_threads`, or one per processor and at least two.
pub(super) fn runtime(worker_threads: Option<u32>) -> Result<Runtime, ServerError> {
    let workers = worker_threads.unwrap_or_else(processors) as usize;
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    built.map_err(|error| ServerError::Unavailable(format!("no threads to serve with: {error}")))
}

/// Listens for requests to stop, from now on.
pub(super) fn listen() -> Result<StopSignals, ServerError> {
    StopSignals::listen()
        .map_err(|error| ServerError::Unavailable(format!("signals can not be handled: {error}")))
}

async fn serve(config: ServerConfig, seams: NodeSeams) -> Result<(), ServerError> {
    let mut signals = listen()?;
    let listeners = Listeners::bind(&config, seams.transport.as_ref()).await?;
    let node = tokio::select! {
        started = Node::start(config, listeners, seams) => started?,
        signal = signals.next() => {
            tracing::info!(signal, "asked to stop while starting");
            return Ok(());
        }
    };
    tokio::select! {
        error = node.failed() => {
            panic_hook::process_ends();
            return Err(error);
        }
        signal = signals.next() => tracing::info!(signal, "asked to stop"),
    }
    panic_hook::process_ends();
    tokio::select! {
        () = node.stop() => Ok(()),
        signal = signals.next() => {
            tracing::warn!(signal, "asked to stop again: the rest is cut off");
            Ok(())
        }
    }
}
