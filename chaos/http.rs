//! An independent client of the HTTP contract, for checking the service from outside.
//!
//! What it promises: a write is tried again under the same idempotency key until its outcome is known or the deadline
//! passes; a timeout is never taken for "did not happen". What it must not do: share code with the product's client, so
//! that a mistake there can not hide itself here.

use std::time::{Duration, Instant};

use serde_json::Value;

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body; `Null` if it was not JSON.
    pub body: Value,
    /// Header `slotkeeper-revision`.
    pub revision: Option<u64>,
    /// Header `slotkeeper-replayed`.
    pub replayed: bool,
    /// How often the request was sent before this answer.
    pub tries: u32,
}

impl Answer {
    /// Whether the request was done.
    pub fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The problem code of a refusal.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }

    /// Whether the service itself says that another try may end differently.
    fn is_retryable(&self) -> bool {
        self.body["retryable"].as_bool().unwrap_or(self.status >= 500)
    }
}

/// One request, before it is known who gets it.
pub struct Call<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// Idempotency key.
    pub key: Option<&'a str>,
    /// JSON body.
    pub body: Option<&'a Value>,
}

/// Talks to any of several servers.
#[derive(Debug, Clone)]
pub struct Caller {
    servers: Vec<String>,
    next: usize,
    client: reqwest::Client,
}

impl Caller {
    /// A caller that begins with server number `first`.
    pub fn new(servers: &[String], first: usize) -> Self {
        Self::with_timeout(servers, first, Duration::from_secs(5))
    }

    /// The same, and a try that takes longer than `timeout` counts as not answered.
    pub fn with_timeout(servers: &[String], first: usize, timeout: Duration) -> Self {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(Duration::from_millis(300))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a plain HTTP client needs nothing from the system");
        Self { servers: servers.to_vec(), next: first, client }
    }

    /// Sends once to one server, `HOST:PORT` or `http://HOST:PORT`; `None` if the answer did not arrive.
    pub async fn once(&self, server: &str, call: &Call<'_>) -> Option<Answer> {
        let method =
            reqwest::Method::from_bytes(call.method.as_bytes()).expect("the callers name real methods");
        let host = server.strip_prefix("http://").unwrap_or(server);
        let mut request = self.client.request(method, format!("http://{host}{}", call.path));
        if let Some(key) = call.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = call.body.filter(|body| !body.is_null()) {
            request = request.json(body);
        }
        let response = request.send().await.ok()?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let revision = header("slotkeeper-revision").and_then(|text| text.parse().ok());
        let replayed = header("slotkeeper-replayed").as_deref() == Some("true");
        let status = response.status().as_u16();
        let bytes = response.bytes().await.ok()?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Some(Answer { status, body, revision, replayed, tries: 1 })
    }

    /// A write under `key`, tried until its outcome is known; `None` if that did not happen within `patience`.
    pub async fn write(
        &mut self,
        (method, path): (&str, &str),
        key: &str,
        body: &Value,
        patience: Duration,
    ) -> Option<Answer> {
        self.until_known(&Call { method, path, key: Some(key), body: Some(body) }, patience).await
    }

    /// A call without a key, such as a heartbeat.
    pub async fn unkeyed(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
        patience: Duration,
    ) -> Option<Answer> {
        self.until_known(&Call { method, path, key: None, body: Some(body) }, patience).await
    }

    /// A linearizable read, tried until it is answered.
    pub async fn read(&mut self, path: &str, patience: Duration) -> Option<Answer> {
        self.until_known(&Call { method: "GET", path, key: None, body: None }, patience).await
    }

    async fn until_known(&mut self, call: &Call<'_>, patience: Duration) -> Option<Answer> {
        let deadline = Instant::now() + patience;
        let mut tries = 0;
        let mut pause = Duration::from_millis(5);
        while Instant::now() < deadline {
            let server = self.servers[self.next % self.servers.len()].clone();
            tries += 1;
            match self.once(&server, call).await {
                Some(answer) if answer.is_done() || !answer.is_retryable() => {
                    return Some(Answer { tries, ..answer });
                }
                _ => self.next += 1,
            }
            // Bounded back-off between tries; the loop's condition is the answer itself.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        None
    }
}
