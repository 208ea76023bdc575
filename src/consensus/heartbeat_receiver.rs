//! Answering the leader's heartbeats.
//!
//! A heartbeat asks whether the leader is still heard and followed, for its lease and for a read barrier. The engine answers it
//! only when everything before it is on the disk; a disk that takes longer than a lease then looks like a network that is down,
//! and a leader whose followers hear it well could take nothing.
//!
//! What it promises: an answer as soon as the engine has looked at the heartbeat, with the engine's refusal if it refuses. No
//! entry counts as written by it: what a leader learns from it is that this node had seen no higher vote, which is also all that
//! a read barrier needs, because who elects a later leader has that vote on its disk before. A heartbeat also names the entry up
//! to which this node has told the leader that its log agrees; `older_directory.rs` asks how it can be if that is not there.
//! What it must not do: answer for entries. Tested in `tests/durability/slow_disk.rs` and `tests/consensus/older_directory.rs`.

use std::pin::pin;

use futures::FutureExt;
use openraft::errors::RaftError;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use thiserror::Error;

use super::messages::AppendReply;
use super::types::{LogId, Raft, TypeConfig};

/// Why a heartbeat has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Unanswered {
    /// No leader sends this, or the engine has ended.
    #[error("{0}")]
    Failed(String),
    /// It names an entry that is not in the log.
    #[error("the log has no entry {0}, and no leader's heartbeat names one that was not acknowledged")]
    Missing(LogId),
}

/// Hands a heartbeat to the engine and gives the answer to it, or why there is none.
pub(super) async fn answer(
    raft: &Raft,
    heartbeat: AppendEntriesRequest<TypeConfig>,
) -> Result<AppendReply, Unanswered> {
    if !heartbeat.entries.is_empty() {
        return Err(Unanswered::Failed("a heartbeat carries no entries".to_owned()));
    }
    let (vote, matching) = (heartbeat.vote, heartbeat.prev_log_id);
    let mut answered = pin!(raft.append_entries(heartbeat));
    // The engine takes both in the order in which they are first polled: once it tells its vote, it has looked at the heartbeat.
    let vote_after = tokio::select! {
        biased;
        answer = &mut answered => return reply(answer, matching),
        vote_after = raft.with_raft_state(|state| *state.vote_ref()) => vote_after,
    };
    match answered.as_mut().now_or_never() {
        Some(answer) => reply(answer, matching),
        None if vote_after.map_err(|fatal| Unanswered::Failed(fatal.to_string()))? == vote => {
            Ok(AppendReply::Matched(matching))
        }
        None => reply(answered.await, matching),
    }
}

fn reply(
    answer: Result<AppendEntriesResponse<TypeConfig>, RaftError<TypeConfig>>,
    matching: Option<LogId>,
) -> Result<AppendReply, Unanswered> {
    match (answer, matching) {
        (Ok(AppendEntriesResponse::HigherVote(vote)), _) => Ok(AppendReply::HigherVote(vote)),
        // A leader that got this as a conflict would never send to this node again.
        (Ok(AppendEntriesResponse::Conflict), Some(matching)) => Err(Unanswered::Missing(matching)),
        (Ok(_), matching) => Ok(AppendReply::Matched(matching)),
        (Err(RaftError::Fatal(fatal)), _) => Err(Unanswered::Failed(fatal.to_string())),
        (Err(RaftError::APIError(never)), _) => match never {},
    }
}
