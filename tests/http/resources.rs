//! The happy path of every endpoint.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cluster::Cluster;

#[tokio::test]
async fn a_task_manager_registers_lives_confirms_and_leaves() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    let body = json!({
        "task_manager_id": "tm-1", "session_id": "s1", "address": "tm-1:6122", "slots": 2,
        "total_profile": {"cpu_cores": 2.5, "task_heap_memory": "1GiB", "extended_resources": {"gpu": 2}},
        "labels": {"zone": "a"}
    });
    let first = api.post("/v1/task-managers", body.clone()).await.expect(201).json();
    assert_eq!(first["heartbeat_interval_ms"], 1000);
    assert_eq!(first["allocations"], json!([]));
    let again = api.post("/v1/task-managers", body).await.expect(200).json();
    assert_eq!(again["epoch"], first["epoch"], "the same session again is no new registration");

    api.job("job").await;
    let allocations = api.allocate("job", 1).await;
    let id = allocations[0]["allocation_id"].clone();
    let beat = json!({"epoch": first["epoch"], "generation": first["generation"], "held": []});
    let beat = api.post("/v1/task-managers/tm-1/heartbeat", beat).await.expect(200).json();
    assert_eq!(beat["allocations"][0]["allocation_id"], id);
    assert!(beat["deadline_ms"].as_u64().unwrap() > 0);
    let same = json!({"epoch": first["epoch"], "generation": beat["generation"]});
    let same = api.post("/v1/task-managers/tm-1/heartbeat", same).await.expect(200).json();
    assert_eq!(same.get("allocations"), None, "a generation that was seen is not told again");

    let confirm = json!({"epoch": first["epoch"], "allocation_ids": [id]});
    let confirmed = api.post("/v1/task-managers/tm-1/confirm", confirm).await.expect(200).json();
    assert_eq!((&confirmed["active"], &confirmed["failed"]), (&json!(1), &json!(0)));

    let seen = api.get("/v1/task-managers/tm-1").await.expect(200).json();
    assert_eq!((&seen["slots_total"], &seen["slots_free"]), (&json!(2), &json!(1)));
    assert_eq!(seen["total_profile"]["cpu_cores"], 2.5);
    assert_eq!(seen["free_profile"]["task_heap_memory"], 1 << 29);
    assert_eq!(seen["free_profile"]["extended_resources"], json!({"gpu": 1}));
    assert_eq!(seen["allocations"][0]["state"], "active");
    assert_eq!(seen["state"], "active");
    assert!(seen["last_heartbeat_ago_ms"].is_u64());
    assert!(seen["registered_at"].as_str().unwrap().ends_with('Z'));

    let stale = first["epoch"].as_u64().unwrap() - 1;
    let refused = api.delete(&format!("/v1/task-managers/tm-1?epoch={stale}")).await.expect(409);
    assert_eq!(refused.code(), "stale_epoch");
    api.delete("/v1/task-managers/tm-1?epoch=first").await.expect(400);
    api.delete("/v1/task-managers/tm-1?epoc=1").await.expect(400);
    let current = first["epoch"].as_u64().unwrap();
    api.delete(&format!("/v1/task-managers/tm-1?epoch={current}")).await.expect(200);
    let ended = api.get(&format!("/v1/allocations/{}", text(&id))).await.expect(200).json();
    assert_eq!((&ended["state"], &ended["reason"]), (&json!("ended"), &json!("task_manager_left")));
}

#[tokio::test]
async fn what_does_not_run_is_released_with_its_cause() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    let body = json!({"task_manager_id": "tm-1", "session_id": "s1", "address": "tm-1:6122", "slots": 3});
    let epoch = api.post("/v1/task-managers", body).await.expect(201).json()["epoch"].clone();
    api.job("job").await;
    let ids = api.allocate("job", 3).await;
    let failed = [None, Some("lease_expired"), Some("leaving")].into_iter().zip(&ids).map(|(cause, id)| {
        let mut failed = json!({"allocation_id": id["allocation_id"], "reason": "in its own words"});
        if let Some(cause) = cause {
            failed["cause"] = json!(cause);
        }
        failed
    });
    let confirm = json!({"epoch": epoch, "failed": failed.collect::<Vec<_>>()});
    let confirmed = api.post("/v1/task-managers/tm-1/confirm", confirm).await.expect(200).json();
    assert_eq!(confirmed["failed"], 3);
    let expected = [
        ("start_failed", json!("in its own words")),
        ("task_manager_fenced", Value::Null),
        ("task_manager_left", Value::Null),
    ];
    for (id, (reason, detail)) in ids.iter().zip(expected) {
        let path = format!("/v1/allocations/{}", text(&id["allocation_id"]));
        let ended = api.get(&path).await.expect(200).json();
        assert_eq!((&ended["reason"], &ended["reason_detail"]), (&json!(reason), &detail));
    }
}

