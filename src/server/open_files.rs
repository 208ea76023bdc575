//! The limit of open files of this process.
//!
//! What it promises: the soft limit is as high as it may be, and connections of clients leave files for the log, the
//! snapshots and the peers, however many clients come. What it must not do: keep a server from starting.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that connections of clients never take: the log, snapshots, peers, listeners, calls that are sent on.
const RESERVED: u64 = 256;

/// How many of the `wanted` connections of clients this process can hold; raises its limit of open files first.
pub(super) fn connections_that_fit(wanted: u32) -> u32 {
    let limit = raise();
    let fit = fitting(wanted, limit);
    if fit < wanted {
        tracing::warn!(
            wanted,
            taken = fit,
            open_files_max = limit,
            "the limit of open files leaves room for fewer connections of clients; raise it (`ulimit -n`, LimitNOFILE) or \
             lower --connections-max"
        );
    }
    fit
}

/// At least one client gets in, whatever the limit.
fn fitting(wanted: u32, limit: Option<u64>) -> u32 {
    let room = limit.map_or(u64::MAX, |limit| limit.saturating_sub(RESERVED).max(1));
    wanted.min(u32::try_from(room).unwrap_or(u32::MAX))
}

/// Raises the soft limit to the hard one, and gives it; `None` if there is none.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        // Kernels have a ceiling of their own (fs.nr_open); what was allowed before stays.
        Err(_) => current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        assert_eq!(fitting(16_384, None), 16_384);
        assert_eq!(fitting(16_384, Some(1_000_000)), 16_384);
        assert_eq!(fitting(16_384, Some(1_024)), 768);
        assert_eq!(fitting(100, Some(1_024)), 100);
        assert_eq!(fitting(100, Some(64)), 1);
    }
}
