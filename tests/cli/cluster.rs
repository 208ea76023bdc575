//! `status`, `members`, `transfer-leadership`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::answers::{cluster, member_changed, overview, readiness};
use crate::run::{one, run, several};
use crate::scripted_server::{Reply, ScriptedServer};

const MEMBERS: [&str; 3] = [
    "NODE  ROLE     STATE        API     PEER    APPLIED  LAG  STATE HASH",
    "1     voter    leader       a:7400  a:7401  40       0    0123456789ab at 17",
    "2     learner  unreachable  b:7400  b:7401  -        -    -",
];

async fn status_server(leader_id: Option<u64>, ready: bool) -> ScriptedServer {
    several(vec![
        ("GET /v1/cluster", Reply::ok(cluster(leader_id))),
        ("GET /v1/overview", Reply::ok(overview())),
        ("GET /readyz", Reply::Json(if ready { 200 } else { 503 }, readiness(ready))),
    ])
    .await
}

#[tokio::test]
async fn status_shows_the_cluster_at_a_glance_and_ends_with_0_when_it_serves() {
    let server = status_server(Some(1), true).await;
    let mut expected = vec![
        "cluster   6f1c2d52-7d64-4f0e-8000-000000000000",
        "leader    1 at a:7400",
        "term      3",
        "revision  17",
        "",
    ];
    expected.extend(MEMBERS);
    expected.extend([
        "",
        "TASK MANAGERS  ACTIVE  LOST  SLOTS  FREE  ALLOCATED  JOBS  PENDING",
        "4              3       1     12     9     3          1     2",
    ]);
    run(&server, &["status"]).await.assert_status(0).assert_out(&expected).assert_err(&[]);
    let shown = run(&server, &["status", "--output", "json"]).await;
    shown.assert_status(0);
    assert_eq!(
        shown.json(),
        json!({"ready": readiness(true), "cluster": cluster(Some(1)), "overview": overview()})
    );
}

#[tokio::test]
async fn status_ends_with_3_without_a_leader_or_when_the_server_is_not_ready() {
    let server = status_server(None, true).await;
    let run_without = run(&server, &["status"]).await;
    run_without.assert_status(3).assert_err(&["error: the cluster has no leader"]);
    assert!(run_without.out.contains("leader    none"), "what is known is shown all the same");
    let server = status_server(Some(1), false).await;
    run(&server, &["status"])
        .await
        .assert_status(3)
        .assert_err(&["error: node 1 is not ready", "  caused by: no contact with a quorum"]);
    let server = ScriptedServer::start(|_| Reply::problem(503, "no_leader", true)).await;
    run(&server, &["status", "--timeout", "300ms"]).await.assert_status(3);
}

#[tokio::test]
async fn without_a_leader_what_one_server_knows_is_shown_and_called_that() {
    let leaderless = || {
        ScriptedServer::start(|asked| match (asked.line().as_str(), asked.query.as_str()) {
            ("GET /readyz", _) => Reply::Json(503, readiness(false)),
            ("GET /v1/cluster", "consistency=stale") => Reply::ok(cluster(None)),
            ("GET /v1/overview", "consistency=stale") => Reply::ok(overview()),
            _ => Reply::no_leader_for(100),
        })
    };
    let status = run(&leaderless().await, &["status", "--timeout", "300ms"]).await;
    status.assert_status(3);
    assert!(status.out.contains("leader    none") && status.out.contains(MEMBERS[2]), "{}", status.out);
    assert!(status.err.starts_with("status: there is no leader to ask"), "{}", status.err);
    assert!(status.err.contains("(no_leader)"), "{}", status.err);
    let members = run(&leaderless().await, &["members", "list", "--timeout", "300ms"]).await;
    members.assert_status(3);
    assert!(members.out.contains(MEMBERS[2]) && members.err.contains("(no_leader)"), "{members:?}");
}

