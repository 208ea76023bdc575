//! A machine is gone with its disk, and a disk is damaged: the steps of "A member is gone".

use std::time::{Duration, Instant};

use super::cluster::SETTLE;
use super::drill::{Drill, cluster_document, member, wait_for_member};
use super::http::Caller;
use super::runbook::{Hands, steps};

/// A cluster under load that has just lost a member with its disk, and hands that know the addresses of a new server.
struct Loss {
    drill: Drill,
    hands: Hands,
    caller: Caller,
    lost_addr: String,
    place: usize,
}

impl Loss {
    async fn begin() -> Self {
        let mut drill = Drill::begin(&[]).await;
        let leader = drill.cluster.leader().await;
        let lost = (leader + 1) % 3;
        let mut caller = Caller::new(&drill.cluster.api_addrs(), leader);
        let lost_addr = drill.cluster.servers[lost].api_addr.clone();
        let old_id = member(&cluster_document(&mut caller).await, &lost_addr).unwrap().0;
        drill.cluster.kill(lost);
        std::fs::remove_dir_all(drill.cluster.data_dir(lost)).unwrap();
        let place = drill.cluster.reserve();
        let (api_addr, peer_addr) = drill.cluster.addresses(place);
        let mut hands = Hands::new(&drill.cluster.api_addrs());
        hands.fill("NEW_DIR", drill.cluster.folder().join("new-data").display());
        hands.fill("ANY_SERVER:7400", &drill.cluster.servers[leader].api_addr);
        hands.fill("HOST:7400", &api_addr);
        hands.fill("HOST:7401", &peer_addr);
        hands.fill("OLD_ID", old_id);
        Self { drill, hands, caller, lost_addr, place }
    }

    fn start(&mut self, step: &str) {
        let log = self.drill.cluster.folder().join(format!("server-{}.log", self.place));
        let child = self.hands.start(step, &log);
        self.drill.cluster.adopt(self.place, child);
    }

    fn new_addr(&self) -> String {
        self.drill.cluster.addresses(self.place).0
    }

    /// Waits until the new server is a member, with a vote or without.
    async fn wait_until_joined(&mut self) {
        let (deadline, new_addr) = (Instant::now() + SETTLE, self.new_addr());
        while member(&cluster_document(&mut self.caller).await, &new_addr).is_none() {
            assert!(Instant::now() < deadline, "no member\n{}", self.drill.cluster.all_logs());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the lost member is none any more, and asks for the verdict.
    async fn end(mut self) {
        let deadline = Instant::now() + SETTLE;
        while member(&cluster_document(&mut self.caller).await, &self.lost_addr).is_some() {
            assert!(Instant::now() < deadline, "still a member\n{}", self.drill.cluster.all_logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.drill.cluster.wait_until_ready(SETTLE).await;
        self.drill.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_member_is_replaced_by_one_command_that_may_be_killed_on_the_way() {
    let steps = steps("A member is gone");
    let mut loss = Loss::begin().await;
    loss.start(&steps[0]);
    let new_addr = loss.new_addr();
    loss.wait_until_joined().await;
    loss.drill.cluster.kill(loss.place);
    loss.start(&steps[0]);
    wait_for_member(&mut loss.caller, &new_addr, "voter").await;
    loss.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_member_is_replaced_by_the_steps_of_the_runbook() {
    let steps = steps("A member is gone");
    let [_, start, list, promote, remove] = &steps[..] else {
        panic!("the runbook has other steps: {steps:?}")
    };
    let mut loss = Loss::begin().await;
    loss.start(start);
    let new_addr = loss.new_addr();
    let new_id = wait_for_member(&mut loss.caller, &new_addr, "learner").await;
    assert!(loss.hands.run(list).contains(&new_id.to_string()), "the list does not show the new member");
    loss.hands.fill("NEW_ID", new_id);
    loss.hands.run(promote);
    loss.hands.run(remove);
    loss.end().await;
}
