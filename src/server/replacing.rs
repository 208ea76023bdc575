//! `--replace OLD_ID`: a joined server that gets a vote and takes the place of a lost member, without a person.
//!
//! What it promises: first the vote, then the removal, so that the cluster never has fewer voters than before; each step
//! goes through the API as an operator's would and may be repeated, so a restart at any moment goes on where it was.
//! What it must not do: remove anyone before this server votes, or this server itself.

use std::time::Duration;

use super::exit::ServerError;
use super::node::NodeSeams;
use crate::api::ProblemCode;
use crate::api::cluster::MemberRole;
use crate::client::{Client, ClientError, ClientOptions, Seams};

/// Between two tries of a step.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Who takes whose place.
pub(super) struct Replacement {
    client: Client,
    new_id: u64,
    old_id: u64,
}

impl Replacement {
    /// The server at `api_addr`, member `new_id`, takes the place of member `old_id`.
    ///
    /// # Errors
    /// The two are the same.
    pub(super) fn new(
        api_addr: &str,
        seams: &NodeSeams,
        (new_id, old_id): (u64, u64),
    ) -> Result<Self, ServerError> {
        if new_id == old_id {
            let reason = format!("--replace: this server is member {old_id} itself");
            return Err(ServerError::Unavailable(reason));
        }
        let (clock, random) = (seams.clock.clone(), seams.random.clone());
        let client_seams = Seams::new(move || clock.now(), move || random());
        let client = Client::new(ClientOptions::new([api_addr]), client_seams)
            .map_err(|error| ServerError::Unavailable(error.to_string()))?;
        Ok(Self { client, new_id, old_id })
    }

    /// Works until the place is taken.
    pub(super) async fn run(self) {
        loop {
            match self.step().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::info!(%error, old = self.old_id, "the old member is not replaced yet");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
        }
    }

    /// Does what comes next; gives whether nothing is left to do.
    async fn step(&self) -> Result<bool, ClientError> {
        let members = self.client.cluster().await?.members;
        let is_voter =
            members.iter().any(|member| member.node_id == self.new_id && member.role == MemberRole::Voter);
        if !is_voter {
            self.client.promote_member(self.new_id).await?;
            tracing::info!(node = self.new_id, "this server has a vote");
            return Ok(false);
        }
        if !members.iter().any(|member| member.node_id == self.old_id) {
            return Ok(true);
        }
        match self.client.remove_member(self.old_id).await {
            Ok(_) => {
                tracing::info!(old = self.old_id, "the old member is replaced");
                Ok(true)
            }
            Err(ClientError::Refused(problem)) if problem.code == ProblemCode::UnknownMember => Ok(true),
            Err(error) => Err(error),
        }
    }
}