#[tokio::test]
async fn status_local_asks_only_the_server_itself() {
    let server = one("GET /readyz", Reply::ok(readiness(true))).await;
    run(&server, &["status", "--local"]).await.assert_status(0).assert_out(&[
        "node      1",
        "ready     yes",
        "leader    1",
        "revision  17",
    ]);
    let server = one("GET /readyz", Reply::Json(503, readiness(false))).await;
    run(&server, &["status", "--local"]).await.assert_status(3);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn members_are_listed_with_how_far_they_are() {
    let server = one("GET /v1/cluster", Reply::ok(cluster(Some(1)))).await;
    run(&server, &["members", "list"]).await.assert_status(0).assert_out(&MEMBERS);
    assert_eq!(run(&server, &["members", "list", "--output", "json"]).await.json(), cluster(Some(1)));
}

#[tokio::test]
async fn members_are_added_promoted_and_removed() {
    for (args, line, role, sentence, body) in [
        (
            vec!["add", "--api-addr", "d:7400", "--peer-addr", "d:7401"],
            "POST /v1/cluster/members",
            json!("learner"),
            "node 4 at d:7400 is a learner",
            json!({"api_addr": "d:7400", "peer_addr": "d:7401"}),
        ),
        (
            vec!["promote", "4"],
            "POST /v1/cluster/members/4/promote",
            json!("voter"),
            "node 4 at d:7400 is a voter",
            Value::Null,
        ),
        (
            vec!["remove", "4", "--yes"],
            "DELETE /v1/cluster/members/4",
            Value::Null,
            "node 4 at d:7400 is no member any more",
            Value::Null,
        ),
    ] {
        let server = one(line, Reply::ok(member_changed(role))).await;
        let args: Vec<&str> = std::iter::once("members").chain(args).collect();
        run(&server, &args).await.assert_status(0).assert_out(&[]).assert_err(&[sentence]);
        assert_eq!(server.asked()[0].body, body);
    }
}

#[tokio::test]
async fn removing_a_node_that_is_no_member_any_more_has_nothing_to_do() {
    let server = one("DELETE /v1/cluster/members/4", Reply::problem(404, "unknown_member", false)).await;
    let args = ["members", "remove", "4", "--yes"];
    let sentence = "node 4 is no member; there is nothing to do";
    run(&server, &args).await.assert_status(0).assert_out(&[]).assert_err(&[sentence]);
    let as_json = run(&server, &[&args[..], &["--output", "json"]].concat()).await;
    as_json.assert_status(0).assert_err(&[]);
    assert_eq!(as_json.json(), json!({"node_id": 4, "role": null}));
    let server = one("DELETE /v1/cluster/members/4", Reply::problem(409, "membership_conflict", false)).await;
    run(&server, &args).await.assert_status(1);
}

#[tokio::test]
async fn all_questions_of_status_together_have_four_seconds() {
    // Each question alone would be answered within the time of all.
    let slowly = |reply| Reply::After(Duration::from_millis(1_100), Box::new(reply));
    let server = ScriptedServer::start(move |asked| {
        slowly(match asked.line().as_str() {
            "GET /v1/cluster" => Reply::ok(cluster(Some(1))),
            "GET /v1/overview" => Reply::ok(overview()),
            _ => Reply::Json(200, readiness(true)),
        })
    })
    .await;
    let began = Instant::now();
    run(&server, &["status"]).await.assert_status(3);
    // The rest is for the start of the program on a busy machine.
    assert!(began.elapsed() < Duration::from_millis(5_500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn leadership_is_handed_to_whom_the_option_names() {
    let answer = Reply::ok(json!({"leader_id": 2, "api_addr": "b:7400"}));
    let server = one("POST /v1/cluster/transfer-leadership", answer).await;
    run(&server, &["transfer-leadership", "--to", "2"])
        .await
        .assert_status(0)
        .assert_err(&["node 2 at b:7400 leads"]);
    run(&server, &["transfer-leadership"]).await.assert_status(0);
    assert_eq!((&server.asked()[0].body, &server.asked()[1].body), (&json!({"to": 2}), &json!({})));
}
