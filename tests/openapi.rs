//! The OpenAPI document: stored as it is served, complete, and in step with the contract and the problem codes.
//!
//! `SLOTKEEPER_UPDATE=1 cargo test --test openapi` writes `docs/openapi.json` anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use slotkeeper::api::ProblemCode;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> Value {
    serde_json::from_str(slotkeeper::http::openapi_json()).unwrap()
}

/// The endpoints of the HTTP contract, version 1, with those that were added to it.
const CONTRACT: &str = "
    POST   /v1/task-managers
    GET    /v1/task-managers
    GET    /v1/task-managers/{id}
    DELETE /v1/task-managers/{id}
    POST   /v1/task-managers/{id}/heartbeat
    GET    /v1/task-managers/{id}/allocations
    POST   /v1/task-managers/{id}/confirm
    POST   /v1/task-managers/{id}/cordon
    POST   /v1/task-managers/{id}/uncordon
    POST   /v1/task-managers/{id}/drain
    PUT    /v1/jobs/{job_id}
    GET    /v1/jobs
    GET    /v1/jobs/{job_id}
    DELETE /v1/jobs/{job_id}
    POST   /v1/jobs/{job_id}/heartbeat
    POST   /v1/jobs/{job_id}/allocations
    GET    /v1/jobs/{job_id}/allocations
    DELETE /v1/jobs/{job_id}/allocations/{allocation_id}
    POST   /v1/jobs/{job_id}/release
    PUT    /v1/jobs/{job_id}/requirements
    GET    /v1/jobs/{job_id}/requirements
    GET    /v1/allocations
    GET    /v1/allocations/{id}
    POST   /v1/plan
    GET    /v1/queues
    GET    /v1/queues/{name}
    PUT    /v1/queues/{name}
    DELETE /v1/queues/{name}
    GET    /v1/settings
    PATCH  /v1/settings
    GET    /v1/overview
    GET    /v1/cluster
    POST   /v1/cluster/members
    POST   /v1/cluster/members/{id}/promote
    DELETE /v1/cluster/members/{id}
    POST   /v1/cluster/transfer-leadership
    GET    /livez
    GET    /readyz
    GET    /metrics
    GET    /openapi.json
    GET    /errors/{code}
    GET    /
";

/// `METHOD /path` of every operation in `document`, with the operation.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let mut all = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            all.push((format!("{} {path}", method.to_uppercase()), operation));
        }
    }
    all
}

#[test]
fn the_stored_document_is_the_one_that_is_served() {
    let stored = root().join("docs/openapi.json");
    let served = slotkeeper::http::openapi_json();
    if std::env::var_os("SLOTKEEPER_UPDATE").is_some() {
        fs::write(&stored, served).unwrap();
    }
    let text = fs::read_to_string(&stored).unwrap_or_default();
    assert!(text == served, "docs/openapi.json is old; run SLOTKEEPER_UPDATE=1 cargo test --test openapi");
}

#[test]
fn the_document_has_the_endpoints_of_the_contract_and_no_others() {
    let document = document();
    let described: BTreeSet<String> = operations(&document).into_iter().map(|(name, _)| name).collect();
    let lines = CONTRACT.lines().map(str::trim).filter(|line| !line.is_empty());
    let contract: BTreeSet<String> =
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let missing: Vec<_> = contract.difference(&described).collect();
    let extra: Vec<_> = described.difference(&contract).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:?}, extra {extra:?}");
}

#[test]
fn every_operation_says_what_it_does_and_what_can_go_wrong() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name} has no summary");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{name} shares its id");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name} never succeeds");
        if name.contains(" /v1/") {
            let problem = &responses["default"]["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(problem, "#/components/schemas/Problem", "{name}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut references = BTreeSet::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect_references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                into.insert(reference.to_owned());
            }
            members.values().for_each(|member| collect_references(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
        _ => {}
    }
}

#[test]
fn codes_pages_and_document_agree() {
    let codes: BTreeSet<String> = ProblemCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(pages(&root().join("docs/errors")), codes, "the pages in docs/errors");
    let document = document();
    let listed = document["components"]["schemas"]["ProblemCode"]["enum"].as_array().unwrap().clone();
    let listed: BTreeSet<String> = listed.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, codes, "the schema of ProblemCode");
}

fn pages(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_page_says_what_happened_why_and_what_to_do() {
    for code in ProblemCode::ALL {
        let page = fs::read_to_string(root().join(format!("docs/errors/{code}.md"))).unwrap();
        let retryable = if code.retryable() { "retryable" } else { "not retryable" };
        let head = format!("# {code}\n\n{}. Status {}, {retryable}.\n", code.title(), code.status());
        assert!(page.starts_with(&head), "the page of {code} does not begin with {head:?}");
        for section in ["## What happened", "## Why", "## What to do"] {
            let text = page.split(&format!("{section}\n\n")).nth(1).unwrap_or_default();
            assert!(text.len() > 10, "the page of {code} has no `{section}`");
        }
    }
}
