//! Starting an agent, looking at it, and ending it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::actor::{Actor, ActorState};
use super::config::{AgentConfig, Surroundings};
use super::contact::Contact;
use super::hooks::Hooks;
use super::message::{Message, Position};
use super::runner::Runner;
use super::socket::ViewSocket;
use super::view::AgentView;
use crate::api::Problem;

/// Messages that may wait for the loop; a task that finds it full waits.
const INBOX_LENGTH: usize = 256;

/// How an agent ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEnd {
    /// It was asked to leave, and its slots are clean.
    Left,
    /// The cluster will never take its registration; its slots are clean.
    Refused(Box<Problem>),
    /// It was to end, but work could not be stopped within the deadline.
    WorkRemains {
        /// How many slots are not clean.
        slots: usize,
    },
    /// Its tasks were ended from outside.
    Abandoned,
}

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentStartError {
    /// The local socket can not be served.
    #[error("the socket `{}` can not be served: {error}", path.display())]
    Socket {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A running TaskManager.
pub struct Agent;

impl Agent {
    /// Starts an agent; it registers by itself, now or as soon as a server answers.
    ///
    /// # Errors
    /// If the local socket can not be served.
    pub async fn start(
        config: AgentConfig,
        surroundings: Surroundings,
        hooks: Arc<dyn Hooks>,
    ) -> Result<AgentHandle, AgentStartError> {
        let socket = bind(&config).await?;
        let (messages, inbox) = mpsc::channel(INBOX_LENGTH);
        let (position_sender, position) = watch::channel(Position::default());
        let (view_sender, view) = watch::channel(AgentView {
            task_manager_id: config.registration.task_manager_id.to_string(),
            session_id: config.registration.session_id.to_string(),
            address: config.registration.address.clone(),
            ..AgentView::default()
        });
        let contact = Contact {
            surroundings: surroundings.clone(),
            registration: Arc::new(config.registration.clone()),
            messages: messages.clone(),
            position,
        };
        let mut talking = JoinSet::new();
        talking.spawn(contact.clone().stay_registered());
        talking.spawn(contact.clone().follow_assignments());
        talking.spawn(contact.send_reports());
        let mut serving = JoinSet::new();
        if let Some(socket) = socket {
            serving.spawn(socket.serve(view.clone(), Arc::clone(&surroundings.clock)));
        }
        let actor = Actor {
            runner: Runner::new(hooks, messages.clone(), config.stop_retry_pause),
            config: Arc::new(config),
            surroundings,
            inbox,
            messages: messages.clone(),
            position: position_sender,
            view: view_sender,
            talking,
            serving,
            state: ActorState::default(),
        };
        let running = tokio::spawn(actor.run());
        Ok(AgentHandle { messages, view, running })
    }
}

async fn bind(config: &AgentConfig) -> Result<Option<ViewSocket>, AgentStartError> {
    let Some(path) = &config.socket else { return Ok(None) };
    let bound = ViewSocket::bind(path).await;
    bound.map(Some).map_err(|error| AgentStartError::Socket { path: path.clone(), error })
}

/// The handle of a running agent. Dropping it ends the agent as if its process had died: nothing is deregistered and no
/// stop hook runs.
#[derive(Debug)]
pub struct AgentHandle {
    messages: mpsc::Sender<Message>,
    view: watch::Receiver<AgentView>,
    running: JoinHandle<AgentEnd>,
}

impl AgentHandle {
    /// The current view.
    pub fn view(&self) -> AgentView {
        self.view.borrow().clone()
    }

    /// The view as it changes.
    pub fn watch(&self) -> watch::Receiver<AgentView> {
        self.view.clone()
    }

    /// Stops the work of all slots, deregisters, and ends.
    pub async fn leave(mut self) -> AgentEnd {
        // A closed inbox means that it has ended already.
        let _ = self.messages.send(Message::Leave).await;
        self.ended().await
    }

    /// Waits until the agent has ended by itself, which it does only when the cluster refuses its registration.
    pub async fn ended(&mut self) -> AgentEnd {
        (&mut self.running).await.unwrap_or(AgentEnd::Abandoned)
    }
}

impl Drop for AgentHandle {
    fn drop(&mut self) {
        self.running.abort();
    }
}
