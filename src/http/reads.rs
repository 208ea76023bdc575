//! How fresh a read is: the query parameters `consistency` and `min_revision`, and what they wait for.
//!
//! What it promises: a linearizable read never misses a write that was acknowledged before the read began; a stale
//! read is the applied state of this replica, at once, but never one from before what the replica had applied when it was
//! restarted; `min_revision` is never undercut.

use axum::http::Uri;

use super::App;
use super::refusal::Refusal;
use crate::api::{Problem, ProblemCode};
use crate::domain::Revision;

/// How fresh a read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Freshness {
    /// Whether this replica's applied state will do.
    pub(super) is_stale_enough: bool,
    /// The least revision.
    pub(super) min_revision: Option<Revision>,
}

/// Reads the freshness out of the query.
///
/// # Errors
/// An unknown consistency, a revision that is no number, a parameter that comes twice.
pub(super) fn freshness(uri: &Uri) -> Result<Freshness, Refusal> {
    let mut freshness = Freshness { is_stale_enough: false, min_revision: None };
    let (mut consistencies, mut revisions) = (0, 0);
    for pair in uri.query().unwrap_or("").split('&') {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("consistency", value) => {
                consistencies += 1;
                freshness.is_stale_enough = match value {
                    "linearizable" => false,
                    "stale" => true,
                    _ => return Err(Refusal::invalid("consistency", "it is `linearizable` or `stale`")),
                };
            }
            ("min_revision", value) => {
                revisions += 1;
                let revision =
                    value.parse().map_err(|_| Refusal::invalid("min_revision", "it is a revision"))?;
                freshness.min_revision = Some(Revision(revision));
            }
            _ => {}
        }
    }
    match (consistencies, revisions) {
        (2.., _) => Err(Refusal::invalid("consistency", "it is given more than once")),
        (_, 2..) => Err(Refusal::invalid("min_revision", "it is given more than once")),
        _ => Ok(freshness),
    }
}

/// Waits until this replica has applied again what it had applied before it was restarted.
///
/// # Errors
/// `no_leader` after the time of the options: without a leader a restarted node does not know how much of its log holds.
pub(super) async fn wait_for_recovery(app: &App) -> Result<(), Refusal> {
    if app.has_recovered.get().is_some() {
        return Ok(());
    }
    let recovered = tokio::time::timeout(app.options.leader_wait, app.services.cluster.recovered());
    let behind = || {
        Refusal::no_leader(
            "this node was restarted and has not applied again what it had applied before; it needs a leader for that",
        )
    };
    recovered.await.map_err(|_| behind())??;
    // Others may have noted it just before.
    let _ = app.has_recovered.set(());
    Ok(())
}

/// Waits until this replica has applied `min_revision`.
///
/// # Errors
/// `revision_timeout` after the time of the options.
pub(super) async fn wait_for_revision(app: &App, min_revision: Option<Revision>) -> Result<(), Refusal> {
    let Some(wanted) = min_revision.filter(|wanted| app.services.replica.revision() < *wanted) else {
        return Ok(());
    };
    let applied = tokio::time::timeout(app.options.revision_wait, app.services.replica.wait_for(wanted));
    applied.await.map_err(|_| {
        let reached = app.services.replica.revision();
        let detail = format!("revision {wanted} was asked for, this replica has applied {reached}");
        Problem::new(ProblemCode::RevisionTimeout, detail).with_retry_after_ms(1_000).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Freshness, Refusal> {
        freshness(&format!("http://a/v1/jobs?{query}").parse().unwrap())
    }

    #[test]
    fn reads_are_linearizable_unless_they_say_otherwise() {
        assert!(!read("").unwrap().is_stale_enough);
        assert!(!read("consistency=linearizable").unwrap().is_stale_enough);
        assert!(read("limit=2&consistency=stale").unwrap().is_stale_enough);
        assert_eq!(read("min_revision=7").unwrap().min_revision, Some(Revision(7)));
    }

    #[test]
    fn a_freshness_that_is_none_is_refused_by_name() {
        for (query, field) in [
            ("consistency=eventual", "consistency"),
            ("consistency", "consistency"),
            ("consistency=stale&consistency=stale", "consistency"),
            ("min_revision=-1", "min_revision"),
            ("min_revision=18446744073709551616", "min_revision"),
        ] {
            assert_eq!(read(query).unwrap_err().field(), Some(field), "{query}");
        }
    }
}