#[tokio::test]
async fn what_a_task_manager_says_it_holds_is_compared_with_what_it_should() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    let body = json!({"task_manager_id": "tm-1", "session_id": "s1", "address": "tm-1:6122", "slots": 2});
    let epoch = api.post("/v1/task-managers", body).await.expect(201).json()["epoch"].clone();
    api.job("job").await;
    let id = api.allocate("job", 1).await[0]["allocation_id"].clone();
    let confirm = json!({"epoch": epoch, "allocation_ids": [id]});
    api.post("/v1/task-managers/tm-1/confirm", confirm).await.expect(200);
    let generation = api.get("/v1/task-managers/tm-1").await.expect(200).json()["generation"].clone();
    let beat = async |held: &[&Value]| {
        let beat = json!({"epoch": epoch, "generation": generation, "held": held});
        api.post("/v1/task-managers/tm-1/heartbeat", beat).await.expect(200).json()
    };
    let stranger = json!("6f1c2d52-7d64-4f0e-0000-000000000001");
    assert_eq!(beat(&[&id]).await.get("allocations"), None);
    assert_eq!(beat(&[&id, &stranger]).await["allocations"][0]["allocation_id"], id);
    beat(&[]).await;
    beat(&[]).await;
    let path = format!("/v1/allocations/{}", text(&id));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while api.get(&path).await.expect(200).json()["reason"] != "not_held" {
        assert!(tokio::time::Instant::now() < deadline, "it never ends");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_job_that_is_put_again_goes_on_with_its_versions() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.job("job").await;
    let declare = |version: u64| json!({"version": version, "requirements": []});
    api.put("/v1/jobs/job/requirements", declare(7)).await.expect(200);
    api.delete("/v1/jobs/job").await.expect(200);
    let put = api.put("/v1/jobs/job", json!({})).await.expect(201).json();
    assert_eq!(put["requirements_version"], 7);
    let late = api.put("/v1/jobs/job/requirements", declare(6)).await.expect(409);
    assert_eq!(late.code(), "stale_version");
}

#[tokio::test]
async fn a_failed_start_is_explained_while_the_job_stays_away() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    let body = json!({"task_manager_id": "tm-1", "session_id": "s1", "address": "tm-1:6122", "slots": 3});
    let epoch = api.post("/v1/task-managers", body).await.expect(201).json()["epoch"].clone();
    api.job("job").await;
    // Each time the job stays away for twice as long, so that in the end there is time to look.
    for _ in 0..6 {
        let wait = json!({"slots": 1, "wait": "60s"});
        let granted = api.post("/v1/jobs/job/allocations", wait).await.expect(200).json();
        let failed =
            json!({"allocation_id": granted["allocations"][0]["allocation_id"], "reason": "no disk"});
        let confirm = json!({"epoch": epoch, "failed": [failed]});
        api.post("/v1/task-managers/tm-1/confirm", confirm).await.expect(200);
        let plan = api.post("/v1/plan", json!({"job_id": "job", "slots": 1})).await.expect(200).json();
        if plan["reasons"] == json!([{"reason": "recent_start_failures", "task_managers": 1}]) {
            return;
        }
    }
    panic!("the failure is never given as a reason");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_restart_gets_a_higher_epoch_and_holds_nothing() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    let epoch = api.register("tm-1", 1).await;
    api.job("job").await;
    api.allocate("job", 1).await;
    let body = json!({"task_manager_id": "tm-1", "session_id": "s2", "address": "a:1", "slots": 1});
    let restarted = api.post("/v1/task-managers", body).await.expect(201).json();
    assert!(restarted["epoch"].as_u64().unwrap() > epoch);
    assert_eq!(restarted["allocations"], json!([]));
}

