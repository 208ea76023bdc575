//! Router and OpenAPI document describe the same server, and what is in neither is refused politely.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::Value;

use crate::cluster::Cluster;

const METHODS: [&str; 5] = ["GET", "PUT", "POST", "PATCH", "DELETE"];

/// The methods of every path in the document.
fn described() -> BTreeMap<String, Vec<String>> {
    let document: Value = serde_json::from_str(slotkeeper::http::openapi_json()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let methods =
        |item: &Value| item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[tokio::test]
async fn the_router_takes_what_is_described_and_nothing_else() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    for (path, methods) in described() {
        let concrete = path
            .replace("{id}", "x")
            .replace("{name}", "x")
            .replace("{job_id}", "x")
            .replace("{code}", "no_leader");
        let concrete = concrete.replace("{allocation_id}", "x");
        for method in METHODS {
            let answer =
                api.call(Method::from_bytes(method.as_bytes()).unwrap(), &concrete, &[], "{\"x\":1}").await;
            let is_described = methods.iter().any(|described| described == method);
            assert_eq!(answer.status != 405, is_described, "{method} {path}: {answer:?}");
            if is_described && answer.status == 404 {
                assert_ne!(answer.code(), "not_found", "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_in_no_table_is_a_problem_too() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    for path in ["/v2/jobs", "/v1", "/v1/jobs/", "/v1/jobs/a/b/c", "/favicon.ico", "/v1/JOBS", "//", "/%00"] {
        assert_eq!(api.get(path).await.expect(404).code(), "not_found", "{path}");
    }
    let refused = api.call(Method::DELETE, "/v1/jobs", &[], "").await.expect(405);
    assert_eq!(refused.code(), "method_not_allowed");
    assert!(refused.header("allow").contains("GET"), "{refused:?}");
}

#[tokio::test]
async fn every_answer_names_revision_leader_and_node() {
    let cluster = Cluster::start(2, Default::default()).await;
    for index in [0, 1] {
        let api = cluster.api(index);
        for path in ["/v1/overview", "/v1/jobs/none", "/livez", "/nowhere", "/v1/jobs?limit=0"] {
            let answer = api.get(path).await;
            assert!(answer.header("slotkeeper-revision").parse::<u64>().is_ok(), "{path} {answer:?}");
            assert_eq!(answer.header("slotkeeper-leader"), "1", "{path} {answer:?}");
            assert!(["1", "2"].contains(&answer.header("slotkeeper-node")), "{path} {answer:?}");
        }
    }
}
