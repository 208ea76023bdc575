//! A new server that takes the place of a member which does not come back, by commands that the runbook prints.
//!
//! What it promises: the words of those commands mean what they mean to a person: a new directory, addresses that no member
//! has, the id of the old member. What it must not do: choose the commands.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::{Cluster, SETTLE};
use super::drill::{cluster_document, member, wait_for_member};
use super::http::Caller;
use super::runbook::Hands;

/// The place of a new server.
pub struct Replacement {
    /// Hands that know its addresses.
    pub hands: Hands,
    /// The id of the member that it replaces.
    pub old_id: u64,
    caller: Caller,
    old_addr: String,
    place: usize,
}

impl Replacement {
    /// Prepares a new server in the place of member number `old`, which has ended, at addresses of its own.
    pub async fn prepare(cluster: &mut Cluster, old: usize) -> Self {
        let place = cluster.reserve();
        Self::prepare_at(cluster, old, place).await
    }

    /// The same at the addresses of server number `place`, which does not run.
    pub async fn prepare_at(cluster: &Cluster, old: usize, place: usize) -> Self {
        let mut caller = Caller::new(&cluster.api_addrs(), 0);
        let old_addr = cluster.addresses(old).0;
        let old_id = member(&cluster_document(&mut caller).await, &old_addr).unwrap().0;
        let (api_addr, peer_addr) = cluster.addresses(place);
        let mut hands = Hands::new(&cluster.api_addrs());
        hands.fill("NEW_DIR", cluster.folder().join(format!("new-data-{place}")).display());
        hands.fill("ANY_SERVER:7400", &cluster.api_addrs()[0]);
        hands.fill("HOST:7400", &api_addr);
        hands.fill("HOST:7401", &peer_addr);
        hands.fill("OLD_ID", old_id);
        Self { hands, old_id, caller, old_addr, place }
    }

    /// Starts the server by this step, also again.
    pub fn start(&self, cluster: &mut Cluster, step: &str) {
        let child = self.hands.start(step, &cluster.folder().join(format!("server-{}.log", self.place)));
        cluster.adopt(self.place, child);
    }

    /// kill -9 of the new server.
    pub fn kill(&self, cluster: &mut Cluster) {
        cluster.kill(self.place);
    }

    /// Waits until the new server is a member, with a vote or without.
    pub async fn wait_until_joined(&mut self, cluster: &Cluster) {
        let (deadline, new_addr) = (Instant::now() + SETTLE, cluster.addresses(self.place).0);
        while member(&cluster_document(&mut self.caller).await, &new_addr).is_none() {
            assert!(Instant::now() < deadline, "no member\n{}", cluster.all_logs());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the new server has this role; gives its id, which is a new one.
    pub async fn wait_for(&mut self, cluster: &Cluster, role: &str) -> u64 {
        let new_id = wait_for_member(&mut self.caller, &cluster.addresses(self.place).0, role).await;
        assert!(new_id > self.old_id, "{new_id} is used again after {}", self.old_id);
        new_id
    }

    /// Waits until the new server votes, the old member is none any more, and every server that runs is ready.
    pub async fn wait_until_done(mut self, cluster: &Cluster) {
        self.wait_for(cluster, "voter").await;
        let deadline = Instant::now() + SETTLE;
        while is_member(&cluster_document(&mut self.caller).await, self.old_id) {
            assert!(Instant::now() < deadline, "still a member\n{}", cluster.all_logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cluster.wait_until_ready(SETTLE).await;
    }
}

fn is_member(document: &Value, node_id: u64) -> bool {
    let members = document["members"].as_array();
    members.is_none_or(|members| members.iter().any(|member| member["node_id"] == node_id))
}

/// Replaces member number `old` by the two steps of a part of the runbook: a look at the members, and one command.
pub async fn replace(cluster: &mut Cluster, old: usize, steps: &[String]) {
    let [list, start] = steps else { panic!("the runbook has other steps: {steps:?}") };
    let replacement = Replacement::prepare(cluster, old).await;
    let listed = replacement.hands.run(list);
    assert!(
        listed.contains(&replacement.old_addr),
        "the list does not show who is to be replaced:\n{listed}"
    );
    replacement.start(cluster, start);
    replacement.wait_until_done(cluster).await;
}