#[tokio::test]
async fn cordon_drain_and_uncordon_change_who_takes_slots() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.register("tm-1", 2).await;
    api.job("job").await;
    api.allocate("job", 1).await;
    api.post("/v1/task-managers/tm-1/cordon", json!({})).await.expect(200);
    assert_eq!(
        api.get("/v1/task-managers?state=cordoned").await.json()["items"][0]["task_manager_id"],
        "tm-1"
    );
    let refused = api.post("/v1/jobs/job/allocations", json!({"slots": 1})).await.expect(409).json();
    assert_eq!(refused["reasons"], json!([{"reason": "not_accepting", "task_managers": 1}]));
    api.call(Method::POST, "/v1/task-managers/tm-1/uncordon", &[], "").await.expect(200);
    api.post("/v1/task-managers/tm-1/drain", json!({"deadline": "10m"})).await.expect(200);
    let draining = api.get("/v1/task-managers/tm-1").await.json();
    assert_eq!(draining["state"], "draining");
    assert!(draining["drain_deadline"].is_string());
    api.delete("/v1/jobs/job").await.expect(200);
    assert_eq!(api.get("/v1/task-managers/tm-1").await.json()["state"], "drained");
}

#[tokio::test]
async fn a_long_poll_answers_when_the_generation_changes() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.register("tm-1", 1).await;
    api.job("job").await;
    let seen = api.get("/v1/task-managers/tm-1/allocations").await.expect(200).json()["generation"].clone();
    let polled = tokio::spawn({
        let (api, path) =
            (api.clone(), format!("/v1/task-managers/tm-1/allocations?generation={seen}&wait=30s"));
        async move { api.get(&path).await.expect(200).json() }
    });
    api.allocate("job", 1).await;
    let polled = tokio::time::timeout(Duration::from_secs(10), polled).await.unwrap().unwrap();
    assert_ne!(polled["generation"], seen);
    assert_eq!(polled["allocations"][0]["job_id"], "job");
    let path = format!("/v1/task-managers/tm-1/allocations?generation={}&wait=50ms", polled["generation"]);
    let quiet = api.get(&path).await.expect(200).json();
    assert_eq!(quiet["generation"], polled["generation"], "the wait was over and nothing had changed");
}

#[tokio::test]
async fn a_job_is_put_seen_kept_alive_and_ended() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    let body = json!({"priority": -3, "job_master_id": "jm-1", "lease": "30s"});
    let job = api.put("/v1/jobs/job", body.clone()).await.expect(201).json();
    assert_eq!(
        (&job["queue"], &job["priority"], &job["lease_ms"]),
        (&json!("default"), &json!(-3), &json!(30_000))
    );
    api.put("/v1/jobs/job", body).await.expect(200);
    let beat = api.post("/v1/jobs/job/heartbeat", json!({"job_master_id": "jm-1"})).await.expect(200).json();
    assert_eq!(beat["lease_ms"], 30_000);
    assert_eq!(api.get("/v1/jobs?queue=default&state=running").await.json()["items"][0]["job_id"], "job");
    api.delete("/v1/jobs/job").await.expect(200);
    let ended = api.get("/v1/jobs/job").await.expect(200).json();
    assert_eq!((&ended["state"], &ended["end_reason"]), (&json!("finished"), &json!("deleted")));
    assert!(ended["finished_at"].is_string());
}

#[tokio::test]
async fn a_job_without_a_body_gets_the_defaults() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    let job = api.call(Method::PUT, "/v1/jobs/job", &[], "").await.expect(201).json();
    assert_eq!(
        (&job["queue"], &job["priority"], &job["lease_ms"]),
        (&json!("default"), &json!(0), &Value::Null)
    );
}

