//! Who led when, as every server itself sees it.
//!
//! What it promises: a term with two leaders is a violation; leaders that came and went between two looks are not counted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::http::{Call, Caller};

/// The leader of each term that was seen.
#[derive(Default)]
pub struct Leaders {
    by_term: Mutex<BTreeMap<u64, u64>>,
    conflicts: Mutex<Vec<String>>,
}

impl Leaders {
    /// Asks every server again and again, until the task is ended.
    pub async fn watch(&self, servers: &[String]) {
        let caller = Caller::with_timeout(servers, 0, Duration::from_millis(500));
        let call = Call { method: "GET", path: "/v1/cluster?consistency=stale", key: None, body: None };
        loop {
            for server in servers {
                let Some(answer) = caller.once(server, &call).await else { continue };
                if let (Some(term), Some(leader)) =
                    (answer.body["term"].as_u64(), answer.body["leader_id"].as_u64())
                {
                    self.note(term, leader);
                }
            }
            // The pace of the looks, not a wait for anything.
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    fn note(&self, term: u64, leader: u64) {
        let mut by_term = self.by_term.lock().expect("no looker panics while it holds the terms");
        let known = *by_term.entry(term).or_insert(leader);
        if known != leader {
            let conflict = format!("term {term} has the leaders {known} and {leader}");
            self.conflicts.lock().expect("no looker panics while it holds the list").push(conflict);
        }
    }

    /// How often another term with a leader was seen.
    pub fn changes(&self) -> usize {
        self.by_term.lock().expect("no looker panics while it holds the terms").len().saturating_sub(1)
    }

    /// The newest term with a leader that was seen.
    pub fn newest_term(&self) -> u64 {
        let by_term = self.by_term.lock().expect("no looker panics while it holds the terms");
        by_term.last_key_value().map_or(0, |(term, _)| *term)
    }

    /// Terms with two leaders.
    pub fn conflicts(&self) -> Vec<String> {
        self.conflicts.lock().expect("no looker panics while it holds the list").clone()
    }
}
