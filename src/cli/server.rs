//! `slotkeeper server` and `slotkeeper dev`: programs that run until they are asked to stop.
//!
//! Promises: the exit status is the one that `server/exit.rs` documents; `dev` says where everything is and what to try.
//! Must not: configure or wire anything; the server room does.

use std::process::ExitCode;

use serde::Serialize;

use super::exit::Exit;
use super::failure::Failure;
use super::printer::Printer;
use crate::server::dev::{self, DevCluster, DevOptions};
use crate::server::{self, ServerError, ServerOptions};

/// Runs one server.
pub(super) fn run_server(options: ServerOptions, printer: &Printer) -> ExitCode {
    ended(server::run(options), printer)
}

/// Runs a development cluster.
pub(super) fn run_dev(options: DevOptions, printer: &Printer) -> ExitCode {
    ended(dev::run(options, |cluster| announce(cluster, printer)), printer)
}

fn ended(ended: Result<(), ServerError>, printer: &Printer) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::from(Exit::Done),
        Err(error) => {
            printer.failure(&Failure::new(Exit::Bug, error.to_string()));
            ExitCode::from(error.exit_status())
        }
    }
}

/// What `dev` tells a script.
#[derive(Serialize)]
struct Ready<'a> {
    servers: Vec<&'a str>,
    task_managers: &'a [String],
    data_dir: String,
}

fn announce(cluster: &DevCluster, printer: &Printer) {
    let servers: Vec<&str> = cluster.servers.iter().map(|server| server.api_addr.as_str()).collect();
    let data_dir = cluster.data_dir.display().to_string();
    let ready = Ready { servers, task_managers: &cluster.task_managers, data_dir };
    let keep = if cluster.is_temporary { "removed at the end" } else { "kept" };
    printer.data(&ready, |ready| {
        let first = ready.servers.first().copied().unwrap_or_default();
        let slotkeeper = format!("slotkeeper --servers {}", ready.servers.join(","));
        format!(
            "servers        {servers}\n\
             TaskManagers   {task_managers}\n\
             data           {data_dir} ({keep})\n\
             \n\
             Try, in another terminal:\n  \
             {slotkeeper} status\n  \
             {slotkeeper} jobs put demo && {slotkeeper} alloc demo --slots 3\n  \
             curl -s http://{first}/v1/task-managers\n\
             \n\
             Ctrl-C ends it.\n",
            servers = ready.servers.join("  "),
            task_managers = ready.task_managers.join("  "),
            data_dir = ready.data_dir,
        )
    });
}
