//! Whether this replica agrees with the others about what was applied.
//!
//! What it promises: every replica compares its chain hash with what the others report, at the revisions that they
//! report, all the time; a replica that a majority contradicts ends itself, because what it would answer can not be
//! trusted; any other disagreement is told to a person. What it must not do: repair anything, or end a replica that is
//! merely behind or alone.

use std::time::Duration;

use crate::consensus::{AppliedChain, Consensus, MemberRole};
use crate::replica::Replica;

/// How often replicas are compared.
const COMPARE_INTERVAL: Duration = Duration::from_secs(10);

/// What this replica knows of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opinion {
    /// Both have applied the same up to the revision that it reported.
    Same,
    /// They have not.
    Other,
    /// It did not answer, or one of the two does not remember that revision.
    None,
}

/// What the comparison says about this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Agreement,
    /// Some contradict, but no majority: a person has to look.
    Dissent,
    /// A majority of the voters contradicts.
    Outvoted,
}

/// Compares until a majority contradicts this replica, and gives the sentence that says so.
pub(super) async fn outvoted(consensus: Consensus, replica: Replica) -> String {
    loop {
        tokio::time::sleep(COMPARE_INTERVAL).await;
        let status = consensus.status();
        let chains = consensus.chains_of_other_voters().await.into_iter();
        let opinions: Vec<(u64, Opinion)> =
            chains.map(|(node_id, theirs)| (node_id, opinion(&replica, theirs))).collect();
        let is_voter = status
            .members
            .iter()
            .any(|(member, role)| member.node_id == status.node_id && *role == MemberRole::Voter);
        let dissenting: Vec<u64> =
            opinions.iter().filter(|(_, opinion)| *opinion == Opinion::Other).map(|(id, _)| *id).collect();
        match finding(opinions.iter().map(|(_, opinion)| *opinion), status.voters().count(), is_voter) {
            Finding::Agreement => {}
            Finding::Dissent => tracing::error!(
                members = ?dissenting,
                "replicas have applied different records; compare state_hash in /v1/cluster and replace the odd one"
            ),
            Finding::Outvoted => {
                return format!("this replica has applied other records than the members {dissenting:?}");
            }
        }
    }
}

fn opinion(replica: &Replica, theirs: Option<AppliedChain>) -> Opinion {
    let Some(theirs) = theirs else { return Opinion::None };
    match replica.chain_at(theirs.revision) {
        None => Opinion::None,
        Some(ours) if ours == theirs.chain => Opinion::Same,
        Some(_) => Opinion::Other,
    }
}

/// What the opinions of the other voters say. A learner has no vote of its own to weigh against theirs.
fn finding(opinions: impl Iterator<Item = Opinion>, voters: usize, is_voter: bool) -> Finding {
    let (mut same, mut other) = (usize::from(is_voter), 0);
    for opinion in opinions {
        match opinion {
            Opinion::Same => same += 1,
            Opinion::Other => other += 1,
            Opinion::None => {}
        }
    }
    match (other, same) {
        (0, _) => Finding::Agreement,
        (other, same) if other > voters / 2 && other > same => Finding::Outvoted,
        _ => Finding::Dissent,
    }
}

#[cfg(test)]
mod tests {
    use super::Opinion::{None, Other, Same};
    use super::*;

    fn of_three(opinions: [Opinion; 2]) -> Finding {
        finding(opinions.into_iter(), 3, true)
    }

    #[test]
    fn a_replica_that_a_majority_contradicts_is_outvoted() {
        assert_eq!(of_three([Other, Other]), Finding::Outvoted);
    }

    #[test]
    fn one_that_contradicts_is_told_to_a_person() {
        assert_eq!(of_three([Same, Other]), Finding::Dissent);
        assert_eq!(of_three([Other, None]), Finding::Dissent);
    }

    #[test]
    fn silence_is_no_contradiction() {
        assert_eq!(of_three([None, None]), Finding::Agreement);
        assert_eq!(of_three([Same, None]), Finding::Agreement);
    }

    #[test]
    fn a_learner_is_outvoted_by_a_majority_of_the_voters() {
        assert_eq!(finding([Other, Other, None].into_iter(), 3, false), Finding::Outvoted);
        assert_eq!(finding([Other, Same, Same].into_iter(), 3, false), Finding::Dissent);
    }
}
