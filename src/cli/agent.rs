//! `slotkeeper agent`: runs a TaskManager until SIGTERM or Ctrl-C.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::values;
use crate::agent::{
    Agent, AgentConfig, AgentEnd, AgentHandle, CommandHooks, Hooks, NoHooks, Surroundings, new_session_id,
};
use crate::api::ids::{Name, TaskManagerId, TaskManagerSession};
use crate::api::resources::Profile;
use crate::api::task_managers::RegisterTaskManager;
use crate::api::units::DurationText;
use crate::client::ClientError;
use crate::clock::SystemClock;
use crate::server::signals::StopSignals;
use crate::telemetry::log::{self, LogFormat};

/// Runs a TaskManager: registers its slots and runs in them what the cluster grants
#[derive(Debug, clap::Args)]
#[command(name = "agent")]
pub(super) struct AgentVerb {
    /// The TaskManager's id [default: the name of this host]
    #[arg(long, env = "SLOTKEEPER_ID", value_name = "TASK_MANAGER")]
    id: Option<TaskManagerId>,
    /// Where jobs reach the TaskManager [default: the id]
    #[arg(long, env = "SLOTKEEPER_ADDRESS", value_name = "ADDRESS")]
    address: Option<String>,
    /// How many slots [default: 1, or as many as fit into the total profile]
    #[arg(long, env = "SLOTKEEPER_SLOTS", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024))]
    slots: Option<u32>,
    /// All there is, for example `cpu=4,heap=4GiB`; slots are cut from it as they are asked for
    #[arg(long, env = "SLOTKEEPER_TOTAL_PROFILE", value_name = "PROFILE", value_parser = values::profile)]
    total_profile: Option<Profile>,
    /// What a default slot has [default: an equal share of the total profile]
    #[arg(long, env = "SLOTKEEPER_SLOT_PROFILE", value_name = "PROFILE", value_parser = values::profile)]
    slot_profile: Option<Profile>,
    /// What the TaskManager is like, for constraints; may come several times
    #[arg(
        long = "label",
        env = "SLOTKEEPER_LABELS",
        value_name = "KEY=VALUE",
        value_delimiter = ',',
        value_parser = values::label
    )]
    labels: Vec<(String, String)>,
    /// Command that starts the work of a slot; its exit status tells whether it did
    #[arg(long, env = "SLOTKEEPER_ON_START", value_name = "COMMAND")]
    on_start: Option<String>,
    /// Command that stops the work of a slot; the slot is free once it has ended well
    #[arg(long, env = "SLOTKEEPER_ON_STOP", value_name = "COMMAND")]
    on_stop: Option<String>,
    /// How long a command may take before it is killed
    #[arg(
        long,
        env = "SLOTKEEPER_HOOK_TIMEOUT",
        value_name = "DURATION",
        value_parser = DurationText::parse,
        default_value = "30s"
    )]
    hook_timeout: DurationText,
    /// How long the work may take to stop when the agent ends, before it deregisters all the same
    #[arg(
        long,
        env = "SLOTKEEPER_STOP_DEADLINE",
        value_name = "DURATION",
        value_parser = DurationText::parse,
        default_value = "30s"
    )]
    stop_deadline: DurationText,
    /// Unix socket that shows the current view as one line of JSON
    #[arg(long, env = "SLOTKEEPER_SOCKET", value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How lines of the log look: human or json
    #[arg(long, env = "SLOTKEEPER_LOG_FORMAT", value_name = "FORMAT", default_value = "human")]
    log_format: LogFormat,
    /// What the log lets through, for example `info,slotkeeper::agent=debug`
    #[arg(long, env = "SLOTKEEPER_LOG", value_name = "FILTER", default_value = "")]
    log: String,
}

pub(super) async fn run(verb: &AgentVerb, context: &Context) -> Result<(), Failure> {
    log::init(verb.log_format, &verb.log).map_err(|error| Failure::usage(error.to_string()))?;
    let registration = registration(verb)?;
    let hooks = hooks(verb, &registration);
    let mut config = AgentConfig::new(registration);
    config.socket = verb.socket.clone();
    config.leave_deadline = Duration::from_millis(verb.stop_deadline.ms);
    let surroundings = Surroundings {
        client: context.client.clone(),
        clock: Arc::new(SystemClock),
        random: Arc::new(rand::random::<u64>),
    };
    // Before the agent runs, so that no signal ends the process with work running.
    let mut signals = StopSignals::listen()
        .map_err(|error| Failure::new(Exit::Unavailable, format!("signals can not be received: {error}")))?;
    let agent = Agent::start(config, surroundings, hooks).await;
    let agent = agent.map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    ended(until_end(agent, &mut signals).await)
}

async fn until_end(mut agent: AgentHandle, signals: &mut StopSignals) -> AgentEnd {
    let signal = tokio::select! {
        end = agent.ended() => return end,
        signal = signals.next() => signal,
    };
    tracing::info!(signal, "the agent is asked to end");
    agent.leave().await
}

fn ended(end: AgentEnd) -> Result<(), Failure> {
    match end {
        AgentEnd::Left => Ok(()),
        AgentEnd::Refused(problem) => Err(ClientError::Refused(problem).into()),
        AgentEnd::WorkRemains { slots } => Err(Failure::new(
            Exit::Unavailable,
            format!("the work of {slots} slots could not be stopped and may still run"),
        )
        .with_hint("the log names the allocations and what their stop commands said")),
        AgentEnd::Abandoned => Err(Failure::new(Exit::Bug, "the agent ended without being asked to")),
    }
}

fn registration(verb: &AgentVerb) -> Result<RegisterTaskManager, Failure> {
    let id = match &verb.id {
        Some(id) => id.clone(),
        None => {
            host_name().ok_or_else(|| Failure::usage("`--id` is needed: this host has no usable name"))?
        }
    };
    let session = TaskManagerSession::new(&new_session_id(rand::random::<u64>));
    let mut labels = BTreeMap::new();
    for (key, value) in &verb.labels {
        let name = Name::new(key).map_err(|error| Failure::usage(format!("`--label {key}`: {error}")))?;
        if labels.insert(name, value.clone()).is_some() {
            return Err(Failure::usage(format!("`--label {key}` comes twice")));
        }
    }
    Ok(RegisterTaskManager {
        address: verb.address.clone().unwrap_or_else(|| id.to_string()),
        task_manager_id: id,
        session_id: session.expect("hexadecimal digits are a valid name"),
        slots: verb.slots.or(verb.total_profile.is_none().then_some(1)),
        total_profile: verb.total_profile.clone(),
        slot_profile: verb.slot_profile.clone(),
        labels,
    })
}

fn host_name() -> Option<TaskManagerId> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    TaskManagerId::new(name.trim()).ok()
}

fn hooks(verb: &AgentVerb, registration: &RegisterTaskManager) -> Arc<dyn Hooks> {
    if verb.on_start.is_none() && verb.on_stop.is_none() {
        return Arc::new(NoHooks);
    }
    Arc::new(CommandHooks {
        task_manager_id: registration.task_manager_id.to_string(),
        on_start: verb.on_start.clone(),
        on_stop: verb.on_stop.clone(),
        time_limit: Duration::from_millis(verb.hook_timeout.ms),
    })
}