#[tokio::test]
async fn slots_are_granted_listed_and_released() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.register("tm-1", 2).await;
    api.register("tm-2", 2).await;
    api.job("job").await;
    let request = json!({
        "slots": 2, "profile": {"cpu_cores": 0.5}, "constraints": [
            {"label": "zone", "op": "in", "values": ["a", "b"]}, {"task_manager": "tm-2"}],
        "prefer": {"task_managers": ["tm-2"]}, "strategy": "any_fit"
    });
    let granted = api.post("/v1/jobs/job/allocations", request).await.expect(200);
    let revision = granted.header("slotkeeper-revision").to_owned();
    let granted = granted.json();
    assert_eq!(granted["revision"].to_string(), revision);
    assert_eq!(granted["missing"], 0);
    for allocation in granted["allocations"].as_array().unwrap() {
        assert_eq!(allocation["task_manager_id"], "tm-2");
        assert_eq!((&allocation["job_id"], &allocation["state"]), (&json!("job"), &json!("pending")));
        assert_eq!(
            (&allocation["address"], &allocation["profile"]["cpu_cores"]),
            (&json!("tm-2:6122"), &json!(0.5))
        );
        assert!(allocation["fencing_token"].as_u64().unwrap() > 0);
    }
    let (one, two) = (
        text(&granted["allocations"][0]["allocation_id"]),
        text(&granted["allocations"][1]["allocation_id"]),
    );
    for list in [
        "/v1/jobs/job/allocations",
        "/v1/allocations?task_manager=tm-2",
        "/v1/allocations?queue=default&state=pending",
    ] {
        assert_eq!(api.get(list).await.expect(200).json()["items"].as_array().unwrap().len(), 2, "{list}");
    }
    assert_eq!(api.get("/v1/allocations?state=active").await.json()["items"], json!([]));
    assert_eq!(api.get(&format!("/v1/allocations/{one}")).await.expect(200).json()["allocation_id"], one);

    let path = format!("/v1/jobs/job/allocations/{one}");
    api.delete(&path).await.expect(200);
    api.delete(&path).await.expect(200);
    let stranger = "00000000-0000-0000-0000-000000000000";
    let release = json!({"allocation_ids": [two, stranger]});
    let released = api.post("/v1/jobs/job/release", release).await.expect(200).json();
    assert_eq!((&released["released"], &released["unknown"]), (&json!([two]), &json!([stranger])));
}

#[tokio::test]
async fn best_effort_says_how_many_are_missing_and_why() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.register("tm-1", 2).await;
    api.job("job").await;
    let request = json!({"slots": 5, "mode": "best_effort"});
    let granted = api.post("/v1/jobs/job/allocations", request).await.expect(200).json();
    assert_eq!((granted["allocations"].as_array().unwrap().len(), &granted["missing"]), (2, &json!(3)));
    assert_eq!(granted["reasons"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_allocation_waits_for_capacity() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.job("job").await;
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.post("/v1/jobs/job/allocations", json!({"slots": 1, "wait": "30s"})).await.expect(200) }
    });
    api.register("tm-1", 1).await;
    let granted = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert_eq!(granted.json()["allocations"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn requirements_are_declared_served_and_explained() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.register("tm-1", 2).await;
    api.job("job").await;
    let body = json!({"version": 1, "requirements": [
        {"name": "a", "min": 1, "desired": 1},
        {"name": "b", "desired": 3, "constraints": [{"label": "zone", "op": "=", "values": ["a"]}]}]});
    let put = api.put("/v1/jobs/job/requirements", body).await.expect(200).json();
    assert_eq!((&put["job_id"], &put["version"]), (&json!("job"), &json!(1)));
    let taken = &put["requirements"][1];
    assert_eq!((&taken["granted"], &taken["pending"], &taken["desired"]), (&json!(0), &json!(3), &json!(3)));
    let declared = api.get("/v1/jobs/job/requirements").await.expect(200).json();
    let line = |index: usize| declared["requirements"][index].clone();
    assert_eq!(
        (&line(0)["granted"], &line(0)["pending"], &line(0)["reasons"]),
        (&json!(1), &json!(0), &json!([]))
    );
    assert_eq!((&line(1)["granted"], &line(1)["pending"]), (&json!(1), &json!(2)));
    assert_eq!(line(1)["reasons"][0]["task_managers"], 1);
    assert_eq!(line(1)["constraints"][0]["op"], "=");
    assert_eq!(api.get("/v1/jobs/job").await.json()["slots_pending"], 2);
    let cleared = json!({"version": 2, "requirements": []});
    let cleared = api.put("/v1/jobs/job/requirements", cleared).await.expect(200).json();
    assert_eq!((&cleared["version"], &cleared["requirements"]), (&json!(2), &json!([])));
    assert_eq!(api.get("/v1/overview").await.json()["slots_allocated"], 0);
}

#[tokio::test]
async fn a_plan_shows_the_decision_and_does_nothing() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.register("tm-1", 2).await;
    api.job("job").await;
    let before = api.get("/v1/overview").await.header("slotkeeper-revision").to_owned();
    let planned = api.post("/v1/plan", json!({"job_id": "job", "slots": 2})).await.expect(200).json();
    assert_eq!((&planned["decision"], &planned["missing"]), (&json!("granted"), &json!(0)));
    assert_eq!(planned["placements"][0]["task_manager_id"], "tm-1");
    assert_eq!(planned["placements"][0]["profile"]["cpu_cores"], 1);
    let refused = api.post("/v1/plan", json!({"job_id": "job", "slots": 3})).await.expect(200).json();
    assert_eq!((&refused["decision"], &refused["placements"]), (&json!("refused"), &json!([])));
    assert!(!refused["reasons"].as_array().unwrap().is_empty());
    assert_eq!(api.get("/v1/overview").await.header("slotkeeper-revision"), before);
}

