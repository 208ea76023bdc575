//! What every handler shares: the rooms behind the server, and the few ways in which handlers use them.
//!
//! What it promises: a handler gets at the state, the leader and the cluster only through [`App`]. What it must not
//! do: know routes or resources.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, InProgress};
use super::cluster_view::ClusterView;
use super::forward::Forwarder;
use super::long_polls::LongPolls;
use super::options::HttpOptions;
use super::refusal::Refusal;
use crate::clock::Clock;
use crate::domain::{Reply, RequestKey, Revision, State, StrategyName};
use crate::leader::{Intent, Leader, Leadership, Submission, SubmitError};
use crate::replica::Replica;
use crate::telemetry::Metrics;

/// The rooms behind the server.
#[derive(Clone)]
pub struct Services {
    /// Takes writes; answers `NotLeader` on the other nodes.
    pub leader: Leader,
    /// The applied state.
    pub replica: Replica,
    /// Who leads, and the members.
    pub cluster: Arc<dyn ClusterView>,
    /// Where requests are counted.
    pub metrics: Metrics,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// What every handler shares.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// The inside of [`App`].
pub struct Shared {
    pub(super) services: Services,
    pub(super) options: HttpOptions,
    pub(super) forwarder: Forwarder,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) long_polls: LongPolls,
    admission: Admission,
    pub(super) stopping: CancellationToken,
    /// Set once this node has applied again what it had applied before it was started.
    pub(super) has_recovered: OnceLock<()>,
    node_id: OnceLock<u64>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// A write that the state has taken.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) reply: Reply,
    pub(super) revision: Revision,
    pub(super) replayed: bool,
}

impl App {
    /// Shares `services` under `options`; `stopping` is cancelled when the server stops.
    pub fn new(services: Services, options: HttpOptions, stopping: CancellationToken) -> Self {
        let forwarder = Forwarder::new(&options);
        let leadership = services.cluster.leadership();
        let admission = Admission::new(Arc::clone(&services.clock), options.in_progress_target);
        Self(Arc::new(Shared {
            services,
            options,
            forwarder,
            leadership,
            long_polls: LongPolls::default(),
            admission,
            stopping,
            has_recovered: OnceLock::new(),
            node_id: OnceLock::new(),
        }))
    }

    /// This node; 0 before it has an id. A node never changes its id.
    pub(super) fn node_id(&self) -> u64 {
        if let Some(node_id) = self.node_id.get() {
            return *node_id;
        }
        let node_id = self.services.cluster.node_id();
        if node_id != 0 {
            // Somebody else may have noted the same id just before.
            let _ = self.node_id.set(node_id);
        }
        node_id
    }

    /// The id of the node that leads, if this node knows and hears it: a leader that has died is not named.
    pub(super) fn leader_id(&self) -> Option<u64> {
        self.last_leader_id().filter(|_| self.services.cluster.hears_leader())
    }

    /// The id of the node that leads as far as anybody has told this node, heard or not.
    pub(super) fn last_leader_id(&self) -> Option<u64> {
        self.leadership.borrow().leader.as_ref().map(|leader| leader.node_id)
    }

    /// The applied state under a read lock; never held across an await.
    pub(super) fn state(&self) -> impl Deref<Target = State> + '_ {
        self.services.replica.read()
    }

    /// Refuses a strategy that this release does not know.
    pub(super) fn check_strategy(&self, field: &str, strategy: Option<&StrategyName>) -> Result<(), Refusal> {
        let strategies = self.services.leader.strategies();
        let Some(unknown) = strategy.filter(|name| strategies.get(name).is_none()) else { return Ok(()) };
        let known = strategies.names().collect::<Vec<_>>().join(", ");
        Err(Refusal::invalid(field, format!("`{unknown}` is not known here; known are {known}")))
    }

    /// Hands a write to the leader's rounds and waits for what comes of it.
    pub(super) async fn submit(&self, key: Option<RequestKey>, intent: Intent) -> Result<Written, Refusal> {
        let in_progress = self.admit(&intent)?;
        let waits = matches!(&intent, Intent::Allocate(request) if request.wait_ms > 0);
        let submitted = self.services.leader.submit(Submission { key, intent });
        let outcome = if waits {
            self.admission.count(in_progress, submitted).await
        } else {
            let outcome = submitted.await;
            drop(in_progress);
            outcome
        }?;
        let (revision, replayed) = (outcome.revision, outcome.replayed);
        let result = Arc::try_unwrap(outcome.result).unwrap_or_else(|shared| (*shared).clone());
        match result {
            Ok(reply) => Ok(Written { reply, revision, replayed }),
            Err(rejection) => Err(Refusal::by_state(&rejection, revision, replayed)),
        }
    }
}

impl App {
    /// Turns away what asks for more where more is asked for than can be done.
    fn admit(&self, intent: &Intent) -> Result<InProgress, Refusal> {
        if !intent.asks_for_more() {
            return Ok(self.admission.enter());
        }
        self.admission.admit().map_err(|retry_after| {
            self.services.metrics.http.turned_away.inc();
            let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
            SubmitError::Overloaded { retry_after_ms }.into()
        })
    }
}

/// The answer to a reply of the wrong kind, which only a bug can cause.
pub(super) fn unexpected(reply: &Reply) -> Refusal {
    tracing::error!(?reply, "the state answered a command with a reply of another kind");
    Refusal::new(crate::api::ProblemCode::InternalError, "the state answered with a reply of another kind")
}
