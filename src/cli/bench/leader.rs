//! Where the leader is: looked up in the background, so that no measured request does it.
//!
//! Promises: whoever could not reach the leader asks for a look, and many asks make one look; without asks there is one every
//! few seconds, because an old leader that lives on passes requests on and nothing fails. Must not: measure anything.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::cli::failure::Failure;
use crate::client::{Client, ClientError};

/// How often to look unasked.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The least between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// The leader's address as it is known now.
#[derive(Debug, Clone)]
pub(super) struct LeaderView {
    address: watch::Receiver<String>,
    wanted: Arc<Notify>,
}

impl LeaderView {
    /// Where the leader is.
    pub(super) fn address(&mut self) -> String {
        self.address.borrow_and_update().clone()
    }

    /// Whether the leader has moved since [`LeaderView::address`] told it.
    pub(super) fn has_moved(&self) -> bool {
        self.address.has_changed().unwrap_or(false)
    }

    /// Asks for a look.
    pub(super) fn look(&self) {
        self.wanted.notify_one();
    }
}

/// Looks until it is dropped.
#[derive(Debug)]
pub(super) struct LeaderWatch {
    pub(super) view: LeaderView,
    _looking: JoinSet<()>,
}

impl LeaderWatch {
    /// Starts looking.
    ///
    /// # Errors
    /// If nobody tells who leads.
    pub(super) async fn start(client: Client) -> Result<Self, Failure> {
        let (address, view) = watch::channel(leader_address(&client).await?);
        let wanted = Arc::new(Notify::new());
        let mut looking = JoinSet::new();
        looking.spawn(look(client, address, Arc::clone(&wanted)));
        Ok(Self { view: LeaderView { address: view, wanted }, _looking: looking })
    }
}

async fn look(client: Client, address: watch::Sender<String>, wanted: Arc<Notify>) {
    let client = client.with_deadline_at_most(Duration::from_millis(500));
    loop {
        // The time is over, or somebody asks: a look either way.
        let _ = tokio::time::timeout(LOOK_INTERVAL, wanted.notified()).await;
        if let Ok(found) = leader_address(&client).await {
            address.send_if_modified(|known| {
                let moved = *known != found;
                *known = found;
                moved
            });
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// The address of the leader, or of any member while nobody leads: it passes requests on.
async fn leader_address(client: &Client) -> Result<String, ClientError> {
    let cluster = client.cluster().await?;
    let leading = cluster.members.iter().find(|member| Some(member.node_id) == cluster.leader_id);
    let member = leading.or(cluster.members.first());
    Ok(member.map(|member| member.api_addr.clone()).unwrap_or_default())
}
