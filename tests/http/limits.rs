//! Limits and timeouts: silent, slow, large and many clients.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::{Request, Version};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use reqwest::Method;
use serde_json::json;
use slotkeeper::http::HttpOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::Cluster;

/// Short timeouts, so that a test sees them pass.
fn strict() -> HttpOptions {
    HttpOptions {
        header_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(1_500),
        shutdown_grace: Duration::from_millis(300),
        ..HttpOptions::default()
    }
}

/// Sends `bytes` and gives all that comes back until the server closes.
async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    until_closed(&mut stream).await
}

async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    // A reset is a close too.
    let _ = closed.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_head_is_cut() {
    let cluster = Cluster::start(1, strict()).await;
    assert_eq!(talk(cluster.address(0), b"").await, "", "a client that says nothing");
    assert_eq!(talk(cluster.address(0), b"GET /livez HTTP/1.1\r\nhost: a\r\n").await, "", "half a head");
    let mut stream = TcpStream::connect(cluster.address(0)).await.unwrap();
    let mut cut = false;
    for _ in 0..200 {
        cut = stream.write_all(b"G").await.is_err();
        if cut {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(cut, "a client that sends a byte now and then");
    cluster.api(0).get("/livez").await.expect(200);
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_body_is_told() {
    let cluster = Cluster::start(1, strict()).await;
    let head = "PUT /v1/jobs/job HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\nconnection: close\r\n\r\n{";
    let answer = talk(cluster.address(0), head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"request_timeout\""), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let cluster = Cluster::start(1, strict()).await;
    cluster.api(0).register("tm-1", 1).await;
    let mut stream = TcpStream::connect(cluster.address(0)).await.unwrap();
    let poll = "GET /v1/task-managers/tm-1/allocations?generation=2&wait=2s HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(poll.as_bytes()).await.unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "the long poll outlives the idle timeout: {answer}");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let cluster = Cluster::single().await;
    let api = cluster.api(0);
    let fits = format!("{{}}{}", " ".repeat(1024 * 1024 - 2));
    api.call(Method::PUT, "/v1/jobs/job", &[], fits.clone()).await.expect(201);
    let over = api.call(Method::PUT, "/v1/jobs/job", &[], format!("{fits} ")).await;
    assert_eq!(over.expect(413).code(), "body_too_large");
    let chunk = format!("{:x}\r\n{}\r\n", 64 * 1024, " ".repeat(64 * 1024));
    let head =
        "PUT /v1/jobs/job HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(cluster.address(0)).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..17 {
        // The server may have closed before all is sent.
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    let answer = until_closed(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_large_head_is_refused() {
    let cluster = Cluster::single().await;
    let large = format!("GET /livez HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024));
    let answer = talk(cluster.address(0), large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(100));
    let answer = talk(cluster.address(0), many.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_is_refused_or_cut() {
    let cluster = Cluster::start(1, strict()).await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost : a\r\n\r\n",
        b"PUT /v1/jobs/a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"PUT /v1/jobs/a HTTP/1.1\r\nhost: a\r\ncontent-length: -2\r\n\r\n{}",
        b"PUT /v1/jobs/a HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
        b"PUT /v1/jobs/a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"PUT /v1/jobs/a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n{}",
    ] {
        let answer = talk(cluster.address(0), bytes).await;
        let shown = String::from_utf8_lossy(bytes);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4"),
            "{shown}: {answer}"
        );
    }
    assert_eq!(cluster.api(0).get("/v1/jobs").await.json()["items"], json!([]), "no job came of it");
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_room_is_made_again() {
    let options = HttpOptions { connections_max: 3, ..HttpOptions::default() };
    let cluster = Cluster::start(1, options).await;
    let get = "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";
    let half = "PUT /v1/jobs/job HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{";
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = keep_alive(&cluster).await;
        stream.write_all(half.as_bytes()).await.unwrap();
        held.push(stream);
    }
    assert_eq!(talk(cluster.address(0), get.as_bytes()).await, "", "the fourth connection");
    drop(held);
    until_served(&cluster).await;
}

#[tokio::test]
async fn idle_connections_make_room_for_who_asks_something() {
    let options = HttpOptions { connections_max: 3, ..HttpOptions::default() };
    let cluster = Cluster::start(1, options).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        idle.push(keep_alive(&cluster).await);
    }
    until_served(&cluster).await;
    let told_to_go = idle.into_iter().map(async |mut stream| until_closed(&mut stream).await);
    futures::future::select_all(told_to_go.map(Box::pin)).await;
}

/// A connection on which one request was served.
async fn keep_alive(cluster: &Cluster) -> TcpStream {
    let mut stream = TcpStream::connect(cluster.address(0)).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

/// Opens connections until one is served.
async fn until_served(cluster: &Cluster) {
    let close = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut served = String::new();
    for _ in 0..200 {
        served = talk(cluster.address(0), close).await;
        if !served.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(served.starts_with("HTTP/1.1 200"), "{served}");
}

/// Waits until the server says that so many requests are on it.
async fn until_in_flight(cluster: &Cluster, wanted: usize) {
    let line = format!("slotkeeper_http_requests_in_flight {wanted}");
    for _ in 0..200 {
        if cluster.api(0).get("/metrics").await.text.lines().any(|told| told == line) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server never says {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_more_to_do_than_it_can_turns_wishes_for_slots_away_and_nothing_else() {
    /// As `docs/operations.md` says.
    const IN_PROGRESS_MAX: usize = 1_024;
    const MORE: usize = 20;
    let options = HttpOptions { streams_max: 4_096, ..HttpOptions::default() };
    let cluster = Cluster::start(1, options).await;
    cluster.api(0).job("before").await;
    cluster.shared.hold(true);
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let address = cluster.address(0);
    let ask = |method: Method, job: &str| {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{address}/v1/jobs/{job}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from_static(b"{}")))
            .unwrap();
        let answer = client.request(request);
        tokio::spawn(async move { answer.await.unwrap() })
    };
    let mut asked: FuturesUnordered<_> =
        (0..IN_PROGRESS_MAX + MORE).map(|number| ask(Method::PUT, &format!("job-{number}"))).collect();
    for _ in 0..MORE {
        let refused = asked.next().await.unwrap().unwrap();
        assert_eq!(refused.status(), 429);
        assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    }
    let given_back = ask(Method::DELETE, "before");
    // All that were let in, the deletion, and the question itself.
    until_in_flight(&cluster, IN_PROGRESS_MAX + 2).await;
    cluster.shared.hold(false);
    while let Some(served) = asked.next().await {
        assert_eq!(served.unwrap().status(), 201);
    }
    assert_eq!(given_back.await.unwrap().status(), 200);
    cluster.api(0).job("after").await;
}

#[tokio::test]
async fn http2_without_tls_is_spoken() {
    let cluster = Cluster::single().await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let uri = format!("http://{}/v1/jobs/job", cluster.address(0));
    for (method, status) in [("PUT", 201), ("GET", 200)] {
        let request = Request::builder().method(method).uri(&uri).body(Full::default()).unwrap();
        let answer = client.request(request).await.unwrap();
        assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_2, status));
    }
}

#[tokio::test]
async fn a_server_that_stops_ends_long_polls_and_takes_no_connection() {
    let cluster = Cluster::start(1, strict()).await;
    let api = cluster.api(0);
    api.register("tm-1", 1).await;
    let polling = tokio::spawn({
        let api = api.clone();
        async move { api.get("/v1/task-managers/tm-1/allocations?generation=2&wait=60s").await }
    });
    while !api.get("/metrics").await.text.contains("slotkeeper_http_requests_in_flight 2\n") {
        tokio::task::yield_now().await;
    }
    cluster.stop();
    tokio::time::timeout(Duration::from_secs(10), polling).await.unwrap().unwrap().expect(200);
    for _ in 0..200 {
        if TcpStream::connect(cluster.address(0)).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server still takes connections");
}
