//! A server that was restarted: what it shows before it has caught up with itself.

use std::time::{Duration, Instant};

use serde_json::json;

use super::cluster::{Cluster, SETTLE};
use super::drill::must;
use super::http::{Answer, Call, Caller};
use super::program;

async fn once(cluster: &Cluster, number: usize, path: &str) -> Option<Answer> {
    let caller = Caller::new(&cluster.api_addrs(), 0);
    let call = Call { method: "GET", path, key: None, body: None };
    caller.once(&cluster.servers[number].api_addr, &call).await
}

async fn until(cluster: &Cluster, number: usize, path: &str, status: u16) -> Answer {
    let deadline = Instant::now() + SETTLE;
    loop {
        let answer = once(cluster, number, path).await;
        if let Some(answer) = answer.as_ref().filter(|answer| answer.status == status) {
            return answer.clone();
        }
        assert!(Instant::now() < deadline, "the last answer was {answer:?}\n{}", cluster.all_logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_shows_nothing_older_than_what_it_had_shown() {
    let mut cluster = Cluster::start(program::path(), 3, &[]).await;
    let mut caller = Caller::new(&cluster.api_addrs(), 0);
    let revision = must(&mut caller, ("PUT", "/v1/jobs/job"), "job", &json!({})).await.revision.unwrap();
    let stale = "/v1/jobs/job?consistency=stale";
    let shown = until(&cluster, 1, &format!("{stale}&min_revision={revision}"), 200).await;
    (0..3).for_each(|number| cluster.kill(number));

    cluster.start_server(1);
    until(&cluster, 1, "/livez", 200).await;
    let alone = once(&cluster, 1, stale).await.unwrap();
    assert_eq!((alone.status, alone.code()), (503, "no_leader"), "{}", alone.body);

    let members = once(&cluster, 1, "/v1/cluster?consistency=stale").await.unwrap();
    assert_eq!(members.status, 200, "what is known of the replicas is told all the time: {}", members.body);

    cluster.start_server(2);
    let again = until(&cluster, 1, stale, 200).await;
    assert!(again.revision >= shown.revision, "{:?} after {:?}", again.revision, shown.revision);
    assert_eq!(again.body, shown.body);
}
