//! A server for tests that answers as a script says and records what it was asked.
//!
//! Shared by the tests of `client`, `agent` and `cli` (the latter two include this file by its path). It listens on a free
//! port of 127.0.0.1 and ends when it is dropped.

#![allow(dead_code)]

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub key: Option<String>,
    pub body: Value,
}

impl Asked {
    /// `METHOD /path`, for matching.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What to answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status and a JSON body.
    Json(u16, Value),
    /// The same with headers.
    WithHeaders(u16, Value, Vec<(&'static str, String)>),
    /// A status and a body that is not JSON.
    Text(u16, &'static str),
    /// Closes the connection without an answer.
    Disconnect,
    /// Never answers.
    Hang,
    /// Answers after a pause.
    After(Duration, Box<Reply>),
}

impl Reply {
    pub fn ok(body: Value) -> Self {
        Self::Json(200, body)
    }

    /// There is no leader, and the client is asked to wait.
    pub fn no_leader_for(retry_after_ms: u64) -> Self {
        let Self::Json(status, mut problem) = Self::problem(503, "no_leader", true) else { unreachable!() };
        problem["retry_after_ms"] = retry_after_ms.into();
        Self::Json(status, problem)
    }

    /// A problem as the API writes it.
    pub fn problem(status: u16, code: &str, retryable: bool) -> Self {
        Self::Json(
            status,
            serde_json::json!({
                "type": format!("/errors/{code}"), "title": format!("Title of {code}"), "status": status,
                "detail": format!("detail of {code}"), "code": code, "retryable": retryable,
            }),
        )
    }
}

type Script = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// The running server.
pub struct ScriptedServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl ScriptedServer {
    pub async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self::serve(listener, Arc::new(script))
    }

    /// Serves at an address that an earlier server had.
    pub async fn start_at(
        address: SocketAddr,
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        Self::serve(listener, Arc::new(script))
    }

    fn serve(listener: TcpListener, script: Script) -> Self {
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let accepting = tokio::spawn(accept(listener, script, Arc::clone(&asked)));
        Self { address, asked, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often `line` (`METHOD /path`) was asked so far.
    pub fn count(&self, line: &str) -> usize {
        self.asked().iter().filter(|asked| asked.line() == line).count()
    }
}

async fn accept(listener: TcpListener, script: Script, asked: Arc<Mutex<Vec<Asked>>>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve_connection(stream, Arc::clone(&script), Arc::clone(&asked)));
    }
}

async fn serve_connection(stream: TcpStream, script: Script, asked: Arc<Mutex<Vec<Asked>>>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
        async move {
            let seen = record(request).await;
            asked.lock().unwrap().push(seen.clone());
            perform(script(&seen)).await
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn record(request: Request<hyper::body::Incoming>) -> Asked {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(|collected| collected.to_bytes()).unwrap_or_default();
    let key = parts.headers.get("idempotency-key").and_then(|value| value.to_str().ok()).map(str::to_owned);
    Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        key,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    }
}

#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the script closes the connection")
    }
}

impl std::error::Error for Cut {}

type Performed = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Cut>> + Send>>;

fn perform(reply: Reply) -> Performed {
    Box::pin(async move {
        let (status, body, headers, media_type) = match reply {
            Reply::Json(status, body) => (status, body.to_string(), Vec::new(), "application/json"),
            Reply::WithHeaders(status, body, headers) => {
                (status, body.to_string(), headers, "application/json")
            }
            Reply::Text(status, text) => (status, text.to_owned(), Vec::new(), "text/plain"),
            Reply::Disconnect => return Err(Cut),
            Reply::Hang => match std::future::pending::<Infallible>().await {},
            Reply::After(pause, reply) => {
                tokio::time::sleep(pause).await;
                return perform(*reply).await;
            }
        };
        let mut response = Response::builder().status(status).header("content-type", media_type);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        Ok(response.body(Full::new(Bytes::from(body))).unwrap())
    })
}
