//! The command line as it is written: the verbs in the order of the help.

use super::agent::AgentVerb;
use super::alloc::Alloc;
use super::bench::BenchOptions;
use super::context::GlobalOptions;
use super::jobs::Jobs;
use super::members::Members;
use super::queues::Queues;
use super::release::Release;
use super::requirements::Requirements;
use super::settings::Settings;
use super::status::Status;
use super::task_managers::TaskManagers;
use super::transfer_leadership::TransferLeadership;
use crate::server::ServerOptions;
use crate::server::dev::DevOptions;
use crate::server::recover::RecoverOptions;

/// A highly available resource manager: TaskManagers offer slots, jobs hold them
#[derive(Debug, clap::Parser)]
#[command(
    name = "slotkeeper",
    version,
    arg_required_else_help = true,
    after_help = "Exit status: 0 done, 1 refused, 2 usage, 3 unavailable or outcome not known, 70 a bug."
)]
pub(super) struct Line {
    #[command(flatten)]
    pub(super) global: GlobalOptions,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Run a whole cluster in this process, to try things out
    Dev(Box<DevOptions>),
    /// Run one server of a cluster until SIGTERM or Ctrl-C
    Server(Box<ServerOptions>),
    Agent(Box<AgentVerb>),
    Status(Status),
    /// Look at TaskManagers and take them out of service
    #[command(alias = "tm")]
    TaskManagers {
        #[command(subcommand)]
        verb: TaskManagers,
    },
    /// Put, show and end jobs
    Jobs {
        #[command(subcommand)]
        verb: Jobs,
    },
    Alloc(Box<Alloc>),
    Release(Release),
    /// Declare and show what a job wants
    Requirements {
        #[command(subcommand)]
        verb: Requirements,
    },
    /// Put, show and delete queues
    Queues {
        #[command(subcommand)]
        verb: Queues,
    },
    /// Show and change the replicated settings
    Settings {
        #[command(subcommand)]
        verb: Settings,
    },
    /// Show and change who belongs to the cluster
    Members {
        #[command(subcommand)]
        verb: Members,
    },
    TransferLeadership(TransferLeadership),
    Recover(Box<RecoverOptions>),
    Bench(Box<BenchOptions>),
}
