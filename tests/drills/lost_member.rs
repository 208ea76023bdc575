//! A machine is gone with its disk, and a disk is damaged: the steps of "A member is gone".

use super::cluster::SETTLE;
use super::drill::{Drill, cluster_document, member, wait_for_member};
use super::http::Caller;
use super::runbook::{Hands, steps};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_member_is_replaced_by_the_steps_of_the_runbook() {
    let mut drill = Drill::begin(&[]).await;
    let leader = drill.cluster.leader().await;
    let lost = (leader + 1) % 3;
    let mut caller = Caller::new(&drill.cluster.api_addrs(), leader);
    let lost_addr = drill.cluster.servers[lost].api_addr.clone();
    let old_id = member(&cluster_document(&mut caller).await, &lost_addr).unwrap().0;
    drill.cluster.kill(lost);
    std::fs::remove_dir_all(drill.cluster.data_dir(lost)).unwrap();

    let steps = steps("A member is gone");
    let [start, list, promote, remove] = &steps[..] else { panic!("the runbook has other steps: {steps:?}") };
    let folder = drill.cluster.folder().to_owned();
    let place = drill.cluster.reserve();
    let (api_addr, peer_addr) = drill.cluster.addresses(place);
    let mut hands = Hands::new(&drill.cluster.api_addrs());
    hands.fill("NEW_DIR", folder.join("new-data").display());
    hands.fill("ANY_SERVER:7400", &drill.cluster.servers[leader].api_addr);
    hands.fill("HOST:7400", &api_addr);
    hands.fill("HOST:7401", &peer_addr);
    let child = hands.start(start, &folder.join(format!("server-{place}.log")));
    drill.cluster.adopt(place, child);
    let new_id = wait_for_member(&mut caller, &api_addr, "learner").await;
    assert!(hands.run(list).contains(&new_id.to_string()), "the list does not show the new member");
    hands.fill("NEW_ID", new_id);
    hands.fill("OLD_ID", old_id);
    hands.run(promote);
    hands.run(remove);
    drill.cluster.wait_until_ready(SETTLE).await;
    let document = cluster_document(&mut caller).await;
    assert_eq!(member(&document, &lost_addr), None, "{document}");
    drill.end().await;
}
