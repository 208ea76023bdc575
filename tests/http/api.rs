//! A small client: one call, one answer, nothing tried again.

use std::net::SocketAddr;

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// The API of one node.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    client: Client,
}

/// An answer.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answered {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header as text, empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a problem, after checking that it is a sound one.
    pub fn code(&self) -> String {
        let problem = self.json();
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(problem["status"], self.status, "{self:?}");
        let code = problem["code"].as_str().unwrap().to_owned();
        assert_eq!(problem["type"], format!("/errors/{code}"), "{self:?}");
        for member in ["title", "detail"] {
            assert!(!problem[member].as_str().unwrap().is_empty(), "{self:?}");
        }
        let waits = problem["retry_after_ms"].is_u64();
        assert_eq!(waits, !self.header("retry-after").is_empty(), "{self:?}");
        assert!(problem["retryable"].is_boolean(), "{self:?}");
        code
    }

    /// Panics unless the status is `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl Api {
    pub fn new(address: SocketAddr) -> Self {
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { base: format!("http://{address}"), client }
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.call(Method::GET, path, &[], String::new()).await
    }

    pub async fn delete(&self, path: &str) -> Answered {
        self.call(Method::DELETE, path, &[], String::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answered {
        self.call(Method::POST, path, &[], body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answered {
        self.call(Method::PUT, path, &[], body.to_string()).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answered {
        self.call(Method::PATCH, path, &[], body.to_string()).await
    }

    /// One call with headers.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answered {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answered { status, headers, text: response.text().await.unwrap() }
    }

    /// Registers a TaskManager with `slots` slots of one core and gives its epoch.
    pub async fn register(&self, id: &str, slots: u32) -> u64 {
        let body = json!({
            "task_manager_id": id, "session_id": "s1", "address": format!("{id}:6122"), "slots": slots,
            "total_profile": {"cpu_cores": slots}, "labels": {"zone": "a"}
        });
        let answer = self.post("/v1/task-managers", body).await.expect(201);
        answer.json()["epoch"].as_u64().unwrap()
    }

    /// Puts a job in the default queue.
    pub async fn job(&self, id: &str) {
        self.put(&format!("/v1/jobs/{id}"), json!({})).await.expect(201);
    }

    /// Gives `slots` slots to a job and says which.
    pub async fn allocate(&self, job: &str, slots: u32) -> Vec<Value> {
        let answer =
            self.post(&format!("/v1/jobs/{job}/allocations"), json!({"slots": slots})).await.expect(200);
        answer.json()["allocations"].as_array().unwrap().clone()
    }
}