#[tokio::test]
async fn queues_limit_what_their_jobs_hold() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.register("tm-1", 4).await;
    let body = json!({"maximum": {"slots": 1, "cpu_cores": 8}});
    let queue = api.put("/v1/queues/small", body).await.expect(201).json();
    assert_eq!(
        (&queue["maximum"], &queue["state"]),
        (&json!({"slots": 1, "cpu_cores": 8}), &json!("running"))
    );
    api.put("/v1/jobs/job", json!({"queue": "small"})).await.expect(201);
    api.allocate("job", 1).await;
    let refused = api.post("/v1/jobs/job/allocations", json!({"slots": 1})).await.expect(409).json();
    assert_eq!(refused["reasons"][0]["reason"], "queue_maximum");
    let requirements = json!({"version": 1, "requirements": [{"name": "more", "desired": 2}]});
    api.put("/v1/jobs/job/requirements", requirements).await.expect(200);
    let seen = api.get("/v1/queues/small").await.expect(200).json();
    assert_eq!(
        (&seen["used"]["slots"], &seen["used"]["cpu_cores"], &seen["pending"]),
        (&json!(1), &json!(1), &json!(2))
    );
    assert_eq!(api.get("/v1/queues").await.json()["items"].as_array().unwrap().len(), 2);
    api.put("/v1/queues/small", json!({"state": "stopped"})).await.expect(200);
    assert_eq!(api.get("/v1/queues/small").await.json()["maximum"], json!({}), "a put replaces the whole");
    api.delete("/v1/jobs/job").await.expect(200);
    api.delete("/v1/queues/small").await.expect(200);
}

#[tokio::test]
async fn settings_are_read_with_defaults_and_changed() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    let before = api.get("/v1/settings").await.expect(200).json();
    assert_eq!(
        (&before["strategy"], &before["heartbeat_timeout"]),
        (&json!("least_utilization"), &json!("5s"))
    );
    assert_eq!(before["ranges"].as_object().unwrap().len(), before["defaults"].as_object().unwrap().len());
    let patch = json!({"strategy": "any_fit", "heartbeat_timeout": "10s", "confirm_timeout": "30s"});
    let after = api.patch("/v1/settings", patch).await.expect(200);
    let revision = after.header("slotkeeper-revision").to_owned();
    let after = after.json();
    assert_eq!((&after["strategy"], &after["heartbeat_timeout"]), (&json!("any_fit"), &json!("10s")));
    assert_eq!(after["changed_in_revision"].to_string(), revision);
    assert_eq!(after["defaults"], before["defaults"]);
    for nothing in [json!({}), json!({"heartbeat_timeout": "10s"})] {
        let unchanged = api.patch("/v1/settings", nothing).await.expect(200).json();
        assert_eq!(unchanged, after, "what keeps its value is no change");
    }
    let off = api.patch("/v1/settings", json!({"confirm_timeout": null})).await.expect(200).json();
    let changed = |setting: &str| off["changed_in_revisions"][setting].as_u64().unwrap();
    assert_eq!(off["changed_in_revision"], changed("confirm_timeout"));
    assert!(changed("strategy") > 0 && changed("strategy") < changed("confirm_timeout"));
    assert_eq!((changed("strategy"), changed("lease_grace")), (changed("heartbeat_timeout"), 0));
    assert_eq!((&off["confirm_timeout"], &off["heartbeat_timeout"]), (&Value::Null, &json!("10s")));
}

