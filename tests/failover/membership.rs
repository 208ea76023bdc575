//! What happens to the membership: a node is replaced while the cluster works, and a wiped disk does not come back.

use serde_json::{Value, json};

use super::drill::{Drill, cluster_document, member, must, wait_for_member};
use super::http::Caller;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_replaced_by_a_new_one_under_load() {
    let mut drill = Drill::begin(&[]).await;
    let leader = drill.cluster.leader().await;
    let old = (leader + 1) % 3;
    let join = drill.cluster.servers[leader].api_addr.clone();
    let new = drill.cluster.add(&["--join", &join]);
    let new_addr = drill.cluster.servers[new].api_addr.clone();
    let mut caller = Caller::new(&drill.cluster.api_addrs(), leader);
    let new_id = wait_for_member(&mut caller, &new_addr, "learner").await;
    must(&mut caller, ("POST", &format!("/v1/cluster/members/{new_id}/promote")), "promote", &Value::Null)
        .await;
    wait_for_member(&mut caller, &new_addr, "voter").await;
    let old_id =
        member(&cluster_document(&mut caller).await, &drill.cluster.servers[old].api_addr).unwrap().0;
    must(&mut caller, ("DELETE", &format!("/v1/cluster/members/{old_id}")), "remove", &Value::Null).await;
    drill.cluster.kill(old);
    drill.wait_for_acknowledgements(100).await;
    assert!(new_id > 3, "node ids are never used again");
    drill.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_disk_does_not_come_back_under_its_old_id() {
    let mut drill = Drill::begin(&[]).await;
    let follower = (drill.cluster.leader().await + 1) % 3;
    drill.cluster.kill(follower);
    let wiped = drill.cluster.data_dir(follower).to_owned();
    std::fs::remove_dir_all(&wiped).unwrap();
    drill.cluster.start_server(follower);
    let status = drill.cluster.wait_exit(follower);
    let log = drill.cluster.log_tail(follower);
    assert!(status.is_some_and(|status| status != 0), "the wiped node runs: {status:?}\n{log}");
    assert!(log.contains("--join"), "the refusal does not say what to do:\n{log}");
    let join = drill.cluster.api_addrs()[0].clone();
    let new = drill.cluster.add(&["--join", &join]);
    let new_addr = drill.cluster.servers[new].api_addr.clone();
    let mut caller = Caller::new(&drill.cluster.api_addrs(), 0);
    let new_id = wait_for_member(&mut caller, &new_addr, "learner").await;
    must(&mut caller, ("POST", &format!("/v1/cluster/members/{new_id}/promote")), "promote", &json!(null))
        .await;
    let gone =
        member(&cluster_document(&mut caller).await, &drill.cluster.servers[follower].api_addr).unwrap().0;
    must(&mut caller, ("DELETE", &format!("/v1/cluster/members/{gone}")), "remove", &json!(null)).await;
    drill.end().await;
}
