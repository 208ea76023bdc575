//! The command line: one verb per file, one printer, and exit statuses that scripts can rely on.
//!
//! Promises: data on standard output, talk on standard error; 0 done, 1 refused, 2 usage, 3 unavailable or outcome not
//! known, 70 a bug; what destroys something asks first. Must not: decide anything that the cluster decides, or print
//! anywhere but in `printer`. `docs/cli.md` is the manual. Tested in `tests/cli/` by recorded runs.

mod agent;
mod alloc;
mod allocations;
mod amounts;
mod bench;
mod confirm;
mod context;
mod exit;
mod failure;
mod jobs;
mod line;
mod members;
mod printer;
mod queues;
mod recover;
mod release;
mod requirements;
mod server;
mod settings;
mod status;
mod table;
mod task_managers;
mod transfer_leadership;
mod values;
mod watch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser as _;

use self::context::Context;
use self::exit::Exit;
use self::failure::Failure;
use self::line::{Line, Verb};
use self::printer::{Output, Printer};

/// Runs the program with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            Printer::new(Output::Table).parsed(&error);
            // Help and version are what was asked for; everything else is a usage error.
            return ExitCode::from(if error.use_stderr() { Exit::Usage } else { Exit::Done });
        }
    };
    let printer = Printer::new(line.global.output);
    // The message of the panic is on standard error already.
    let outcome = catch_unwind(AssertUnwindSafe(|| run(line))).unwrap_or_else(|_| {
        Err(Failure::new(Exit::Bug, "this is a bug of slotkeeper; please report the message above"))
    });
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            printer.failure(&failure);
            ExitCode::from(failure.exit)
        }
    }
}

fn run(line: Line) -> Result<ExitCode, Failure> {
    let printer = Printer::new(line.global.output);
    let line = match line.verb {
        // These bring threads and a log of their own.
        Verb::Server(options) => return Ok(server::run_server(*options, &printer)),
        Verb::Dev(options) => return Ok(server::run_dev(*options, &printer)),
        verb => Line { verb, ..line },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Failure::new(Exit::Unavailable, format!("the threads can not be started: {error}"))
    })?;
    runtime.block_on(async {
        let context = Context::new(line.global)?;
        dispatch(&line.verb, &context).await
    })
}

async fn dispatch(verb: &Verb, context: &Context) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Status(status) => status::run(status, context).await?,
        Verb::TaskManagers { verb } => task_managers::run(verb, context).await?,
        Verb::Jobs { verb } => jobs::run(verb, context).await?,
        Verb::Alloc(alloc) => alloc::run(alloc, context).await?,
        Verb::Release(release) => release::run(release, context).await?,
        Verb::Requirements { verb } => requirements::run(verb, context).await?,
        Verb::Queues { verb } => queues::run(verb, context).await?,
        Verb::Settings { verb } => settings::run(verb, context).await?,
        Verb::Members { verb } => members::run(verb, context).await?,
        Verb::TransferLeadership(transfer) => transfer_leadership::run(transfer, context).await?,
        Verb::Agent(agent) => agent::run(agent, context).await?,
        Verb::Recover(options) => recover::run(options, context).await?,
        Verb::Bench(options) => bench::run(options, context).await?,
        Verb::Server(_) | Verb::Dev(_) => unreachable!("these have run before there was a context"),
    }
    Ok(ExitCode::from(Exit::Done))
}