#[tokio::test]
async fn the_overview_counts() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    api.register("tm-1", 2).await;
    api.register("tm-2", 3).await;
    api.post("/v1/task-managers/tm-2/cordon", json!({})).await.expect(200);
    api.job("job").await;
    api.allocate("job", 1).await;
    let answer = api.get("/v1/overview").await.expect(200);
    let revision = answer.header("slotkeeper-revision").to_owned();
    let overview = answer.json();
    assert_eq!(overview["revision"].to_string(), revision);
    let task_managers =
        json!({"total": 2, "active": 1, "cordoned": 1, "draining": 0, "drained": 0, "lost": 0});
    assert_eq!(overview["task_managers"], task_managers);
    for (member, count) in
        [("slots_total", 5), ("slots_free", 4), ("slots_allocated", 1), ("jobs", 1), ("queues", 1)]
    {
        assert_eq!(overview[member], count, "{member}");
    }
}

#[tokio::test]
async fn the_cluster_is_shown_and_changed() {
    let cluster = Cluster::start(3, Default::default()).await;
    let api = cluster.api(0);
    let seen = api.get("/v1/cluster").await.expect(200).json();
    assert_eq!((&seen["leader_id"], seen["members"].as_array().unwrap().len()), (&json!(1), 3));
    let states: Vec<_> = seen["members"].as_array().unwrap().iter().map(|member| &member["state"]).collect();
    assert_eq!(states, ["leader", "follower", "follower"]);
    assert_eq!((&seen["members"][2]["role"], &seen["members"][2]["lag"]), (&json!("voter"), &json!(0)));
    assert_eq!(seen["members"][0]["state_hash"], seen["members"][1]["state_hash"]);
    let member = json!({"api_addr": "127.0.0.1:7400", "peer_addr": "127.0.0.1:7401"});
    let added = api.post("/v1/cluster/members", member).await.expect(200).json();
    assert_eq!((&added["node_id"], &added["role"]), (&json!(9), &json!("learner")));
    assert_eq!(
        api.post("/v1/cluster/members/2/promote", json!({})).await.expect(409).code(),
        "membership_conflict"
    );
    assert_eq!(api.delete("/v1/cluster/members/3").await.expect(200).json()["role"], Value::Null);
    let moved = api.post("/v1/cluster/transfer-leadership", json!({"to": 2})).await.expect(200).json();
    assert_eq!(moved["leader_id"], 2);
    assert_eq!(api.get("/v1/overview").await.expect(200).header("slotkeeper-node"), "2");
}

#[tokio::test]
async fn the_node_tells_about_itself() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    assert_eq!(api.get("/livez").await.expect(200).text, "ok\n");
    assert_eq!(api.get("/readyz").await.expect(200).json()["ready"], true);
    api.register("tm-1", 2).await;
    let metrics = api.get("/metrics").await.expect(200);
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    let line = "slotkeeper_http_requests_total{method=\"POST\",route=\"/v1/task-managers\",status=\"201\"} 1";
    for line in [line, "slotkeeper_task_managers{state=\"active\"} 1", "slotkeeper_slots 2"] {
        assert!(metrics.text.contains(line), "{line} is not in {}", metrics.text);
    }
    assert_eq!(api.get("/openapi.json").await.expect(200).json()["info"]["title"], "Slotkeeper");
    assert_eq!(api.get("/").await.expect(200).json()["name"], "slotkeeper");
    assert!(api.get("/errors/no_leader").await.expect(200).text.starts_with("# no_leader\n"));
}
